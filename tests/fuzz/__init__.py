"""What comes from outside is changed at random: no crash, no hang, no unhandled error, no wrong success.

    make fuzz                        for minutes; writes its part of docs/proof.md
    DAGCALL_EXAMPLES=5000 make fuzz  for longer

Hypothesis chooses anew in each run, and prints what makes a failure happen again. What was found once is an `@example`
of its test.
"""
