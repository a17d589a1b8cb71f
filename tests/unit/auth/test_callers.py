"""Who calls, as an authorization server's claims say."""

import pytest

from dagcall.auth.callers import LOCAL, Caller, caller_of_claims
from dagcall.plain_json import Json

ISSUER = "https://issuer.example"


def caller(**claims: Json) -> Caller | None:
    return caller_of_claims(ISSUER, claims, groups_claim="groups")


def test_a_caller_is_told_by_issuer_and_subject() -> None:
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
def test_the_label_is_one_line_that_can_be_read(claims: dict[str, Json], label: str) -> None:
    found = caller(**claims)

    assert found is not None
    assert (found.id, found.label) == (f"{ISSUER}#u-1", label)


@pytest.mark.parametrize("claims", [{"client_id": "pipeline"}, {"azp": "pipeline"}, {"sub": "", "azp": "pipeline"}])
def test_a_program_that_calls_for_itself_is_its_client_id(claims: dict[str, Json]) -> None:
    found = caller(**claims)

    assert found is not None
    assert found.id == f"{ISSUER}#pipeline"


def test_a_caller_whose_names_cannot_be_seen_has_a_label() -> None:
    found = caller(sub="\u200b")

    assert found is not None
    assert found.label == "a caller"


def test_claims_that_name_nobody_are_nobodys() -> None:
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
def test_scopes_stand_in_either_claim(claims: dict[str, Json], scopes: set[str]) -> None:
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
def test_groups_stand_where_the_settings_say(claim: str, groups: set[str]) -> None:
    claims: dict[str, Json] = {
        "sub": "u",
        "groups": "a group with blanks",
        "https://example.com/groups": ["b"],
        "realm_access": {"roles": ["c", "d"]},
    }
    found = caller_of_claims(ISSUER, claims, groups_claim=claim)

    assert found is not None
    assert found.groups == groups


def test_a_local_client_is_nobody_in_particular() -> None:
    assert LOCAL.id == "local"
    assert LOCAL.scopes == LOCAL.groups == frozenset()
