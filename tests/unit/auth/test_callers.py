"""The caller that an authorization server's claims identify."""

import pytest

from dagcall.auth.callers import LOCAL, Caller, caller_of_claims
from dagcall.plain_json import Json

ISSUER = "https://issuer.example"


def caller(**claims: Json) -> Caller | None:
    return caller_of_claims(ISSUER, claims, groups_claim="groups")


def test_caller_is_identified_by_issuer_and_subject() -> None:
    found = caller(sub="u-1", preferred_username="ada", email="a@example", scope="a b", groups=["finance", 7, ""])

    assert found == Caller(f"{ISSUER}#u-1", "ada", frozenset("ab"), frozenset({"finance"}))


@pytest.mark.parametrize(
    ("claims", "label"),
    [
        ({"sub": "u-1"}, "u-1"),
        ({"sub": "u-1", "email": "a@example"}, "a@example"),
        ({"sub": "u-1", "preferred_username": 7, "email": "a@example"}, "a@example"),
        ({"sub": "u-1", "preferred_username": "a\x1b[2Jda\n\u202efirst"}, "a[2Jda first"),
        ({"sub": "u-1", "preferred_username": "x" * 1000}, "x" * 100),
        ({"sub": "u-1", "preferred_username": "\u200b\n"}, "u-1"),
        ({"sub": "u-1", "preferred_username": "root (key:root) with it"}, "root [key:root] with it"),
    ],
)
def test_label_is_one_readable_line(claims: dict[str, Json], label: str) -> None:
    found = caller(**claims)

    assert found is not None
    assert (found.id, found.label) == (f"{ISSUER}#u-1", label)


@pytest.mark.parametrize("claims", [{"client_id": "pipeline"}, {"azp": "pipeline"}, {"sub": "", "azp": "pipeline"}])
def test_caller_without_a_subject_is_identified_by_its_client_id(claims: dict[str, Json]) -> None:
    found = caller(**claims)

    assert found is not None
    assert found.id == f"{ISSUER}#pipeline"


def test_caller_with_an_invisible_name_has_a_label() -> None:
    found = caller(sub="\u200b")

    assert found is not None
    assert found.label == "a caller"


def test_claims_without_a_valid_subject_identify_no_caller() -> None:
    assert caller(scope="a", sub=7) is None


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "a  b"}, {"a", "b"}),
        ({"scope": "a\tb c"}, {"a\tb", "c"}),
        ({"scp": ["a", "b c"]}, {"a", "b c"}),
        ({"scp": "a b"}, {"a", "b"}),
        ({"scope": "", "scp": "a"}, set()),
        ({"scope": {"a": True}}, set()),
        ({}, set()),
    ],
)
def test_scopes_are_read_from_scope_or_scp(claims: dict[str, Json], scopes: set[str]) -> None:
    found = caller(sub="u", **claims)

    assert found is not None
    assert found.scopes == scopes


@pytest.mark.parametrize(
    ("claim", "groups"),
    [
        ("groups", {"a group with blanks"}),
        ("https://example.com/groups", {"b"}),
        ("realm_access.roles", {"c", "d"}),
        ("realm_access.roles.deeper", set()),
        ("missing", set()),
    ],
)
def test_groups_are_read_from_the_configured_claim(claim: str, groups: set[str]) -> None:
    claims: dict[str, Json] = {
        "sub": "u",
        "groups": "a group with blanks",
        "https://example.com/groups": ["b"],
        "realm_access": {"roles": ["c", "d"]},
    }
    found = caller_of_claims(ISSUER, claims, groups_claim=claim)

    assert found is not None
    assert found.groups == groups


def test_local_caller_has_no_scopes_or_groups() -> None:
    assert LOCAL.id == "local"
    assert LOCAL.scopes == LOCAL.groups == frozenset()
