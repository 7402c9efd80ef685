from __future__ import annotations

import pytest

from django_hacache.node.credentials import authenticated, metadata

TOKEN = "a token of these tests"


def test_what_a_node_says_of_itself_carries_the_token():
    assert authenticated(metadata(TOKEN, "127.0.0.1:1"), TOKEN)


def test_a_token_in_bytes_is_the_same_token():
    assert authenticated([("authorization", TOKEN.encode())], TOKEN)


@pytest.mark.parametrize(
    "given",
    [
        [],
        [("authorization", "")],
        [("authorization", TOKEN + " ")],
        [("authorization", f"Bearer {TOKEN}")],
        [("Authorization", TOKEN)],
        [("authorization", "\xff\u20ac")],
        [("authorization", b"\xff")],
        [("authorization", TOKEN), ("authorization", TOKEN)],
        [("authorization", TOKEN), ("authorization", "wrong")],
    ],
)
def test_nothing_else_is(given):
    assert not authenticated(given, TOKEN)
