"""A node that starts with another HA_HOSTS than its directory is from."""

from __future__ import annotations

import pytest

from django_hacache.exceptions import ConfigurationError, ReplicaError
from django_hacache.node.succession import ensure_may_go_on

FIVE = ("a:1", "b:1", "c:1", "d:1", "e:1")


def starts(open_replica, *lists, holds_nothing=False):
    for hosts in lists:
        ensure_may_go_on(open_replica(), hosts, holds_nothing=holds_nothing)


def test_two_hosts_fewer_at_once_are_refused_by_name(open_replica):
    starts(open_replica, FIVE)
    with pytest.raises(ConfigurationError, match="d:1, e:1 are gone at once") as refused:
        starts(open_replica, FIVE[:3])
    assert "location removed on every host" in str(refused.value)
    # And again at the next start: nothing of the new list was noted.
    with pytest.raises(ConfigurationError):
        starts(open_replica, FIVE[:3])
    starts(open_replica, FIVE)


@pytest.mark.parametrize(
    "lists",
    [
        (FIVE[:3], FIVE),
        (FIVE, FIVE[:4], FIVE[:3]),
        (FIVE, (*FIVE[:3], "f:1", "g:1")),
        (FIVE, FIVE[::-1]),
        (FIVE[:1], FIVE),
    ],
    ids=["three to five", "five to four to three", "two of five replaced", "another order", "one to five"],
)
def test_a_list_whose_majorities_meet_those_of_before_goes_on(open_replica, lists):
    starts(open_replica, *lists)


def test_a_fresh_node_may_have_any_list(open_replica):
    starts(open_replica, FIVE, FIVE[:3], holds_nothing=True)


def test_a_full_directory_does_not_keep_the_node_from_starting(replica, monkeypatch, caplog):
    def full(**_):
        raise ReplicaError("no room")

    monkeypatch.setattr(type(replica), "write", lambda self: full())
    ensure_may_go_on(replica, FIVE, holds_nothing=True)
    assert "no room" in caplog.text
