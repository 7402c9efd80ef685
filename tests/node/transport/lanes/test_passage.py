"""How far an Append has come: slow, stuck, or sent again and again."""

from __future__ import annotations

from django_hacache.node.transport.lanes.passage import Passage

PLACE, NEXT = (3, 7), (3, 9)


def test_an_append_moves_while_more_of_it_is_taken():
    passage = Passage()
    passage.begins(PLACE, 100, 600)
    assert [passage.moves(taken) for taken in (90, 100, 150, 150, 600)] == [False, False, True, False, True]
    assert passage.place == PLACE
    assert passage.goes_on(599)
    assert not passage.goes_on(600)


def test_what_is_written_after_it_does_not_make_it_move():
    """Heartbeats share the connection."""
    passage = Passage()
    passage.begins(PLACE, 0, 500)
    assert passage.moves(500)
    assert not passage.moves(5000)


def test_what_is_sent_again_from_the_start_moves_once_it_is_further_than_before():
    """One that the other side refuses each time it has come must not count as moving for ever."""
    passage = Passage()
    passage.begins(PLACE, 0, 500)
    assert passage.moves(400)
    passage.lost()
    assert not passage.goes_on(0)
    passage.begins(PLACE, 20, 520)
    assert [passage.moves(taken) for taken in (120, 420, 421)] == [False, False, True]
    passage.lost()
    passage.begins(NEXT, 20, 520)
    assert passage.moves(30)
