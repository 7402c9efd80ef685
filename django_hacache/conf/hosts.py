"""The hosts of a cluster, as HA_HOSTS names them, and which of them a name means. Knows no Django."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django_hacache.conf.redaction import listed

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Host:
    """One host of the cluster, as HA_HOSTS names it."""

    scheme: str
    name: str
    port: int

    @property
    def addr(self) -> str:
        """ "host:port", with an IPv6 address in brackets."""
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"

    @property
    def url(self) -> str:
        """The same with its scheme: the form in which programs of the base schema know their hosts."""
        return f"{self.scheme}://{self.addr}"


def is_loopback(name: str) -> bool:
    """Whether only this machine reaches what listens on a host of that name."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def hosts_called(hostname: str, hosts: Sequence[Host]) -> list[Host]:
    """Return the hosts that a name means: "host:port" exactly; a bare name also as the start of a longer one."""
    hostname = hostname.lower()
    if ":" in hostname:
        return [host for host in hosts if host.addr == hostname]
    exact = [host for host in hosts if host.name == hostname]
    return exact or [
        host for host in hosts if host.name.startswith(f"{hostname}.") or hostname.startswith(f"{host.name}.")
    ]


def which_host(hostname: str, hosts: Sequence[Host], found: Sequence[Host]) -> str:
    """Return the sentence for a host name that means none of the hosts, or several of them (`found`)."""
    all_of_them = listed(host.addr for host in hosts) or "nothing"
    if found:
        several = ", ".join(host.addr for host in found)
        return (
            f"This machine's name {hostname!r} means several of HA_HOSTS ({several}): expected one. "
            "HOSTNAME_OVERWRITE (host:port) says which."
        )
    if ":" in hostname:
        return (
            f"HOSTNAME_OVERWRITE or --addr is {hostname!r}: expected exactly one of HA_HOSTS ({all_of_them})."
        )
    return (
        f"This machine's name {hostname!r} is none of HA_HOSTS ({all_of_them}): expected it there, or a "
        "HOSTNAME_OVERWRITE (host:port)."
    )
