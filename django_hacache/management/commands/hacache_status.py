"""`manage.py hacache_status`: the cluster as this host's node sees it, for people and for monitoring."""

from __future__ import annotations

import json
import math
import sys
from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_hacache.exceptions import ConfigurationError
from django_hacache.status import (
    Bound,
    HostStatus,
    Mode,
    Status,
    Transfer,
    locations,
    read_status,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

QUORUM, NO_QUORUM, NO_NODE = 0, 1, 2
BYTES_PER_KIB = 1024


class Command(BaseCommand):
    help = (
        "Shows the cluster as this host's node sees it. Exit code: 0 with a quorum (and in standalone mode), "
        "1 without one, 2 when no node answers, or the replica is not there or cannot be used or read."
    )
    # People run this command when something is wrong: it must not stop at the checks that say so.
    requires_system_checks: list[str] = []  # noqa: RUF012  # Django's own declaration

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON for programs")
        parser.add_argument("--location", type=Path, help="the replica's directory (default: from CACHES)")
        parser.add_argument(
            "--timeout", type=_seconds, default=2.0, help="seconds for the node, more than 0 (default: 2)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            location = options["location"] or only_location()
            status = read_status(location.absolute(), timeout_s=options["timeout"])
        except ConfigurationError as error:
            raise CommandError(str(error), returncode=NO_NODE) from error
        self.stdout.write(json.dumps(status.as_json(), indent=2) if options["json"] else as_text(status))
        if code := exit_code(status):
            sys.exit(code)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise ArgumentTypeError(f"{text} seconds: expected more than 0")
    return seconds


def only_location() -> Path:
    found = locations()
    if not found:
        raise CommandError("CACHES has no alias with django_hacache.cache.HACache.", returncode=NO_NODE)
    if len(found) > 1:
        listed = ", ".join(str(location) for location in found)
        raise CommandError(
            f"CACHES names several directories, choose with --location: {listed}", returncode=NO_NODE
        )
    return found[0]


def exit_code(status: Status) -> int:
    if status.error or status.reads:
        return NO_NODE
    return NO_QUORUM if status.quorum is False else QUORUM


def as_text(status: Status) -> str:
    """Return the status laid out for a terminal."""
    if not status.stored:
        return f"Nothing is stored yet.\n{status.error}\nIf the site runs: does it have this LOCATION, and this user?"
    if status.error and status.mode is Mode.STANDALONE:
        return f"The cache cannot be used.\n{status.error}"
    if status.error:
        reads = f"\n{status.reads}" if status.reads else ""
        return f"No node answers.\n{status.error}{reads}\nStart it on this host: manage.py hacache_node"
    parts = []
    if status.mode is Mode.STANDALONE:
        parts.append(f"Standalone: no cluster, the processes of this machine share {status.location}")
    else:
        if status.reads:
            parts.append(f"All reads of such a process as this one are misses, or refused.\n{status.reads}")
        parts += [summary(status), hosts_table(status.hosts)]
        parts += [other.sentence for other in status.other_hosts]
        parts += [other.sentence for other in status.other_limits]
        parts += [transfer_line(addr, transfer) for addr, transfer in status.transfers]
        parts += [skipped_line(host) for host in status.hosts if host.skipped_effects]
        parts += [guesses_line(host) for host in status.hosts if host.wrong_tokens]
        if status.bounds:
            parts.append(bounds_table(status.bounds))
    rows = [(cache.name, f"{cache.entries}", size(cache.bytes)) for cache in status.caches]
    parts.append(table(("CACHE", "ENTRIES", "SIZE"), rows, right=(1, 2)))
    return "\n\n".join(parts)


def summary(status: Status) -> str:
    connected = sum(host.connected for host in status.hosts)
    leader = "none"
    if status.leader is not None:
        leader = status.leader.addr + ("" if status.leader.connected else " (not connected)")
    quorum = "quorum" if status.quorum else "no quorum"
    return (
        f"Health  {status.health}: {connected} of {len(status.hosts)} hosts connected, {quorum}\n"
        f"Leader  {leader}, term {status.term}\n"
        f"Asked   {status.addr}"
    )


def hosts_table(hosts: Sequence[HostStatus]) -> str:
    header = ("HOST", "ROLE", "LINK", "READS", "COMMIT", "APPLIED", "ENTRIES", "UP")
    return table(header, [host_row(host) for host in hosts], right=(4, 5, 6, 7))


def host_row(host: HostStatus) -> tuple[str, ...]:
    if not host.connected:
        role = "no node (base protocol)" if host.is_base else "-"
        return (host.addr, role, "down", "-", "-", "-", "-", "-")
    return (
        host.addr,
        host.role + (" (fresh)" if host.fresh else ""),
        "up",
        "served" if host.lease_ms else "misses",
        str(host.commit_index),
        str(host.applied_index),
        str(host.entries),
        host.uptime,
    )


def transfer_line(addr: str, transfer: Transfer) -> str:
    way = f"{transfer.peer} to {addr}" if transfer.incoming else f"{addr} to {transfer.peer}"
    return f"Snapshot from {way}: {transfer.percent} %, {size(transfer.bytes_per_second)}/s"


def skipped_line(host: HostStatus) -> str:
    return (
        f"{host.addr} has skipped {host.skipped_effects} changes of the log that no host can carry out: its log "
        "says which, please report it"
    )


def guesses_line(host: HostStatus) -> str:
    return f"{host.addr} has met {host.wrong_tokens} wrong tokens since it started: its log says from where they came"


def bounds_table(bounds: Sequence[Bound]) -> str:
    """Return a table of what this host keeps within limits."""
    shown = [size if bound.in_bytes else str for bound in bounds]
    rows = [
        (bound.words, show(bound.used), show(bound.limit)) for bound, show in zip(bounds, shown, strict=True)
    ]
    return table(("BOUND", "USED", "LIMIT"), rows, right=(1, 2))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int]) -> str:
    """Return the rows in aligned columns; the columns with the numbers in `right` to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [header, *rows]
    )


def size(count: float) -> str:
    """Return a number of bytes in the unit that fits."""
    for unit in ("B", "KiB", "MiB"):
        if count < BYTES_PER_KIB:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= BYTES_PER_KIB
    return f"{count:.1f} GiB"
