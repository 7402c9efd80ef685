"""What a stream shows of whoever opened it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from django_hacache.node.transport.authentication.credentials import metadata, token_in
from django_hacache.node.transport.authentication.keyring import Keyring, Kind
from tests.node.transport.streams.test_server import config_of

TOKEN = "a token of these tests"
NODES = "the token of nodes alone"


def kind_of(given, **tokens):
    keyring = Keyring(replace(config_of(1), auth_token=TOKEN, **tokens))
    return keyring.kind_of(token_in(given))


def shows(token):
    return [("authorization", token)]


def test_without_a_token_of_their_own_nodes_and_clients_show_the_same():
    assert kind_of(metadata(TOKEN, "127.0.0.1:1")) is Kind.NODE


def test_a_token_in_bytes_is_the_same_token():
    assert kind_of(shows(TOKEN.encode())) is Kind.NODE


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
def test_nothing_else_is_a_token(given):
    assert kind_of(given) is Kind.STRANGER


def test_who_shows_the_token_of_clients_is_no_node():
    assert kind_of(shows(TOKEN), node_token=NODES) is Kind.CLIENT
    assert kind_of(shows(NODES), node_token=NODES) is Kind.NODE


def test_a_fallback_is_accepted_for_what_it_is_of_and_never_shown():
    tokens = {"node_token": NODES, "node_token_fallbacks": ("n2", "n3"), "auth_token_fallbacks": ("c2",)}
    assert kind_of(shows("n3"), **tokens) is Kind.NODE
    assert kind_of(shows("c2"), **tokens) is Kind.CLIENT
    assert Keyring(replace(config_of(1), **tokens)).shown == NODES


@pytest.mark.parametrize("given", [[], shows(""), shows(b"")])
def test_an_empty_token_lets_nobody_in_wherever_it_stands(given):
    assert kind_of(given, auth_token_fallbacks=("",)) is Kind.STRANGER
    assert kind_of(given, node_token=NODES, node_token_fallbacks=("",)) is Kind.STRANGER
    assert "" not in Keyring(replace(config_of(1), auth_token=TOKEN, auth_token_fallbacks=("",))).node_tokens


def test_nodes_can_accept_a_token_of_their_own_before_any_shows_it():
    assert kind_of(shows(NODES), node_token_fallbacks=(NODES,)) is Kind.NODE
    assert kind_of(shows(TOKEN), node_token_fallbacks=(NODES,)) is Kind.NODE


def test_the_fallbacks_of_clients_are_those_of_nodes_without_a_token_of_their_own():
    assert kind_of(shows("c2"), auth_token_fallbacks=("c2",)) is Kind.NODE
    assert kind_of(shows("c2"), auth_token_fallbacks=("c2",), node_token=NODES) is Kind.CLIENT
