"""`manage.py hacache_status`: what it prints and how it exits."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.core.management import CommandError, call_command

from django_hacache.changes.codec import outcome_of
from django_hacache.exceptions import RequestRefused
from django_hacache.replica import opening
from django_hacache.replica.clock import boottime_ns
from django_hacache.replica.control import ControlPage
from django_hacache.replica.replica import Replica
from django_hacache.wire import cache_pb2 as pb
from django_hacache.worker import process
from tests.node_process import NodeProcess, cluster_settings
from tests.status.answering import answering, degraded


def run(*arguments: str) -> tuple[int, str]:
    """Run the command; its exit code and what it printed."""
    out = io.StringIO()
    try:
        call_command("hacache_status", "--timeout", "0.5", *arguments, stdout=out)
    except SystemExit as error:
        assert isinstance(error.code, int)
        return error.code, out.getvalue()
    return 0, out.getvalue()


def test_a_cluster_with_a_quorum_exits_with_0(cluster: Path) -> None:
    with answering(cluster, pb.Ack(status_ack=degraded())):
        code, _ = run()
    assert code == 0


def test_a_cluster_without_a_quorum_exits_with_1(cluster: Path) -> None:
    with answering(cluster, pb.Ack(status_ack=pb.StatusAck(addr="10.0.0.11:7001", health="bad"))):
        code, text = run()
    assert code == 1
    assert "no quorum" in text
    assert "Leader  none" in text


def test_no_node_exits_with_2_and_says_what_to_do(cluster: Path) -> None:
    code, text = run()
    assert code == 2
    assert str(cluster / "node.sock") in text
    assert "manage.py hacache_node" in text


def test_json_of_no_node_has_the_error_and_nothing_made_up(cluster: Path) -> None:
    code, text = run("--json")
    answer = json.loads(text)
    assert code == 2
    assert "node.sock" in answer["error"]
    assert (answer["health"], answer["quorum"], answer["leader"], answer["hosts"]) == (None, None, None, [])


def test_nodes_with_another_list_of_hosts_are_named(cluster: Path) -> None:
    ack = degraded()
    ack.other_hosts.add(addr="10.0.0.12:7001", hosts=["10.0.0.11:7001", "10.0.0.12:7001"])
    with answering(cluster, pb.Ack(status_ack=ack)):
        _, text = run()
        _, as_json = run("--json")
    assert (
        "10.0.0.12:7001 takes no part: its HA_HOSTS is another list, 10.0.0.11:7001, 10.0.0.12:7001" in text
    )
    other = {"addr": "10.0.0.12:7001", "hosts": ["10.0.0.11:7001", "10.0.0.12:7001"], "version": None}
    assert json.loads(as_json)["other_hosts"] == [other]


def test_nodes_of_another_release_are_named(cluster: Path) -> None:
    ack = degraded()
    ack.other_hosts.add(addr="10.0.0.12:7001", version=1)
    with answering(cluster, pb.Ack(status_ack=ack)):
        _, text = run()
        _, as_json = run("--json")
    assert "10.0.0.12:7001 takes no part: it is of another release of django_hacache (protocol 1)" in text
    assert json.loads(as_json)["other_hosts"] == [{"addr": "10.0.0.12:7001", "hosts": [], "version": 1}]


def test_limits_that_differ_between_hosts_are_named(cluster: Path) -> None:
    ack = degraded()
    ack.other_limits.add(addr="10.0.0.12:7001", cache_name="default", limit="MAX_ENTRIES", here=300)
    with answering(cluster, pb.Ack(status_ack=ack)):
        _, text = run()
        _, as_json = run("--json")
    assert "10.0.0.12:7001 has another MAX_ENTRIES for the cache 'default': none, and this host 300" in text
    (other,) = json.loads(as_json)["other_limits"]
    assert other == {
        "addr": "10.0.0.12:7001",
        "cache": "default",
        "limit": "MAX_ENTRIES",
        "there": None,
        "here": 300,
    }


def test_an_error_from_the_node_is_passed_on(cluster: Path) -> None:
    with answering(cluster, pb.Ack(error=pb.Error(error="not while it starts"))):
        code, text = run()
    assert code == 2
    assert "not while it starts" in text


def test_json_has_the_documented_keys(cluster: Path) -> None:
    with answering(cluster, pb.Ack(status_ack=degraded())):
        _, text = run("--json")
    answer = json.loads(text)
    assert answer["mode"] == "cluster"
    assert answer["health"] == "degraded"
    assert answer["quorum"] is True
    assert answer["term"] == 4
    assert answer["leader"] == {"addr": "10.0.0.12:7001", "election_ts": 1_790_000_000_000, "connected": True}
    assert answer["hosts"][0] == {
        "addr": "10.0.0.11:7001",
        "role": "follower",
        "connected": True,
        "commit_index": 120_345,
        "applied_index": 120_344,
        "uptime_secs": 95_000,
        "entries": 10_300,
        "lease_ms": 870,
        "fresh": False,
        "bounds": [
            {"name": "log_bytes", "used": 1 << 20, "limit": 64 << 20},
            {"name": "recent_requests", "used": 17, "limit": 32_768},
        ],
        "transfers": [],
        "lanes": [],
        "skipped_effects": 0,
        "lost_writes": 0,
        "wrong_tokens": 0,
        "longest_turn_ms": 0,
    }
    assert answer["hosts"][1]["transfers"] == [
        {
            "peer": "10.0.0.13:7001",
            "incoming": False,
            "bytes": 250_000_000,
            "entries": 25,
            "total_entries": 100,
            "elapsed_ms": 2000,
        }
    ]
    assert answer["caches"][1] == {"name": "sessions", "entries": 300, "bytes": 81_920}


def test_the_table_is_aligned_and_fits_80_columns(cluster: Path) -> None:
    with answering(cluster, pb.Ack(status_ack=degraded())):
        _, text = run()
    assert text.splitlines() == [
        "Health  degraded: 2 of 3 hosts connected, quorum",
        "Leader  10.0.0.12:7001, term 4",
        "Asked   10.0.0.11:7001",
        "",
        "HOST            ROLE            LINK  READS   COMMIT  APPLIED  ENTRIES     UP",
        "10.0.0.11:7001  follower        up    served  120345   120344    10300  1d 2h",
        "10.0.0.12:7001  leader (fresh)  up    misses       0        0        0  1h 7m",
        "10.0.0.13:7001  -               down  -            -        -        -      -",
        "",
        "Snapshot from 10.0.0.12:7001 to 10.0.0.13:7001: 25 %, 119.2 MiB/s",
        "",
        "BOUND               USED     LIMIT",
        "log bytes        1.0 MiB  64.0 MiB",
        "recent requests       17     32768",
        "",
        "CACHE     ENTRIES      SIZE",
        "default     10000  11.8 MiB",
        "sessions      300  80.0 KiB",
    ]
    assert max(len(line) for line in text.splitlines()) <= 80


def test_standalone_shows_the_caches_of_this_machine_and_exits_with_0(standalone: Path) -> None:
    cache.set("a", 1)
    code, text = run()
    assert code == 0
    assert "Standalone" in text
    assert str(standalone) in text
    assert "default        1" in text


def test_json_of_standalone_has_its_mode_and_no_cluster(standalone: Path) -> None:
    cache.set_many({"a": 1, "b": 2})
    code, text = run("--json")
    answer = json.loads(text)
    assert code == 0
    assert answer["mode"] == "standalone"
    assert (answer["health"], answer["quorum"], answer["leader"], answer["hosts"]) == (None, None, None, [])
    assert [(entry["name"], entry["entries"]) for entry in answer["caches"]] == [("default", 2)]


def test_standalone_without_a_replica_exits_with_2_names_the_path_and_makes_nothing(standalone: Path) -> None:
    missing = standalone / "mistyped"
    standalone.chmod(0o755)
    for location in (missing, standalone):
        code, text = run("--location", str(location))
        assert code == 2
        assert f"no replica in {location}" in text
    assert list(standalone.iterdir()) == []
    assert standalone.stat().st_mode & 0o777 == 0o755


def test_json_of_standalone_without_a_replica_says_that_nothing_is_stored(standalone: Path) -> None:
    code, text = run("--json")
    answer = json.loads(text)
    assert code == 2
    assert answer["stored"] is False
    assert str(standalone) in answer["error"]
    assert answer["caches"] == []


def test_several_directories_in_caches_need_a_choice(standalone: Path, settings: Any, tmp_path: Path) -> None:
    other = {"BACKEND": "django_hacache.cache.HACache", "LOCATION": str(tmp_path)}
    settings.CACHES = {**settings.CACHES, "other": other}
    with pytest.raises(CommandError, match=r"--location.*" + str(tmp_path)):
        run()
    caches["other"].set("a", 1)
    assert run("--location", str(tmp_path))[0] == 0


def test_wrong_settings_are_named(standalone: Path, settings: Any) -> None:
    settings.HACACHE = {"HA_MODE": "maybe"}
    with pytest.raises(CommandError, match="HA_MODE"):
        run()


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0s"), (59, "59s"), (61, "1m 1s"), (3_700, "1h 1m"), (90_000, "1d 1h")]
)
def test_an_uptime_is_said_in_its_two_largest_units(cluster: Path, seconds: int, said: str) -> None:
    host = pb.HostStatus(addr="10.0.0.11:7001", role="leader", connected=True, uptime_secs=seconds)
    with answering(cluster, pb.Ack(status_ack=pb.StatusAck(quorum=True, hosts=[host]))):
        _, text = run()
    assert text.splitlines()[5].endswith("  " + said)


def test_a_real_node_tells_of_itself_and_of_what_is_cached(location: Path, settings: Any) -> None:
    node = NodeProcess.start(location, "tests.settings")
    try:
        settings.HACACHE = cluster_settings(node.addr)
        process.forget()
        cache.set("a", 1)
        code, text = run("--json")
    finally:
        node.kill()
    answer = json.loads(text)
    assert code == 0
    assert (answer["health"], answer["quorum"], answer["leader"]["addr"]) == ("good", True, node.addr)
    (host,) = answer["hosts"]
    assert (host["addr"], host["role"], host["connected"], host["entries"]) == (node.addr, "leader", True, 1)
    assert host["lease_ms"] > 0
    bounds = {bound["name"]: bound for bound in host["bounds"]}
    assert bounds["recent_requests"] == {"name": "recent_requests", "used": 1, "limit": 32_768}
    assert 0 < bounds["log_bytes"]["used"] < bounds["log_bytes"]["limit"]
    assert 0 < bounds["recent_requests_bytes"]["used"] < bounds["recent_requests_bytes"]["limit"] == 16 << 20
    assert {"pending_changes", "pending_bytes", "outgoing_bytes", "unread_answers_bytes"} < set(bounds)
    assert {"unfinished_messages_bytes"} < set(bounds)
    assert [(entry["name"], entry["entries"]) for entry in answer["caches"]] == [("default", 1)]


def test_a_replica_that_cannot_be_used_in_standalone_mode_is_said_and_exits_with_2(
    settings: Any, tmp_path: Path
) -> None:
    location = tmp_path / "open to all"
    location.mkdir()
    location.chmod(0o777)
    settings.CACHES = {
        "default": {"BACKEND": "django_hacache.cache.HACache", "LOCATION": str(location)},
    }
    code, text = run()
    assert code == 2
    assert "writable by other users" in text
    assert "No node answers" not in text


def test_what_makes_all_reads_misses_is_told_beside_a_healthy_cluster(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Replica.open(cluster, writable=True, map_size=1 << 24).close()
    ControlPage.create(cluster).grant(boottime_ns() + 60 * 10**9)
    monkeypatch.setattr(opening, "pid_namespace", lambda: "elsewhere")
    with answering(cluster, pb.Ack(status_ack=degraded())):
        code, text = run()
        as_json = json.loads(run("--json")[1])
    assert code == 2
    assert "All reads of such a process as this one are misses, or refused.\n" in text
    assert 'pid: "service:NAME"' in text
    assert "another PID namespace" in as_json["reads"]
    assert as_json["health"] == "degraded"


EVIL = "\x1b[2J\x1b]0;owned\x07\r\nAll is well\u202e"


def evil(message: Any) -> None:
    """Put it into every text of a message."""
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.type == field.TYPE_STRING:
            if field.is_repeated:
                value.append(EVIL)
            else:
                setattr(message, field.name, EVIL)
        elif field.type == field.TYPE_MESSAGE:
            evil(value.add() if field.is_repeated else value)
        elif field.name == "connected":
            setattr(message, field.name, True)


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_nothing_that_hosts_say_of_themselves_reaches_the_terminal_as_it_is(
    cluster: Path, arguments: tuple[str, ...]
) -> None:
    ack = pb.StatusAck()
    evil(ack)
    with answering(cluster, pb.Ack(status_ack=ack)):
        _, text = run(*arguments)
    assert all(line.isprintable() for line in text.splitlines())
    assert "\r" not in text
    assert "All is well" not in [line.strip() for line in text.splitlines()]


def test_nor_does_a_refusal(cluster: Path) -> None:
    with answering(cluster, pb.Ack(error=pb.Error(error=EVIL, code=pb.ERROR_INVALID))):
        _, text = run()
    assert all(line.isprintable() for line in text.splitlines())
    with pytest.raises(RequestRefused) as refused:
        outcome_of(pb.Ack(error=pb.Error(error=EVIL, code=pb.ERROR_INVALID)))
    assert str(refused.value).isprintable()
