"""What comes from outside is changed at random: no crash, no hang, no unhandled error, no wrong success.

    make fuzz               ten times as much as `make test`; writes its part of docs/proof.md
    make fuzz FACTOR=100    for longer

Hypothesis chooses anew in each run, and prints what makes a failure happen again. What was found once is an `@example`
of its test.
"""
