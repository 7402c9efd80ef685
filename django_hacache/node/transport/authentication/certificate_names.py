"""The names in certificates: one rule for the stream and for the lane, that of gRPC, which nobody can change.

A name is carried as it is, in any case of letters, or by a pattern whose first label alone is "*". An address is
carried as that address. A certificate that names no host as a subject alternative name is known by its common name.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Names(NamedTuple):
    """Whom a certificate is for."""

    # Subject alternative names: of hosts, and addresses.
    hosts: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    common: str = ""

    def __str__(self) -> str:
        told = ", ".join((*self.hosts, *self.addresses)) or self.common or "nobody"
        return ascii(told)[1:-1][:200]

    def carry(self, name: str) -> bool:
        """Whether a server that shows this certificate may be called so."""
        known = self.hosts or ((self.common,) if self.common else ())
        return any(_matches(pattern, name) for pattern in known) or self._is_address(name)

    def speak_for(self, name: str) -> bool:
        """Whether who shows it is that member of the cluster. A common name says nothing of that: people have one."""
        return any(_matches(pattern, name) for pattern in self.hosts) or self._is_address(name)

    def _is_address(self, name: str) -> bool:
        address = _address(name)
        return address is not None and address in {_address(one) for one in self.addresses}


def of_peer(certificate: Mapping[str, Any]) -> Names:
    """From what the ssl module tells of a peer's certificate."""
    shown = certificate.get("subjectAltName", ())
    subject = dict(one for part in certificate.get("subject", ()) for one in part)
    return Names(
        tuple(value for kind, value in shown if kind == "DNS"),
        tuple(value for kind, value in shown if kind == "IP Address"),
        subject.get("commonName", ""),
    )


def of_context(shown: Mapping[str, Iterable[bytes]]) -> Names:
    """From what gRPC tells of a client: names of hosts and addresses, and not what is for a person or a resource."""
    common = _texts(shown, "x509_common_name")
    return Names(_texts(shown, "peer_dns"), _texts(shown, "peer_ip"), common[0] if common else "")


def _texts(shown: Mapping[str, Iterable[bytes]], kind: str) -> tuple[str, ...]:
    return tuple(value.decode(errors="replace") for value in shown.get(kind, ()))


def _matches(pattern: str, name: str) -> bool:
    pattern, name = (text.lower().removesuffix(".") for text in (pattern, name))
    if not pattern or not name or name.startswith("."):
        return False
    if not pattern.startswith("*."):
        return "*" not in pattern and pattern == name
    rest = pattern[1:]
    first, dot, after = name.partition(".")
    return bool(first and dot) and "*" not in rest and f".{after}" == rest


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
