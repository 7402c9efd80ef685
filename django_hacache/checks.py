"""Django's system checks: shows the problems of the configuration in `manage.py check`.

The rules are in conf/: see conf/rules.py. So a check and a start never disagree. What only a running node knows is
asked of it, where one runs on this host.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from django.core import checks

from django_hacache.conf.cluster import cluster_config
from django_hacache.conf.problems import Findings, Id, Problem
from django_hacache.conf.rules import find_problems
from django_hacache.exceptions import HACacheError
from django_hacache.link.address import SOCKET_NAME, reached
from django_hacache.system.interruption import ensure_own

if TYPE_CHECKING:
    from pathlib import Path

NODE_ANSWER_S = 2.0


def check_configuration(**_kwargs: Any) -> list[checks.CheckMessage]:
    """Return a message for every problem of settings.HACACHE, the environment and CACHES."""
    return _messages(find_problems())


def check_hosts(**_kwargs: Any) -> list[checks.CheckMessage]:
    """Return a message for each host that this one's node has found to be no node, or to have other limits."""
    # Not at the top: a process that runs checks need not load what reads a cache.
    from django_hacache.status import locations, read_status  # noqa: PLC0415

    findings = Findings()
    try:
        clustered = cluster_config().ha_mode
        served = [location for location in locations() if clustered and _is_served(location)]
        statuses = [read_status(location, timeout_s=NODE_ANSWER_S) for location in served]
    except HACacheError as error:
        ensure_own(error)
        return []  # the configuration is wrong: check_configuration says how
    for host in (host for status in statuses for host in status.hosts if host.is_base):
        findings.add(
            Id.BASE_PEER,
            f"HA_HOSTS has {host.addr}, and what answers there speaks the base protocol only: expected a node. It has "
            "no vote and stores nothing, so the cluster survives one loss less.",
            "Such a program is a client: take it out of the HA_HOSTS of the nodes.",
        )
    for other in (other for status in statuses for other in status.other_limits):
        findings.add(
            Id.OTHER_LIMITS,
            f"{other.sentence}.",
            f"Give all hosts the same {other.limit}. While a release goes from host to host, nothing is wrong.",
        )
    return _messages(findings.problems)


def _is_served(location: Path) -> bool:
    """Whether a node listens at the location now; a check does not wait for one that may be about to start."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            with reached(location / SOCKET_NAME) as address:
                probe.connect(address)
        except OSError as error:
            ensure_own(error)
            return False
    return True


def _messages(found: list[Problem]) -> list[checks.CheckMessage]:
    return [
        checks.CheckMessage(problem.level, problem.message, hint=problem.hint, id=problem.id)
        for problem in found
    ]
