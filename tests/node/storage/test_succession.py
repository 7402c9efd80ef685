"""A node that starts with another HA_HOSTS than its directory is from."""

from __future__ import annotations

import pytest

from django_hacache.exceptions import ConfigurationError, ReplicaError
from django_hacache.node.storage.succession import Succession

FIVE = ("a:1", "b:1", "c:1", "d:1", "e:1")


def lives(open_replica, *lists):
    """In each start after the other the node hears of a leader."""
    for hosts in lists:
        succession = Succession(open_replica(), hosts)
        succession.ensure_may_go_on()
        succession.note()


def test_two_hosts_fewer_at_once_are_refused_by_name(open_replica):
    lives(open_replica, FIVE)
    with pytest.raises(ConfigurationError, match="d:1, e:1 are gone at once") as refused:
        lives(open_replica, FIVE[:3])
    assert "location removed on every host" in str(refused.value)
    lives(open_replica, FIVE)


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
    lives(open_replica, *lists)


def test_a_list_by_which_nobody_ever_led_may_be_taken_back(open_replica):
    lives(open_replica, FIVE[:3])
    Succession(open_replica(), FIVE).ensure_may_go_on()
    lives(open_replica, FIVE[:3])


def test_a_full_directory_does_not_keep_the_node_from_going_on(replica, monkeypatch, caplog):
    def full(_):
        raise ReplicaError("no room")

    monkeypatch.setattr(type(replica), "write", full)
    Succession(replica, FIVE).note()
    assert "no room" in caplog.text
