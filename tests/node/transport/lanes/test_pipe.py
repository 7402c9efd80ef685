"""What of a lane's bytes has arrived, as far as this host can know."""

from __future__ import annotations

from django_hacache.node.transport.lanes.pipe import _queued_by_kernel


class Lost:
    """A transport of TLS in the moment in which its connection is lost."""

    def get_extra_info(self, name):
        assert name == "socket"


def test_of_a_connection_that_was_just_lost_nothing_is_queued():
    assert _queued_by_kernel(Lost()) == 0
