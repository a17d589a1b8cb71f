"""Who calls, and what they may do: named keys, tokens of an authorization server, rights, accounts of Airflow.

`middleware` checks each HTTP request, before MCP sees it. Refuses to know tools and runs.
"""

from dagcall.auth.accounts import Accounts
from dagcall.auth.callers import LOCAL, SCOPE_KEY, Caller, label
from dagcall.auth.keys import Keys, entry_of, new_key
from dagcall.auth.middleware import Admission
from dagcall.auth.rights import EVERYBODY, Selectors, is_meant
from dagcall.auth.tokens import IntrospectedTokens, IssuerKeys, JwtTokens, Rules, Tokens

__all__ = [
    "EVERYBODY",
    "LOCAL",
    "SCOPE_KEY",
    "Accounts",
    "Admission",
    "Caller",
    "IntrospectedTokens",
    "IssuerKeys",
    "JwtTokens",
    "Keys",
    "Rules",
    "Selectors",
    "Tokens",
    "entry_of",
    "is_meant",
    "label",
    "new_key",
]
