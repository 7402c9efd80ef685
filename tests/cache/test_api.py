"""Django's cache API, method by method, as its documentation describes it."""

from __future__ import annotations

import contextlib
import math
import pickle
import sys

import pytest

from django_hacache.exceptions import ValueTooLarge
from django_hacache.values.serializers import INTEGER_BYTES_MAX
from tests.waiting import eventually

VALUES = [
    "text",
    "",
    b"\x00\x01",
    0,
    -7,
    2**80,
    1.5,
    True,
    None,
    [1, [2]],
    {"a": {"b": (1, 2)}},
    {1, 2},
]


class TestGetAndSet:
    @pytest.mark.parametrize("value", VALUES, ids=repr)
    def test_a_value_comes_back_with_its_type(self, cache, value):
        assert cache.set("key", value) is None
        found = cache.get("key")
        assert found == value
        assert type(found) is type(value)

    def test_a_miss_is_none_or_the_default(self, cache):
        assert cache.get("key") is None
        assert cache.get("key", "default") == "default"

    def test_a_stored_none_is_no_miss(self, cache):
        cache.set("key", None)
        assert cache.get("key", "default") is None

    def test_the_latest_value_counts(self, cache):
        cache.set("key", 1)
        cache.set("key", 2)
        assert cache.get("key") == 2

    def test_five_megabytes_are_ordinary(self, cache):
        value = bytes(range(256)) * 20_000
        cache.set("key", value)
        assert cache.get("key") == value

    def test_a_value_over_the_limit_is_a_clear_error_and_changes_nothing(self, caches, style):
        cache = style(caches["small"])
        cache.set("key", "before")
        with pytest.raises(ValueTooLarge, match="10000"):
            cache.set("key", "x" * 10_001)
        assert cache.get("key") == "before"

    def test_what_cannot_be_pickled_is_an_error_and_changes_nothing(self, cache):
        cache.set("key", "before")
        with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
            cache.set("key", lambda: None)
        assert cache.get("key") == "before"

    @pytest.mark.parametrize("key", ["k", "ключ", "k" * 5000, "a\x00b", "", "\U0001f600" * 200])
    @pytest.mark.filterwarnings("ignore::django.core.cache.backends.base.CacheKeyWarning")
    def test_keys_of_any_length_and_alphabet(self, cache, key):
        cache.set(key, "value")
        cache.set(key + "x", "other")
        assert cache.get(key) == "value"
        assert cache.delete(key)
        assert cache.get(key) is None
        assert cache.get(key + "x") == "other"

    def test_what_was_stored_does_not_follow_the_callers_object(self, cache):
        value = [1]
        cache.set("key", value)
        value.append(2)
        assert cache.get("key") == [1]


class TestTimeouts:
    @pytest.mark.parametrize("timeout", [0, -1, -0.5])
    def test_nothing_left_to_live_means_gone_at_once(self, cache, timeout):
        cache.set("key", "before")
        cache.set("key", "value", timeout)
        assert cache.get("key", "gone") == "gone"

    @pytest.mark.parametrize("timeout", [None, 1000, 0.5 * sys.maxsize, math.inf, 3600.5])
    def test_a_long_time_to_live(self, cache, timeout):
        cache.set("key", "value", timeout)
        assert cache.get("key") == "value"

    def test_a_key_that_expired_is_never_returned(self, cache):
        cache.set("key", "value", 0.1)
        eventually(lambda: cache.get("key") is None)
        assert cache.get_many(["key"]) == {}
        assert not cache.has_key("key")
        assert not cache.touch("key")
        assert not cache.delete("key")
        with pytest.raises(ValueError, match="not found"):
            cache.incr("key")
        assert cache.add("key", "new")

    def test_the_shortest_time_to_live_is_not_rounded_to_none(self, cache):
        cache.set("key", "value", 1e-9)
        eventually(lambda: cache.get("key") is None)

    def test_the_default_time_to_live_is_the_aliases(self, caches, style):
        style(caches["gone"]).set("key", "value")
        assert style(caches["gone"]).get("key") is None
        style(caches["forever"]).set("key", "value")
        assert style(caches["forever"]).get("key") == "value"
        style(caches["gone"]).set("key", "value", 100)
        assert style(caches["gone"]).get("key") == "value"


class TestAdd:
    def test_only_the_first_add_stores(self, cache):
        assert cache.add("key", 1) is True
        assert cache.add("key", 2) is False
        assert cache.get("key") == 1

    def test_a_stored_none_is_there(self, cache):
        cache.set("key", None)
        assert cache.add("key", 2) is False

    def test_added_with_no_time_to_live_stores_nothing(self, cache):
        assert cache.add("key", 1, 0) is True
        assert cache.get("key") is None
        cache.set("key", 1)
        assert cache.add("key", 2, 0) is False
        assert cache.get("key") == 1

    def test_an_added_key_expires(self, cache):
        assert cache.add("key", 1, 0.05)
        eventually(lambda: cache.add("key", 2))


class TestTouch:
    def test_touch_says_whether_the_key_was_there(self, cache):
        assert cache.touch("key") is False
        cache.set("key", 1)
        assert cache.touch("key") is True
        assert cache.get("key") == 1

    def test_touch_shortens_the_time_to_live(self, cache):
        cache.set("key", 1, None)
        assert cache.touch("key", 0.05)
        eventually(lambda: cache.get("key") is None)

    def test_touch_lengthens_the_time_to_live(self, cache):
        def stored_and_touched():
            cache.set("key", 1, 0.2)
            return cache.touch("key", None)

        eventually(stored_and_touched)  # on a busy machine it may have expired in between
        cache.set("witness", 1, 0.2)
        eventually(lambda: cache.get("witness") is None)
        assert cache.get("key") == 1

    @pytest.mark.parametrize("timeout", [0, -1])
    def test_touch_with_nothing_left_to_live_removes(self, cache, timeout):
        cache.set("key", 1)
        assert cache.touch("key", timeout) is True
        assert cache.get("key") is None
        assert cache.touch("key", timeout) is False


class TestDelete:
    def test_delete_says_whether_the_key_was_there(self, cache):
        assert cache.delete("key") is False
        cache.set("key", 1)
        assert cache.delete("key") is True
        assert cache.get("key") is None

    def test_clear_removes_everything(self, cache):
        cache.set_many({"a": 1, "b": 2})
        assert cache.clear() is None
        assert cache.get_many(["a", "b"]) == {}
        cache.set("a", 1)
        assert cache.get("a") == 1

    def test_clear_leaves_the_caches_of_other_aliases(self, caches, style):
        one, other = style(caches["default"]), style(caches["second"])
        one.set("key", 1)
        other.set("key", 2)
        one.clear()
        assert one.get("key") is None
        assert other.get("key") == 2


class TestMany:
    def test_what_was_set_together_is_got_together(self, cache):
        assert cache.set_many({"a": 1, "b": None, "c": "x"}) == []
        assert cache.get_many(["a", "b", "c", "missing"]) == {"a": 1, "b": None, "c": "x"}

    def test_iterators_will_do(self, cache):
        cache.set_many({"a": 1, "b": 2})
        assert cache.get_many(key for key in "ab") == {"a": 1, "b": 2}
        cache.delete_many(key for key in "ab")
        assert cache.get_many("ab") == {}

    def test_nothing_is_fine(self, cache):
        assert cache.set_many({}) == []
        assert cache.get_many([]) == {}
        assert cache.delete_many([]) is None

    def test_more_than_a_batch_holds(self, cache):
        data = {f"key{number}": number for number in range(2500)}
        data |= {f"big{number}": bytes(1_500_000) for number in range(4)}
        assert cache.set_many(data) == []
        assert cache.get_many(data) == data
        cache.delete_many(data)
        assert cache.get_many(data) == {}

    def test_one_value_that_cannot_be_stored_changes_nothing(self, caches, style):
        cache = style(caches["small"])
        with pytest.raises(ValueTooLarge):
            cache.set_many({"a": 1, "b": "x" * 20_000})
        with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
            cache.set_many({"a": 1, "b": lambda: None})
        assert cache.get_many(["a", "b"]) == {}

    def test_their_time_to_live(self, cache):
        cache.set_many({"a": 1}, 0.05)
        eventually(lambda: cache.get_many(["a"]) == {})
        cache.set("a", 1)
        cache.set_many({"a": 2}, 0)
        assert cache.get("a") is None


class TestHasKey:
    def test_a_key_is_there_or_not(self, cache):
        assert cache.has_key("key") is False
        cache.set("key", None)
        assert cache.has_key("key") is True

    def test_the_in_operator(self, caches):
        caches["default"].set("key", 1)
        assert "key" in caches["default"]
        assert "other" not in caches["default"]


class TestGetOrSet:
    def test_the_default_is_stored_once(self, cache):
        assert cache.get_or_set("key", 1) == 1
        assert cache.get_or_set("key", 2) == 1
        assert cache.get("key") == 1

    def test_a_callable_is_called_on_a_miss_only(self, cache):
        assert cache.get_or_set("key", lambda: "made") == "made"
        assert cache.get_or_set("key", lambda: pytest.fail("not on a hit")) == "made"

    def test_none_is_a_value(self, cache):
        assert cache.get_or_set("key", None) is None
        assert cache.get_or_set("key", 1) is None
        assert cache.get_or_set("other", lambda: None) is None
        assert cache.has_key("other")

    def test_its_time_to_live(self, cache):
        assert cache.get_or_set("key", 1, 0.05) == 1
        eventually(lambda: cache.get("key") is None)
        assert cache.get_or_set("key", 1, 0) == 1
        assert cache.get("key") is None

    def test_versions(self, cache):
        assert cache.get_or_set("key", 1, version=1) == 1
        assert cache.get_or_set("key", 2, version=2) == 2


class TestIncr:
    def test_up_and_down(self, cache):
        cache.set("key", 41)
        assert cache.incr("key") == 42
        assert cache.incr("key", 10) == 52
        assert cache.incr("key", -2) == 50
        assert cache.decr("key") == 49
        assert cache.decr("key", 9) == 40
        assert cache.decr("key", -2) == 42
        assert cache.get("key") == 42

    @pytest.mark.parametrize("start", [2**63 - 1, -(2**63), 2**64 - 1, 2**200])
    def test_past_64_bits(self, cache, start):
        cache.set("key", start)
        assert cache.incr("key") == start + 1
        assert cache.decr("key", 2) == start - 1
        assert cache.incr("key", 2**100) == start - 1 + 2**100

    @pytest.mark.parametrize("power", [8 * INTEGER_BYTES_MAX - 2, 8 * INTEGER_BYTES_MAX, 64_000])
    def test_an_integer_of_any_size_can_be_counted_up(self, cache, power):
        cache.set("key", 2**power)
        assert cache.incr("key") == 2**power + 1
        assert cache.incr("key", 2**power) == 2 ** (power + 1) + 1
        assert cache.get("key") == 2 ** (power + 1) + 1

    def test_a_missing_key_is_an_error(self, cache):
        with pytest.raises(ValueError, match="key"):
            cache.incr("key")
        with pytest.raises(ValueError, match="key"):
            cache.decr("key")
        assert not cache.has_key("key")

    def test_the_time_to_live_stays(self, cache):
        def stored_and_counted(key, start):
            cache.set(key, start, 0.2)
            with contextlib.suppress(ValueError):  # on a busy machine it may have expired in between
                return cache.incr(key) == start + 1

        eventually(lambda: stored_and_counted("key", 1))
        eventually(lambda: stored_and_counted("float", 1.0))
        eventually(lambda: not cache.has_key("key") and not cache.has_key("float"))

    @pytest.mark.parametrize(
        ("start", "delta", "end"),
        [(1.5, 1, 2.5), (1, 0.5, 1.5), (True, 1, 2), ([1], [2], [1, 2]), ("a", "b", "ab")],
        ids=repr,
    )
    def test_whatever_can_be_added_to(self, cache, start, delta, end):
        cache.set("key", start)
        assert cache.incr("key", delta) == end
        assert cache.get("key") == end

    def test_what_cannot_be_added_to_is_an_error_and_changes_nothing(self, cache):
        cache.set("key", "text")
        with pytest.raises(TypeError):
            cache.incr("key")
        assert cache.get("key") == "text"


class TestClose:
    def test_a_closed_cache_works_on(self, cache):
        cache.set("key", 1)
        cache.close()
        assert cache.get("key") == 1
        cache.set("key", 2)
        assert cache.get("key") == 2
