"""What the long suites found when each last ran as a whole, and the page that tells it: `docs/proof.md`.

A suite (`tests/conformance`, `tests/clients`, `tests/chaos`, …) passes its findings to `record.write` at its end. That
keeps them as `docs/proof/<suite>.json` and writes the page anew. The suite's own `section.py` turns them into words.
A unit test holds the page to the files.
"""
