"""Several of everything: api-servers, Celery workers and dagcalls, behind nginx; single ones are killed.

make scale               seven minutes; writes docs/proof.md
"""
