"""`python -m dagcall`."""

from dagcall.cli import main

main()
