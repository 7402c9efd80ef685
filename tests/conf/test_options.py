from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from django_hacache.cache import HACache
from django_hacache.conf import AckLevel
from django_hacache.conf.location import default_location
from django_hacache.conf.options import cache_options, node_caches
from django_hacache.conf.rules import find_problems
from django_hacache.exceptions import ConfigurationError
from django_hacache.replica.layout import MAX_CACHES

BACKEND = "django_hacache.cache.HACache"
MIB = 1024 * 1024


def options(
    location: Any = "", /, name: str = "default", params: dict[str, Any] | None = None, **given: Any
) -> Any:
    return cache_options(name, location, {"OPTIONS": given} if params is None else params)


def error_of(*args: Any, **given: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        options(*args, **given)
    return str(caught.value)


def test_the_simplest_form_works() -> None:
    found = cache_options("default", "", {})
    assert found.name == "default"
    assert found.location == default_location()
    assert found.ack_level is AckLevel.QUORUM
    assert found.write_timeout_s == 5
    assert found.ignore_exceptions is False
    assert found.log_ignored_exceptions is True
    assert found.size_limit == 256 * MIB
    assert found.max_entries is None
    assert found.cull_frequency == 3
    assert found.max_value_bytes == 8 * MIB


@pytest.mark.parametrize(
    ("name", "value", "attribute", "expected"),
    [
        ("ACK_LEVEL", "leader", "ack_level", AckLevel.LEADER),
        ("ACK_LEVEL", "ONCE", "ack_level", AckLevel.ONCE),
        ("ACK_LEVEL", AckLevel.ALL, "ack_level", AckLevel.ALL),
        ("ACK_LEVEL", "direct", "ack_level", AckLevel.DIRECT),
        ("FILL_ACK_LEVEL", "quorum", "fill_ack_level", AckLevel.QUORUM),
        ("WRITE_TIMEOUT", 0.5, "write_timeout_s", 0.5),
        ("WRITE_TIMEOUT", "2", "write_timeout_s", 2.0),
        ("IGNORE_EXCEPTIONS", True, "ignore_exceptions", True),
        ("IGNORE_EXCEPTIONS", "true", "ignore_exceptions", True),
        ("LOG_IGNORED_EXCEPTIONS", False, "log_ignored_exceptions", False),
        ("SIZE_LIMIT", MIB, "size_limit", MIB),
        ("MAX_ENTRIES", 10, "max_entries", 10),
        ("MAX_ENTRIES", "10", "max_entries", 10),
        ("MAX_ENTRIES", None, "max_entries", None),
        ("CULL_FREQUENCY", 0, "cull_frequency", 0),
        ("MAX_VALUE_SIZE", 1000, "max_value_bytes", 1000),
    ],
)
def test_every_option_is_read(name: str, value: object, attribute: str, expected: object) -> None:
    assert getattr(options(**{name: value}), attribute) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ACK_LEVEL", "majority", "'direct', 'leader', 'once', 'quorum', 'all'"),
        ("ACK_LEVEL", 3, "one of"),
        ("WRITE_TIMEOUT", 0, "seconds, a number from 0.001 to 3600"),
        ("WRITE_TIMEOUT", True, "seconds"),
        ("IGNORE_EXCEPTIONS", "sometimes", "true or false"),
        ("LOG_IGNORED_EXCEPTIONS", 2, "true or false"),
        ("SIZE_LIMIT", 1000, "a whole number from 65536"),
        ("SIZE_LIMIT", "256 lot", "a whole number from 65536 to 70368744177664, or a text such as '64MB'"),
        ("MAX_ENTRIES", 0, "a whole number from 1"),
        ("CULL_FREQUENCY", -1, "a whole number from 0"),
        ("MAX_VALUE_SIZE", 1 << 40, f"a whole number from 1 to {128 * MIB}"),
    ],
)
def test_a_bad_option_is_named_with_its_value_and_place(name: str, value: object, expected: str) -> None:
    message = error_of(name="pages", **{name: value})
    assert message.startswith(f'{name} is {value!r}, from CACHES["pages"]["OPTIONS"]: expected ')
    assert expected in message


def test_a_misspelt_option_is_an_error_that_asks_what_was_meant() -> None:
    message = error_of(name="pages", ACKLEVEL="leader")
    assert (
        message == 'CACHES["pages"]["OPTIONS"] has the unknown option \'ACKLEVEL\'. Did you mean ACK_LEVEL?'
    )


def test_an_option_in_lower_case_is_misspelt() -> None:
    assert "Did you mean SIZE_LIMIT?" in error_of(size_limit=MIB)


def test_an_option_beside_options_is_an_error_that_says_where_it_belongs() -> None:
    message = error_of(params={"ACK_LEVEL": "leader"})
    assert message == 'CACHES["default"] has \'ACK_LEVEL\': expected it in CACHES["default"]["OPTIONS"].'


def test_a_misspelt_key_beside_options_is_an_error() -> None:
    assert "Did you mean KEY_PREFIX?" in error_of(params={"KEYPREFIX": "a"})


def test_options_must_be_a_dict() -> None:
    assert error_of(params={"OPTIONS": "x"}) == 'CACHES["default"]["OPTIONS"] is \'x\': expected a dict.'


def test_all_that_django_reads_itself_is_accepted() -> None:
    params = {"TIMEOUT": None, "KEY_PREFIX": "p", "VERSION": 2, "KEY_FUNCTION": "a.b", "OPTIONS": {}}
    assert options(params=params).name == "default"


def test_limits_in_lower_case_win_over_options_as_in_django() -> None:
    params = {"timeout": 5, "max_entries": 7, "cull_frequency": 2, "OPTIONS": {"MAX_ENTRIES": 8}}
    found = options(params=params)
    assert (found.max_entries, found.cull_frequency) == (7, 2)


@pytest.mark.parametrize("key", ["TIMEOUT", "timeout"])
def test_a_timeout_that_django_would_replace_in_silence_is_an_error(key: str) -> None:
    message = error_of(params={key: "soon"})
    assert message.startswith("TIMEOUT is 'soon', from CACHES[\"default\"]: expected seconds")


def test_no_value_may_be_larger_than_the_whole_cache() -> None:
    assert options(SIZE_LIMIT=MIB).max_value_bytes == MIB


def test_an_ack_level_has_a_name_in_any_case() -> None:
    assert AckLevel("Quorum") is AckLevel.QUORUM
    with pytest.raises(ValueError, match="most"):
        AckLevel("most")


def test_an_alias_that_no_request_can_carry_is_an_error() -> None:
    assert "256 bytes: expected 1 to 255" in error_of(name="a" * 256)
    assert "printable" in error_of(name="a\0b")


def test_a_cache_is_named_by_its_alias_or_by_an_option() -> None:
    assert options(name="pages").name == "pages"
    assert options(name="pages", CACHE_NAME="site").name == "site"
    # The alias does not travel.
    assert options(name="a" * 256, CACHE_NAME="site").name == "site"


@pytest.mark.parametrize("name", [7, "ä" * 128, "a\0b"])
def test_a_name_that_no_request_can_carry_is_an_error(name: object) -> None:
    assert 'from CACHES["default"]["OPTIONS"]: expected a text of 1 to 255 bytes' in error_of(CACHE_NAME=name)


@pytest.mark.parametrize(
    ("text", "size"),
    [("64MB", 64_000_000), ("64MiB", 64 * MIB), ("1 gib", 1024 * MIB), ("70kB", 70_000), ("65536", 65536)],
)
def test_a_size_may_have_a_unit(text: str, size: int) -> None:
    assert options(SIZE_LIMIT=text).size_limit == size
    assert options(SIZE_LIMIT="1GiB", MAX_VALUE_SIZE="2MB").max_value_bytes == 2_000_000


def test_a_node_has_one_cache_for_all_aliases_that_name_it(settings: Any, tmp_path: Path) -> None:
    entry = {"BACKEND": BACKEND, "LOCATION": str(tmp_path)}
    settings.CACHES = {
        "default": {**entry, "OPTIONS": {"MAX_ENTRIES": 7}},
        "strict": {**entry, "OPTIONS": {"CACHE_NAME": "default"}},
        "elsewhere": {
            **entry,
            "LOCATION": f"{tmp_path}-2",
            "OPTIONS": {"CACHE_NAME": "default", "MAX_ENTRIES": 8},
        },
    }
    assert {name: found.max_entries for name, found in node_caches(tmp_path).items()} == {"default": 7}
    assert cache_options("strict", tmp_path, {"OPTIONS": {"CACHE_NAME": "default"}}).max_entries == 7


def test_a_location_is_taken_as_it_is_written(tmp_path: Path) -> None:
    assert options(tmp_path).location == tmp_path
    assert options(f"{tmp_path}/a/../b/").location == tmp_path / "b"


def test_a_relative_location_counts_from_the_base_directory(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BASE_DIR = "/srv/site"
    monkeypatch.chdir("/")
    assert options("var/cache").location == Path("/srv/site/var/cache")


def test_a_relative_location_without_a_base_directory_is_an_error(settings: Any) -> None:
    settings.BASE_DIR = None
    message = error_of("var/cache")
    assert message.startswith(
        'LOCATION is \'var/cache\', from CACHES["default"]["LOCATION"]: expected an absolute'
    )


@pytest.mark.parametrize("location", [["/a"], 7, "/a\0b"])
def test_a_location_that_is_no_path_is_an_error(location: object) -> None:
    assert "expected the path of a directory" in error_of(location)


@pytest.mark.parametrize(
    "location", ["redis://10.0.0.1:6379", "unix:///run/cache.sock", "file:///dev/shm/site"]
)
def test_a_location_that_is_a_url_is_an_error(location: str) -> None:
    message = error_of(location)
    assert f"LOCATION is {location!r}" in message
    assert "expected the path of a directory, no URL" in message


@pytest.mark.parametrize(
    "location", ["/run/redis.sock?password=kX3v9Qm2Lr8Tz5A", "//kX3v9Qm2Lr8Tz5A@cache/1"]
)
def test_a_location_like_a_part_of_a_url_is_an_error_that_shows_no_secret(location: str) -> None:
    message = error_of(location)
    assert "no URL" in message
    assert "kX3v9Qm2Lr8Tz5A" not in message


@pytest.mark.parametrize(
    "location", ["unique-snowflake", "my_cache_table", "127.0.0.1:11211", "unix:/run/memcached.sock", "h:1/x"]
)
def test_a_location_of_another_backend_is_an_error_that_says_what_location_is(location: str) -> None:
    message = error_of(location)
    assert f"LOCATION is {location!r}" in message
    assert "the path of a directory, such as '/run/mysite'" in message
    assert 'the alias, or OPTIONS["CACHE_NAME"]' in message


def test_a_path_object_is_no_bare_word(settings: Any) -> None:
    settings.BASE_DIR = "/srv/site"
    assert options(Path("cache")).location == Path("/srv/site/cache")
    assert options("./cache").location == Path("/srv/site/cache")


def test_no_message_shows_the_password_of_a_url() -> None:
    message = error_of("redis://:s3cret@10.0.0.1:6379/1")
    assert "a text of 31 characters (not shown)" in message
    assert "s3cret" not in message


@pytest.mark.parametrize("location", ["~/cache", "~", "~web/cache"])
def test_a_location_that_begins_with_a_tilde_is_an_error(location: str) -> None:
    message = error_of(location)
    assert f"LOCATION is {location!r}" in message
    assert "home directory" in message


def test_a_tilde_elsewhere_is_a_letter_like_others() -> None:
    assert options("/srv/~site").location == Path("/srv/~site")
    assert options("/srv/5$/100%/a b{c}").location == Path("/srv/5$/100%/a b{c}")


@pytest.mark.parametrize(
    "location",
    ["$HOME/cache", "/srv/${SITE}/cache", "$(pwd)/cache", "/dev/shm/$USER", "%HOME%/x", "/srv/{{site}}"],
)
def test_a_location_with_a_variable_that_nobody_expands_is_an_error(location: str) -> None:
    for given in (location, Path(location)):
        message = error_of(given)
        assert f"LOCATION is {location!r}" in message
        assert "expected a path without variables" in message


@pytest.mark.parametrize("location", [" /dev/shm/site", "/dev/shm/site ", "/dev/shm/site\n", "\t./cache"])
def test_a_location_with_a_blank_at_an_end_is_an_error(location: str) -> None:
    message = error_of(location)
    assert f"LOCATION is {location!r}" in message
    assert "expected a path with no blank at either end" in message


def test_a_location_is_as_long_as_a_unix_socket_allows() -> None:
    longest = "/" + "d" * (107 - len("/node.sock") - 1)
    assert options(longest).location == Path(longest)
    message = error_of(longest + "d")
    assert "the node's socket has 108 bytes, a Unix socket's path at most 107" in message


def test_the_length_of_a_location_is_counted_in_bytes() -> None:
    assert "at most 107" in error_of("/" + "ä" * 50)


def aliases_at(location: Path) -> dict[str, Any]:
    return {
        "default": {"BACKEND": BACKEND, "LOCATION": str(location)},
        "pages": {"BACKEND": BACKEND, "LOCATION": location, "OPTIONS": {"MAX_ENTRIES": 5}},
        "elsewhere": {"BACKEND": BACKEND, "LOCATION": f"{location}-2"},
        "memory": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": str(location)},
    }


def test_a_node_serves_every_alias_of_its_location(settings: Any, tmp_path: Path) -> None:
    settings.CACHES = aliases_at(tmp_path)
    found = node_caches(tmp_path)
    assert list(found) == ["default", "pages"]
    assert found["pages"].max_entries == 5
    assert found["pages"].name == "pages"


def test_a_node_finds_its_aliases_through_a_symbolic_link(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    settings.CACHES = {"default": {"BACKEND": BACKEND, "LOCATION": str(tmp_path / "link")}}
    assert list(node_caches(tmp_path / "real")) == ["default"]


def test_a_node_serves_aliases_of_subclasses_too(settings: Any, tmp_path: Path) -> None:
    settings.CACHES = {"own": {"BACKEND": "tests.conf.backends.ProjectCache", "LOCATION": str(tmp_path)}}
    assert list(node_caches(tmp_path)) == ["own"]


def test_a_node_refuses_an_alias_with_a_wrong_option(settings: Any, tmp_path: Path) -> None:
    settings.CACHES = {"own": {"BACKEND": BACKEND, "LOCATION": str(tmp_path), "OPTIONS": {"SIZE": 1}}}
    with pytest.raises(ConfigurationError, match="unknown option 'SIZE'"):
        node_caches(tmp_path)


def test_a_backend_that_cannot_be_imported_is_an_error_that_names_the_alias(
    settings: Any, tmp_path: Path
) -> None:
    settings.CACHES = {"broken": {"BACKEND": "nowhere.Cache"}}
    with pytest.raises(ConfigurationError, match=r'CACHES\["broken"\]\["BACKEND"\] is \'nowhere.Cache\''):
        node_caches(tmp_path)


def test_reading_options_makes_no_directory(tmp_path: Path) -> None:
    options(tmp_path / "new")
    assert not os.path.lexists(tmp_path / "new")


def test_more_aliases_than_a_replica_holds_are_an_error(settings: Any) -> None:
    settings.CACHES = {f"c{number}": {"BACKEND": BACKEND} for number in range(MAX_CACHES + 1)}
    [found] = [problem for problem in find_problems() if problem.id == "django_hacache.E016"]
    assert f"CACHES has {MAX_CACHES + 1} caches" in found.message
    settings.CACHES.popitem()
    assert not [problem for problem in find_problems() if problem.id == "django_hacache.E016"]


def test_options_that_are_no_dict_do_not_stop_the_check(settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": BACKEND, "OPTIONS": ["a"], "TIMEOUT": "x"}}
    cache = HACache("", {"OPTIONS": ["a"], "TIMEOUT": "x"})
    with pytest.raises(ConfigurationError, match="expected a dict"):
        cache.get("key")
    assert len(find_problems()) == 2


def test_a_level_that_is_none_is_answered_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="'bogus' is no level of acknowledgement: expected one of 'direct'"):
        AckLevel("bogus")
