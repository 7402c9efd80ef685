"""What a node tells of the cluster's health."""

from __future__ import annotations

import pytest

from django_hacache.node.report import health_of
from django_hacache.wire import cache_pb2 as pb

WELL = {"connected": True, "fresh": False, "incomplete": False}


@pytest.mark.parametrize(
    ("quorum", "third", "health"),
    [
        (True, {}, "good"),
        (True, {"connected": False}, "degraded"),
        (True, {"fresh": True}, "degraded"),
        # It is a member, and serves nothing until it has the leader's replica.
        (True, {"incomplete": True}, "degraded"),
        (False, {}, "bad"),
    ],
)
def test_health_is_good_when_every_host_is_connected_and_has_its_state(quorum, third, health):
    hosts = [pb.HostStatus(**WELL), pb.HostStatus(**WELL), pb.HostStatus(**{**WELL, **third})]
    assert health_of(pb.StatusAck(quorum=quorum, hosts=hosts)) == health
