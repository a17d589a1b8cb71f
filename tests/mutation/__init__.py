"""Mutation testing of the pure core: small faults are put into it one by one, and the tests should see each.

`make mutate` measures every module of `modules.py`; `make mutate MODULES="ledger naming"` measures those, and leaves
the figures of the others as they were measured before. mutmut makes the mutants. This folder runs them, because
mutmut starts pytest anew for each one: here pytest collects the tests once, and each mutant is a fork of that process,
which runs only the tests that reach the mutated function, the fast ones first, up to the first that fails. That is
many times as fast.

    modules       what is mutated, and which tests should see it
    mutants       a module's source -> its mutants
    equivalents   mutants that do the same as the code (equivalents.toml)
    plugin        the plugin of pytest that runs them
    measure       one measurement from start to end
    section       its part of docs/proof.md
"""
