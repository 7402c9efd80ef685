"""What was opened for settings or directories that are no more is closed, and whoever still uses it goes on."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
from django.core.cache import caches

from django_hacache.cache import HACache
from django_hacache.replica.control import ControlPage
from django_hacache.worker import process
from tests.cache.site import BACKEND
from tests.cache.test_processes import FORKS, in_child
from tests.node_process import TOKEN


@pytest.fixture
def at(settings, tmp_path):
    """The default cache of settings with a LOCATION of their own."""

    def at(name, ha_mode="false"):
        settings.HACACHE = {
            "HA_MODE": ha_mode,
            "HA_HOSTS": "http://127.0.0.1:1",
            "HOSTNAME_OVERWRITE": "127.0.0.1:1",
            "CACHE_TLS": "false",
            "CACHE_AUTH_TOKEN": TOKEN,
        }
        settings.CACHES = {"default": {"BACKEND": BACKEND, "LOCATION": str(tmp_path / name)}}
        return caches["default"]

    yield at
    process.close()


def opened_in(directory) -> list[str]:
    """The descriptors of this process that are open in a directory."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(descriptor.readlink()))
        except FileNotFoundError:  # the one of the listing itself
            continue
    return [path for path in found if Path(path).is_relative_to(directory)]


def test_a_suite_with_a_location_for_each_test_keeps_no_more_than_one_open(at, tmp_path):
    most = 0
    for number in range(20):
        at(f"of test {number}").set("k", number)
        most = max(most, len(opened_in(tmp_path)))
    assert 0 < len(opened_in(tmp_path / "of test 19")) == len(opened_in(tmp_path)) == most
    for number in range(20):
        assert at(f"of test {number}").get("k") == number


def test_readers_of_a_cluster_s_former_locations_are_closed(at, tmp_path):
    at("one").set("k", 1)
    process.close()
    ControlPage.create(tmp_path / "one")
    at("one", "true").get("k")
    assert opened_in(tmp_path / "one")
    at("two", "true").get("k")
    assert opened_in(tmp_path / "one") == []


def test_a_directory_that_is_gone_is_closed(at, tmp_path):
    at("one").set("k", 1)
    shutil.rmtree(tmp_path / "one")
    HACache(str(tmp_path / "two"), {}).set("k", 1)
    assert opened_in(tmp_path / "one") == []


def test_a_cache_object_of_former_settings_goes_on(at):
    former = at("one")
    former.set("k", 1)
    at("two").set("k", 2)
    assert former.get("k") == 1
    former.set("k", 3)
    assert at("one").get("k") == 3


def test_a_thread_that_reads_while_the_settings_change_goes_on(at):
    former, failures, over = at("one"), [], threading.Event()
    former.set("k", 1)

    def read():
        while not over.is_set():
            try:
                assert former.get("k") == 1
            except Exception as error:  # noqa: BLE001 - shown below
                failures.append(error)
                return

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(30):
        at(f"of test {number}").set("k", number)
    over.set()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("fork", FORKS, ids=["os.fork", "fork of a server"])
def test_a_child_that_changes_the_settings_takes_nothing_from_its_parent(at, fork):
    cache = at("one")
    cache.set("k", 1)

    def child():
        at("two").set("k", 2)
        return 0 if at("one").get("k") == 1 else 1

    assert in_child(child, fork) == 0
    assert cache.get("k") == 1
    cache.set("k", 3)
    assert cache.get("k") == 3
