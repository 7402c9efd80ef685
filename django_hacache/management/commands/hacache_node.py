"""`manage.py hacache_node`: runs the node of this host until a signal ends it."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from django_hacache.conf.cluster import node_config
from django_hacache.conf.location import default_location, parse_location
from django_hacache.conf.options import ensure_fit_for_cluster, node_caches, read_aliases
from django_hacache.conf.problems import Findings
from django_hacache.conf.redaction import shown
from django_hacache.exceptions import ConfigurationError, HACacheError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from django.core.management.base import CommandParser

    from django_hacache.conf import CacheOptions


class Command(BaseCommand):
    help = "Run the node of this host: it replicates the cache with the nodes of the other hosts."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own declaration

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--addr",
            metavar="HOST:PORT",
            help="who this node is among HA_HOSTS (default: found by host name)",
        )
        parser.add_argument(
            "--location", metavar="DIR", help="the directory of the replica (default: LOCATION of CACHES)"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        # Before anything is opened or can be asked for.
        from django_hacache.node.process import descriptors, renewal  # noqa: PLC0415 - only it knows the node

        descriptors.fill_standard()
        hangups = renewal.Hangups()
        _log_to_stderr(int(options["verbosity"]))
        try:
            config = node_config(options["addr"])
            location, caches = _what_to_serve(options["location"])
            ensure_fit_for_cluster(caches.values())
            # Imported here: this is the only command that may load gRPC.
            from django_hacache.node.transport.authentication import refused_handshakes  # noqa: PLC0415

            # gRPC logs each broken connection each time; the node logs it once.
            refused_handshakes.overhear() if config.tls else refused_handshakes.silence()
            from django_hacache.node.process.lifecycle import run  # noqa: PLC0415

            code = run(config, location, caches, lambda: node_config(options["addr"]), hangups)
        except HACacheError as error:
            raise CommandError(str(error)) from error
        finally:
            hangups.end()
        if code:
            sys.exit(code)


def _what_to_serve(given: str | None) -> tuple[Path, Mapping[str, CacheOptions]]:
    """Return the directory and its caches by name: those whose LOCATION it is, or all where --location moves them."""
    findings = Findings()
    aliases = read_aliases(findings)
    findings.raise_errors()
    if not aliases:
        raise ConfigurationError("CACHES has no alias with the backend django_hacache.cache.HACache")
    if given is not None:
        try:
            location = parse_location(given)
        except ValueError as expected:
            raise ConfigurationError(
                f"The location is {shown(given)}, from --location: expected {expected}."
            ) from None
        return location, node_caches(location) or {options.name: options for options in aliases.values()}
    locations = {options.location for options in aliases.values()}
    if len(locations) > 1:
        listed = ", ".join(str(location) for location in sorted(locations))
        raise ConfigurationError(f"The caches have several locations ({listed}): name one with --location.")
    location = locations.pop() if locations else default_location()
    return location, node_caches(location)


def _log_to_stderr(verbosity: int) -> None:
    """Log as the project configured it: at its level, or INFO where it set none; without a handler to standard error.

    With -v 2 at level DEBUG, whatever the project says.
    """
    logger = logging.getLogger("django_hacache")
    if verbosity > 1:
        logger.setLevel(logging.DEBUG)
    elif logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
