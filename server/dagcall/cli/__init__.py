"""The command line: `dagcall serve | tools | call | …`, and the two ways to serve, HTTP and stdio."""

from dagcall.cli.commands import main

__all__ = ["main"]
