"""OPTIONS["SIGNING_KEYS"]: which keys it names, and that nobody sees them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from django_hacache.conf.options import cache_options
from django_hacache.conf.rules import find_problems
from django_hacache.conf.signing_keys import KEY_BYTES
from django_hacache.exceptions import ConfigurationError
from tests.conf.test_options import error_of, options

BACKEND = "django_hacache.cache.HACache"
STRONG, FORMER = "kX3v9Qm2Lr8Tz5kX3v9Qm2Lr8Tz5-one", "kX3v9Qm2Lr8Tz5kX3v9Qm2Lr8Tz5-two"
SHOWN = ("kX3v", "Qm2L", "short1234")


def keys(given: object) -> tuple[bytes, ...]:
    found: tuple[bytes, ...] = options(SIGNING_KEYS=given).signing_keys
    return found


def found(settings: Any, given: object) -> list[str]:
    settings.CACHES = {"default": {"BACKEND": BACKEND, "OPTIONS": {"SIGNING_KEYS": given}}}
    for problem in find_problems():
        assert not any(part in problem.message + problem.hint for part in SHOWN)
    return [problem.id.removeprefix("django_hacache.") for problem in find_problems()]


def test_nothing_is_signed_unless_it_is_asked_for() -> None:
    assert cache_options("default", "", {}).signing_keys == ()
    assert keys(None) == ()


def test_keys_are_taken_in_order_as_texts_or_bytes() -> None:
    assert keys([STRONG, FORMER.encode()]) == (STRONG.encode(), FORMER.encode())
    assert keys((STRONG,)) == (STRONG.encode(),)


def test_the_secret_key_stands_for_djangos_own_and_its_fallbacks(settings: Any) -> None:
    settings.SECRET_KEY = STRONG
    assert keys("secret_key") == keys(" SECRET_KEY ") == (STRONG.encode(),)
    settings.SECRET_KEY_FALLBACKS = [FORMER]
    assert keys("secret_key") == (STRONG.encode(), FORMER.encode())


@pytest.mark.parametrize(
    "given",
    ["", " ", STRONG, STRONG.encode(), [], (), {STRONG}, {STRONG: 1}, 5, True, [STRONG, 5], [STRONG, None]],
)
def test_anything_else_is_an_error_that_shows_no_key(given: object) -> None:
    """An empty text, too: a variable that was forgotten must not switch signing off."""
    message = error_of(SIGNING_KEYS=given)
    assert message.startswith(
        'SIGNING_KEYS is (not shown), from CACHES["default"]["OPTIONS"]: expected \'secret_key\', or a list of keys'
    )
    assert not any(part in message for part in SHOWN)


def test_a_site_without_a_secret_key_is_told(settings: Any) -> None:
    settings.SECRET_KEY = ""
    assert "expected a SECRET_KEY in settings" in error_of(SIGNING_KEYS="secret_key")


def test_a_short_key_is_refused_be_it_the_last_one(settings: Any) -> None:
    short = ("short1234" * 2)[: KEY_BYTES - 1]
    assert found(settings, [STRONG, short]) == ["E024"]
    with pytest.raises(ConfigurationError, match="key 2 has 15 bytes, expected 16 or more"):
        keys([STRONG, short])
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = STRONG, [STRONG, short]
    with pytest.raises(ConfigurationError, match=r"SECRET_KEY_FALLBACKS\[1\] has 15 bytes"):
        keys("secret_key")


@pytest.mark.parametrize("weak", ["kX3v9Qm2Lr8Tz5short1234", "a" * 64])
def test_a_key_that_may_be_guessed_is_warned(settings: Any, weak: str) -> None:
    assert found(settings, [STRONG]) == []
    assert found(settings, [STRONG, weak]) == ["W015"]


def test_all_aliases_of_a_cache_sign_alike(settings: Any) -> None:
    def aliases(mine: Any, theirs: Any) -> Any:
        return {
            "a": {"BACKEND": BACKEND, "OPTIONS": {"CACHE_NAME": "one", **mine}},
            "b": {"BACKEND": BACKEND, "OPTIONS": {"CACHE_NAME": "one", **theirs}},
        }

    settings.CACHES = aliases({"SIGNING_KEYS": [STRONG]}, {})
    assert find_problems() == []
    entry = settings.CACHES["b"]
    silent = cache_options("b", "", {key: value for key, value in entry.items() if key != "BACKEND"})
    assert silent.signing_keys == (STRONG.encode(),)
    settings.CACHES = aliases({"SIGNING_KEYS": [STRONG]}, {"SIGNING_KEYS": [FORMER]})
    [problem] = find_problems()
    assert problem.id == "django_hacache.E017"
    assert not any(part in problem.message for part in SHOWN)


def test_a_cache_that_is_not_signed_beside_others_that_are_is_warned(settings: Any, tmp_path: Path) -> None:
    signed = {"BACKEND": BACKEND, "OPTIONS": {"SIGNING_KEYS": [STRONG]}}
    settings.CACHES = {"a": signed, "b": signed, "elsewhere": {"BACKEND": BACKEND, "LOCATION": str(tmp_path)}}
    assert find_problems() == []
    settings.CACHES = {"a": signed, "b": signed, "open": {"BACKEND": BACKEND}}
    [problem] = find_problems()
    assert problem.id == "django_hacache.W017"
    assert "and 'open' has none" in problem.message


def test_no_key_is_in_what_options_look_like_or_in_the_output_of_a_check(settings: Any) -> None:
    assert not any(part in repr(options(SIGNING_KEYS=[STRONG])) for part in SHOWN)
    for wrong in ({"SIGNING_KEYS": STRONG}, {"SIGNING_KEY": [STRONG]}, [("SIGNING_KEYS", [STRONG])]):
        settings.CACHES = {"default": {"BACKEND": BACKEND, "OPTIONS": wrong}}
        with pytest.raises(SystemCheckError) as caught:
            call_command("check", stdout=io.StringIO(), stderr=io.StringIO())
        assert not any(part in str(caught.value) for part in SHOWN)
