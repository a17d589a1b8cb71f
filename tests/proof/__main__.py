"""`python -m tests.proof`: write `docs/proof.md` anew from the findings of the last runs."""

from tests.proof.page import write

write()
