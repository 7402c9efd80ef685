"""A secret in the wrong place is not in a message: of no check, no exception, no command, and in no repr."""

from __future__ import annotations

import base64
import io
import logging
import secrets
import string
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings
from hypothesis import Phase, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from django_hacache.cache import HACache
from django_hacache.cache_url import Env
from django_hacache.conf.cluster import cluster_config, node_config
from django_hacache.conf.redaction import shown
from django_hacache.conf.rules import find_problems
from django_hacache.exceptions import HACacheError
from tests.conf import CLUSTER, HOSTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOGGER = logging.getLogger("django_hacache")
BACKEND = "django_hacache.cache.HACache"
ALPHANUMERIC = string.ascii_letters + string.digits
# As programs make them: token_urlsafe, token_hex, openssl rand -base64, a password of a generator.
SECRETS = st.one_of(
    st.binary(min_size=24, max_size=48).map(lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("=")),
    st.binary(min_size=16, max_size=48).map(bytes.hex),
    st.binary(min_size=32, max_size=48).map(lambda raw: base64.b64encode(raw).decode()),
    st.text(ALPHANUMERIC + "!#+*-_", min_size=24, max_size=64),
).filter(lambda secret: any(one.isdigit() for one in secret[:-4]))
FORMS: tuple[Callable[[str], str], ...] = (
    lambda secret: secret,
    lambda secret: f"  {secret}\n",
    lambda secret: f"{secret}\nfoo: bar",
    lambda secret: f"{secret}ü",
    lambda secret: f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----",
    lambda secret: f"http://user:{secret}@127.0.0.1:7001",
    lambda secret: f"http://{secret}@127.0.0.1:7001,http://b:7001,http://c:7001",
    lambda secret: f"https://127.0.0.1:7001/{secret}",
    lambda secret: f"redis://:{secret}@host:6379/1",
    lambda secret: f"redis://:pa/{secret}@host:6379/1",
    lambda secret: f"redis://:pa@{secret}@host:6379/1",
    lambda secret: f"redis://host:6379/1?password={secret}",
    lambda secret: f"hacache://:{secret}@host/dev/shm/x",
    lambda secret: f"hacache://{secret}",
    lambda secret: f"unix:/run/{secret}.sock",
    lambda secret: f"Bearer {secret}",
)
SETTINGS = (
    "HA_MODE",
    "HA_HOSTS",
    "HOSTNAME_OVERWRITE",
    "CACHE_AUTH_TOKEN",
    "CACHE_AUTH_TOKEN_FALLBACKS",
    "CACHE_AUTH_TOKEN_FILE",
    "CACHE_NODE_TOKEN",
    "CACHE_NODE_TOKEN_FILE",
    "CACHE_TLS",
    "CACHE_TLS_SERVER_CERT",
    "CACHE_TLS_SERVER_KEY",
    "CACHE_TLS_CLIENT_CERT",
    "CACHE_TLS_CA_CLIENT",
    "CACHE_TLS_CLIENT_VALIDATE_DOMAIN",
    "CACHE_TLS_SNI_OVERWRITE",
    "CACHE_BUF_SERVER",
    "CACHE_KEEPALIVE_INTERVAL",
    "CACHE_ELECTION_TIMEOUT",
    "CACHE_LANE_PORT",
    "CACHE_NO_SUCH_SETTING",
)
OPTIONS = (
    "CACHE_NAME",
    "SIZE_LIMIT",
    "MAX_ENTRIES",
    "ACK_LEVEL",
    "WRITE_TIMEOUT",
    "IGNORE_EXCEPTIONS",
    "PASSWORD",
)
# To make a failing secret smaller takes long and tells nothing.
quick = {"deadline": None, "phases": (Phase.explicit, Phase.generate)}
once = hypothesis_settings(max_examples=1, **quick)
often = hypothesis_settings(max_examples=200, **quick)
PLAIN = {"HA_HOSTS": HOSTS.replace("http", "https"), "CACHE_TLS": True}


@pytest.fixture(scope="module", autouse=True)
def logger() -> Iterator[None]:
    """The logger as it was: the command of the node sets its level and its handler."""
    before, handlers = LOGGER.level, list(LOGGER.handlers)
    yield
    LOGGER.setLevel(before)
    LOGGER.handlers[:] = handlers


def said(*calls: Callable[[], Any]) -> str:
    """All that the calls say, or raise, causes and contexts included."""
    heard = []
    for call in calls:
        try:
            heard.append(repr(call()))
        except (HACacheError, CommandError, SystemCheckError, SystemExit) as error:
            heard.append(f"{error} {error!r} {error.__cause__!r}")
    return "\n".join(heard)


def commands() -> str:
    out = io.StringIO()
    words = said(
        lambda: call_command("check", stdout=out, stderr=out),
        lambda: call_command("hacache_status", timeout=0.001, stdout=out, stderr=out),
        lambda: call_command("hacache_node", stdout=out, stderr=out, addr="x"),
    )
    return words + out.getvalue()


def everything(caches: dict[str, Any] | None = None, *, with_commands: bool = False) -> str:
    entry = (caches or {"default": {"BACKEND": BACKEND}})["default"]
    params = {key: value for key, value in entry.items() if key not in ("BACKEND", "LOCATION")}
    return said(
        cluster_config,
        node_config,
        lambda: [(problem.message, problem.hint) for problem in find_problems()],
        *((commands,) if with_commands else ()),
        # Django makes none for an alias of another backend.
        *((lambda: HACache(entry.get("LOCATION", ""), params),) if entry["BACKEND"] == BACKEND else ()),
    )


@pytest.mark.parametrize("setting", SETTINGS)
@given(secret=SECRETS)
@once
def test_no_setting_of_the_cluster_is_shown_with_a_secret_in_it(setting: str, secret: str) -> None:
    for base in ({}, PLAIN):
        for form in FORMS:
            with override_settings(HACACHE={**CLUSTER, **base, setting: form(secret)}):
                found = everything(with_commands=form is FORMS[0])
                assert secret not in found, (setting, form(secret))


@given(secret=SECRETS)
@once
def test_nor_is_one_that_is_no_text_or_a_key(secret: str) -> None:
    for given_ in ([secret], {secret: secret}, secret.encode(), (secret, 1)):
        for setting in SETTINGS:
            with override_settings(HACACHE={**CLUSTER, setting: given_}):
                assert secret not in everything(), (setting, given_)
    with override_settings(HACACHE={**CLUSTER, secret: "x"}):
        assert secret not in everything()
    with override_settings(HACACHE=f"CACHE_AUTH_TOKEN={secret}"):
        assert secret not in everything()


@pytest.mark.parametrize("option", [*OPTIONS, "LOCATION", "BACKEND", "TIMEOUT", "OPTIONS", "PASSWORD"])
@given(secret=SECRETS)
@once
def test_no_option_of_a_cache_is_shown_with_a_secret_in_it(option: str, secret: str) -> None:
    for form in FORMS:
        text = form(secret)
        if option == "CACHE_NAME" and text.isprintable():
            continue  # that is a name
        if option == "LOCATION" and "/" in secret:
            continue  # that may be a path
        entry: dict[str, Any] = {"BACKEND": BACKEND}
        if option in OPTIONS:
            entry["OPTIONS"] = {option: text}
        else:
            entry[option] = text
        with override_settings(CACHES={"default": entry}, HACACHE=CLUSTER):
            found = everything({"default": entry}, with_commands=form is FORMS[0] and option != "BACKEND")
            assert secret not in found, (option, text)


@given(secret=SECRETS)
@often
def test_no_secret_is_taken_for_words_or_a_path(secret: str) -> None:
    for form in FORMS:
        assert secret not in shown(form(secret))


@given(secret=SECRETS)
@example(secret="/bDA2izbSGjIuhmKNgTBDXZQDdyV/NbhgeEHCvIGArPIVNY=")
@once
def test_no_url_of_a_cache_is_shown(secret: str) -> None:
    for form in FORMS:
        url = form(secret)
        if url.startswith("hacache"):
            # What begins with a slash is a path: the configuration has it as its LOCATION, and nothing is said.
            assert secret.lower() not in said(lambda url=url: bool(Env.cache_url_config(url))).lower()


@given(secret=SECRETS)
@once
def test_a_configuration_does_not_show_its_tokens(secret: str) -> None:
    token = secret[:200]
    names = ("CACHE_AUTH_TOKEN", "CACHE_NODE_TOKEN")
    tokens = {name: f"{name[-5:]}{token}" for name in names}
    with override_settings(HACACHE={**CLUSTER, **tokens, "CACHE_AUTH_TOKEN_FALLBACKS": [f"old{token}"]}):
        assert token not in everything()
        assert token not in repr(node_config())


def test_numbers_words_paths_and_addresses_are_shown_for_it_helps() -> None:
    for value in (
        "ture",
        "5 min",
        "64 lot",
        "-1",
        "~/cache",
        "/srv/$SITE/x",
        "unix:/run/memcached.sock",
        "web1:8001",
    ):
        assert shown(value) == repr(value)
    assert shown(True) == "True"
    assert shown(10**5000) == "a number of 16610 bits"
    assert shown(secrets.token_urlsafe(32)) == "a text of 43 characters (not shown)"
    assert shown([1]) == "a value of type list (not shown)"
