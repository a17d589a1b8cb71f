"""What a desktop client starts: `dagcall serve --stdio`, with the settings of the client's form."""

import os
import sys

from dagcall.__main__ import main

FIELD = "${user_config."
"""Begins what some clients pass for a field that was left empty; others pass nothing."""

for name, value in list(os.environ.items()):  # noqa: TID251 - before dagcall reads it
    if name.startswith("DAGCALL_") and (not value or value.startswith(FIELD)):
        del os.environ[name]  # noqa: TID251 - likewise

sys.argv[1:] = ["serve", "--stdio"]
main()
