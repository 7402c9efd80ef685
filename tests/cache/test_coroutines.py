"""Values that ask the database when they are pickled: Django refuses that in a coroutine, caches take them."""

from __future__ import annotations

import asyncio

import pytest
from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def users():
    User.objects.create(username="ada")
    return User.objects.order_by("username")


STORING = {
    "aset": lambda cache, value: cache.aset("key", value),
    "aadd": lambda cache, value: cache.aadd("key", value),
    "aset_many": lambda cache, value: cache.aset_many({"key": value}),
    "aget_or_set": lambda cache, value: cache.aget_or_set("key", lambda: value),
}


@pytest.mark.parametrize("storing", STORING.values(), ids=STORING)
def test_a_queryset_that_was_not_evaluated_is_stored_from_a_coroutine(caches, users, storing):
    cache = caches["default"]
    asyncio.run(storing(cache, users.all()))
    assert [user.username for user in cache.get("key")] == ["ada"]


def test_a_deferred_model_is_stored_from_a_coroutine(caches, users):
    class Lazy:
        """Pickled as the name of a user whom the database has to be asked for."""

        def __reduce__(self):
            return str, (User.objects.only("id").get().username,)

    asyncio.run(caches["default"].aset("key", Lazy()))
    assert caches["default"].get("key") == "ada"


def test_a_value_that_can_be_stored_in_the_coroutine_is(caches, monkeypatch):
    def refused(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr("django_hacache.worker.calls.sync_to_async", refused)
    asyncio.run(caches["default"].aset("key", [1]))
    assert asyncio.run(caches["default"].aadd("other", [1]))
