from __future__ import annotations

import shutil
import stat

from django_hacache.replica import control
from django_hacache.replica.clock import boottime_ns
from django_hacache.replica.control import ControlPage

HOUR = 3600 * 10**9


def pages(directory):
    node = ControlPage.create(directory)
    return node, ControlPage.open(directory)


def test_there_is_no_page_before_a_node_has_made_one(directory):
    assert ControlPage.open(directory) is None


def test_a_new_page_grants_nothing(directory):
    _, worker = pages(directory)
    assert not worker.holds(worker.epoch)
    assert not worker.writable()


def test_a_granted_lease_holds_until_its_deadline(directory, monkeypatch):
    node, worker = pages(directory)
    deadline = boottime_ns() + HOUR
    node.grant(deadline)
    assert worker.holds(worker.epoch)
    assert worker.deadline_ns == deadline
    monkeypatch.setattr(control, "boottime_ns", lambda: deadline)
    assert not worker.holds(worker.epoch)


def test_a_revoked_lease_is_lost_also_for_a_read_that_is_under_way(directory):
    node, worker = pages(directory)
    node.grant(boottime_ns() + HOUR)
    epoch = worker.epoch
    node.revoke()
    assert not worker.holds(epoch)
    node.grant(boottime_ns() + HOUR)
    assert not worker.holds(epoch)
    assert worker.holds(worker.epoch)


def test_a_worker_frozen_between_value_and_check_does_not_use_a_later_lease(directory):
    node, worker = pages(directory)
    node.grant(boottime_ns() + 1)  # runs out at once
    epoch = worker.epoch
    node.grant(boottime_ns() + HOUR)
    assert not worker.holds(epoch)


def test_renewing_a_lease_that_holds_does_not_lose_reads(directory):
    node, worker = pages(directory)
    node.grant(boottime_ns() + HOUR)
    epoch = worker.epoch
    node.grant(boottime_ns() + 2 * HOUR)
    assert worker.holds(epoch)


def test_a_restarted_node_takes_the_page_over_and_ends_the_old_lease(directory):
    node, worker = pages(directory)
    node.grant(boottime_ns() + HOUR)
    node.set_writable_until(boottime_ns() + HOUR)
    epoch = worker.epoch
    again = ControlPage.create(directory)
    assert not worker.stale()
    assert not worker.holds(epoch)
    assert not worker.writable()
    again.grant(boottime_ns() + HOUR)
    assert worker.holds(worker.epoch)


def test_writable_lasts_until_its_deadline(directory):
    node, worker = pages(directory)
    node.set_writable_until(boottime_ns() + HOUR)
    assert worker.writable()
    node.set_writable_until(boottime_ns())
    assert not worker.writable()


def test_until_when_a_node_could_write_is_remembered(directory, monkeypatch):
    node, worker = pages(directory)
    now = boottime_ns()
    node.set_writable_until(now + HOUR)
    for later, change in enumerate(
        (node.note_unwritable, lambda: node.note_stopped(7), node.note_unwritable)
    ):
        monkeypatch.setattr(control, "boottime_ns", lambda later=later: now + later)
        change()
        assert not worker.writable()
        assert worker.writable_until_ns == now
    ControlPage.create(directory)
    assert worker.writable_until_ns == now


def test_a_node_is_expected_from_its_beginning_until_it_serves(directory, monkeypatch):
    node, worker = pages(directory)
    begun = boottime_ns()
    assert worker.expected()
    node.note_serving()
    # Where its socket is closed now, it has ended without a word.
    assert not worker.expected()
    ControlPage.create(directory)
    assert worker.expected()
    monkeypatch.setattr(control, "boottime_ns", lambda: begun + control.START_NS + HOUR)
    assert not worker.expected()


def test_a_node_that_was_stopped_is_expected_for_as_long_as_it_says(directory, monkeypatch):
    node, worker = pages(directory)
    node.set_writable_until(boottime_ns() + HOUR)
    node.note_serving()
    now = boottime_ns()
    monkeypatch.setattr(control, "boottime_ns", lambda: now)
    node.note_stopped(7)
    assert not worker.writable()
    monkeypatch.setattr(control, "boottime_ns", lambda: now + 6)
    assert worker.expected()
    monkeypatch.setattr(control, "boottime_ns", lambda: now + 7)
    assert not worker.expected()


def test_a_worker_sees_when_the_node_was_alive_and_nothing_of_the_one_before(directory):
    node, worker = pages(directory)
    assert worker.alive_at_ns == 0
    node.note_alive(7)
    assert worker.alive_at_ns == 7
    ControlPage.create(directory)
    assert worker.alive_at_ns == 0


def test_a_page_from_before_a_reboot_is_void(directory):
    node = ControlPage.create(directory, boot=b"b" * 16)
    node.grant(boottime_ns() + HOUR)
    assert ControlPage.open(directory) is None
    assert ControlPage.open(directory, boot=b"b" * 16) is not None


def test_a_page_is_stale_once_the_directory_was_wiped_or_made_again(directory):
    _, worker = pages(directory)
    assert not worker.stale()
    shutil.rmtree(directory)
    assert worker.stale()
    ControlPage.create(directory)
    assert worker.stale()


def test_a_file_that_is_no_control_page_is_no_page(directory):
    directory.mkdir(mode=0o700)
    (directory / "control").write_bytes(b"")
    assert ControlPage.open(directory) is None
    (directory / "control").write_bytes(b"\1" * 4096)
    assert ControlPage.open(directory) is None


def test_the_page_is_allocated_and_for_this_user_only(directory):
    ControlPage.create(directory)
    found = (directory / "control").stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_size == found.st_blocks * 512 == 4096


def test_a_worker_sees_what_its_host_has_applied_and_a_restarted_node_does_not_take_it_back(directory):
    node, worker = pages(directory)
    assert worker.since == (0, 0)
    node.note_applied(7, 5)
    ControlPage.create(directory)
    assert worker.since == (7, 5)


def test_an_index_of_the_generation_before_is_never_taken_for_one_of_this(directory, monkeypatch):
    """The worker looks between any two of the node's writes, and the node writes between any two of its looks."""
    node, worker = pages(directory)
    node.note_applied(39, 1)

    class Interleaved:
        """The words; when the given number of them have been read or written, the other side goes on."""

        def __init__(self, words, after, go_on):
            self.words, self.left, self.go_on = words, after, go_on

        def touched(self):
            self.left -= 1
            if self.left == 0:
                self.go_on()

        def __getitem__(self, at):
            value = self.words[at]
            self.touched()
            return value

        def __setitem__(self, at, value):
            self.words[at] = value
            self.touched()

    seen = []
    for after in (1, 2):
        node.note_applied(39, 1)
        with monkeypatch.context() as patch:
            patch.setattr(node, "_words", Interleaved(node._words, after, lambda: seen.append(worker.since)))
            node.note_applied(2, 2)
    for after in (1, 2, 3):
        node.note_applied(39, 1)
        with monkeypatch.context() as patch:
            patch.setattr(
                worker, "_words", Interleaved(worker._words, after, lambda: node.note_applied(2, 2))
            )
            seen.append(worker.since)
    assert set(seen) <= {(39, 1), (39, 0), (2, 1), (2, 0), (2, 2)}


def test_after_the_last_epoch_comes_another_one(directory):
    node, worker = pages(directory)
    node._words[control._EPOCH] = control.WORD_MAX
    seen = worker.epoch
    node.revoke()
    assert worker.epoch != seen
    assert ControlPage.create(directory).epoch != seen
