"""What is sent next of a replica, and what is taken: the rules by themselves."""

from __future__ import annotations

from django_hacache.consensus.hard_state import Installing
from django_hacache.consensus.transfer import Next, Outgoing, Part
from django_hacache.consensus.window import QUEUEING_MS, Window


def test_a_part_is_taken_that_is_the_next_one_and_not_from_before_what_is_there():
    installing = Installing(b"k", 10)
    assert Part(b"k", b"p", 10).follows(installing)
    assert Part(b"k", b"p", 15, last=True).follows(installing)
    assert not Part(b"k", b"p", 9).follows(installing)
    assert not Part(b"a", b"k", 11).follows(installing)
    assert not Part(b"l", b"p", 11).follows(installing)
    assert not Part(b"k", b"p", 11).follows(installing._replace(whole=True))


def test_a_window_grows_while_nothing_waits_and_shrinks_when_it_does():
    window = Window(100, 1000)
    for _ in range(30):
        window.acknowledged(100, 50)
    assert window.size == 1000
    for _ in range(30):
        window.acknowledged(100, 51 + QUEUEING_MS)
    assert window.size == 100


def test_a_sender_asks_first_and_ends_with_the_peers_word():
    outgoing = Outgoing(0, window=(100, 1000))
    assert outgoing.next(0) is Next.ASK
    question = outgoing.asked(0)
    assert outgoing.next(10) is Next.WAIT
    outgoing.acknowledged(question, Installing(b"k", 5), 10, refused=False)
    assert (outgoing.next(10), outgoing.position) == (Next.READ, b"k")
    number = outgoing.sent(100, 10)
    outgoing.part_sent(Part(b"k", b"z", 7, last=True))
    assert outgoing.next(10) is Next.WAIT
    outgoing.acknowledged(number, Installing(b"z", 7, whole=True), 20, refused=False)
    while outgoing.next(2000) is Next.ASK:
        outgoing.asked(2000)
    outgoing.acknowledged(number + 1, None, 2000, refused=False)
    assert outgoing.next(2000) is Next.END
    assert outgoing.complete


def test_a_sender_whose_peer_began_anew_goes_on_from_elsewhere():
    outgoing = Outgoing(0, window=(100, 1000))
    outgoing.acknowledged(outgoing.asked(0), Installing(b"k", 5), 10, refused=False)
    outgoing.part_sent(Part(b"k", b"z", 7, last=True))
    outgoing.acknowledged(outgoing.asked(10), Installing(b"", 50), 20, refused=False)
    assert outgoing.next(20) is Next.END
    assert not outgoing.complete


def test_slow_is_no_reason_to_give_a_transfer_up_and_silence_is():
    outgoing = Outgoing(0, window=(100, 1000), silence_ms=30_000)
    outgoing.acknowledged(outgoing.asked(0), Installing(b"", 5), 10, refused=False)
    now = 10
    for _ in range(100):
        number = outgoing.sent(100, now)
        now += 29_000
        assert outgoing.next(now) is not Next.END
        outgoing.acknowledged(number, Installing(b"", 5), now, refused=False)
    outgoing.sent(100, now)
    assert outgoing.next(now + 30_000) is Next.END
