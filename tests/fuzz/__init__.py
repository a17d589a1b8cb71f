"""Random changes of all external input cause no crash, hang, unhandled error or false success.

    make fuzz               ten times as many inputs as `make test`; writes its part of docs/proof.md
    make fuzz FACTOR=100    more inputs

Hypothesis chooses new inputs in each run, and prints how to reproduce a failure. Earlier failures are `@example`s of
their tests.
"""
