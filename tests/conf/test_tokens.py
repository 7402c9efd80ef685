"""The tokens of a cluster: where they are read, and that none is shown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from django_hacache.conf import ClusterConfig
from django_hacache.conf.cluster import cluster_config, node_config
from django_hacache.conf.rules import find_problems
from django_hacache.exceptions import ConfigurationError
from tests.conf import TOKEN

OTHER = "mW8cVq4Zt1Rk6Yb9Xe3Lh7Jp2Nd5Fs0Ga-uT"
THIRD = "Qz7Rk2Vn9Bt4Xm6Wc1Jh8Ld3Pf5Gs0Ye-aU4"
NAMES = ["CACHE_AUTH_TOKEN", "CACHE_NODE_TOKEN"]


def error_of() -> str:
    with pytest.raises(ConfigurationError) as caught:
        node_config()
    return str(caught.value)


@pytest.mark.parametrize("listed", [f"{OTHER}, {THIRD}", [OTHER, THIRD]])
def test_fallbacks_are_a_text_with_commas_or_a_list(listed: object, cluster: Any) -> None:
    cluster(CACHE_AUTH_TOKEN_FALLBACKS=listed)
    assert cluster_config().client_tokens == (TOKEN, OTHER, THIRD)
    assert cluster_config().node_tokens == (TOKEN, OTHER, THIRD)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "listed", [f"{OTHER}, ", f"{OTHER},", f" ,{OTHER}", " , ", ",", [OTHER, ""], ["", " "], ""]
)
def test_an_empty_fallback_is_none(name: str, listed: object, cluster: Any) -> None:
    cluster(**{"CACHE_NODE_TOKEN": THIRD, f"{name}_FALLBACKS": listed})
    config = cluster_config()
    assert all(config.client_tokens)
    assert all(config.node_tokens)


def test_nodes_may_have_a_token_of_their_own(cluster: Any) -> None:
    cluster(CACHE_NODE_TOKEN=OTHER, CACHE_NODE_TOKEN_FALLBACKS=THIRD)
    assert cluster_config().client_tokens == (TOKEN,)
    assert cluster_config().node_tokens == (OTHER, THIRD)


def test_a_file_has_a_token_in_each_line_and_the_first_is_the_one_that_is_shown(
    cluster: Any, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{TOKEN}\n\n{OTHER}\n")
    cluster(CACHE_AUTH_TOKEN=None, CACHE_AUTH_TOKEN_FILE=str(file))
    assert node_config().client_tokens == (TOKEN, OTHER)


def test_web_workers_need_not_read_the_file(cluster: Any, tmp_path: Path) -> None:
    cluster(CACHE_AUTH_TOKEN=None, CACHE_AUTH_TOKEN_FILE=str(tmp_path / "for the node alone"))
    assert cluster_config().ha_mode


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "No such file"), ("", "empty"), (b"\xff\xfe", "no text"), ("p\u00e4ssword " * 3, "no token")],
)
def test_a_file_without_tokens_is_refused(
    name: str, content: str | bytes | None, says: str, cluster: Any, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    cluster(
        **{"CACHE_AUTH_TOKEN": None, "CACHE_AUTH_TOKEN_FILE": None, name: None, f"{name}_FILE": str(file)}
    )
    message = error_of()
    assert f"{name}_FILE, from settings.HACACHE, names a file" in message
    assert says in message


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("group may write", "its mode is 660"),
        ("a pipe", "no regular file"),
        ("too long", "more than 65536 bytes"),
    ],
)
def test_a_file_that_is_none_of_tokens_is_refused_at_once(
    kind: str, says: str, cluster: Any, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    if kind == "a pipe":
        os.mkfifo(file)
    else:
        file.write_text(f"{TOKEN}\n" * (2000 if kind == "too long" else 1))
        file.chmod(0o660 if kind == "group may write" else 0o600)
    cluster(CACHE_AUTH_TOKEN=None, CACHE_AUTH_TOKEN_FILE=str(file))
    assert says in error_of()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(cluster: Any, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(TOKEN)
    os.chown(file, 65534, 65534)
    cluster(CACHE_AUTH_TOKEN=None, CACHE_AUTH_TOKEN_FILE=str(file))
    assert "belongs to user 65534" in error_of()


def test_a_token_in_place_of_the_name_of_its_file_is_not_shown(cluster: Any) -> None:
    cluster(CACHE_AUTH_TOKEN=None, CACHE_AUTH_TOKEN_FILE=TOKEN)
    assert TOKEN not in error_of()


def test_tokens_in_two_places_are_refused(cluster: Any, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(OTHER)
    cluster(CACHE_AUTH_TOKEN_FILE=str(file))
    assert "expected the tokens in one place" in error_of()


@pytest.mark.parametrize("name", [*NAMES, "CACHE_AUTH_TOKEN_FALLBACKS", "CACHE_NODE_TOKEN_FALLBACKS"])
def test_a_token_of_less_than_sixteen_bytes_is_refused_wherever_it_is(name: str, cluster: Any) -> None:
    cluster(**{name: "kX3v9Qm2Lr8Tz5A"})
    message = error_of()
    assert f"{name}, from settings.HACACHE, has 15 bytes: expected 16 at the very least" in message
    assert "kX3v9Qm2Lr8Tz5A" not in message
    cluster(**{name: "kX3v9Qm2Lr8Tz5Ab"})
    assert [problem.id for problem in find_problems()] == ["django_hacache.W001"]


def test_no_token_is_in_the_representation(cluster: Any) -> None:
    cluster(CACHE_AUTH_TOKEN_FALLBACKS=OTHER, CACHE_NODE_TOKEN=THIRD, CACHE_NODE_TOKEN_FALLBACKS=OTHER)
    config: ClusterConfig = cluster_config()
    assert not any(token in repr(config) for token in (TOKEN, OTHER, THIRD))


@pytest.mark.parametrize("bad", ["p\u00e4ssword-that-is-long-enough-0123", ["a" * 40, 12345], 7])
def test_a_bad_fallback_is_refused_and_never_shown(bad: object, cluster: Any) -> None:
    cluster(CACHE_AUTH_TOKEN_FALLBACKS=bad)
    assert error_of().startswith("CACHE_AUTH_TOKEN_FALLBACKS is (not shown), from settings.HACACHE")
