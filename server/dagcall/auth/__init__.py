"""Who calls, and what they may do: named keys, tokens of an authorization server, rights, Airflow accounts.

`middleware` authenticates each HTTP request before MCP sees it. Refuses to know tools and runs.
"""

from dagcall.auth.accounts import Accounts
from dagcall.auth.callers import LOCAL, SCOPE_KEY, Caller, label
from dagcall.auth.keys import Keys, entry_of, new_key
from dagcall.auth.middleware import AuthMiddleware, Refusal, Refusals
from dagcall.auth.rights import EVERYBODY, Selectors, is_meant
from dagcall.auth.tokens import IntrospectedTokens, IssuerKeys, JwtTokens, TokenPolicy, Tokens

__all__ = [
    "EVERYBODY",
    "LOCAL",
    "SCOPE_KEY",
    "Accounts",
    "AuthMiddleware",
    "Caller",
    "IntrospectedTokens",
    "IssuerKeys",
    "JwtTokens",
    "Keys",
    "Refusal",
    "Refusals",
    "Selectors",
    "TokenPolicy",
    "Tokens",
    "entry_of",
    "is_meant",
    "label",
    "new_key",
]
