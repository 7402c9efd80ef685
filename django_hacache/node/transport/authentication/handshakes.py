"""Says why a TLS handshake failed, in words that tell an operator what to mend.

gRPC tells the opener of a stream little of that. So the opener connects once more by itself, with the same
certificates, and learns the reason. What gRPC's server refuses is heard in refused_handshakes.py. Knows no messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

from django_hacache.node.transport.authentication import certificate_names

if TYPE_CHECKING:
    from django_hacache.conf import Host
    from django_hacache.node.transport.authentication.tls import Secured

CONNECT_S = 2.0
# How long after its handshake a server may say that it does not like the client's certificate.
VERDICT_S = 0.5

# Messages of a handshake cross no more often than this.
ROUNDS = 4
SILENT = "it ended the connection after our TLS handshake: it refuses our client certificate, or demands one"

EXPIRED, NOT_YET, PURPOSE = 10, 9, 26
AUTHORITY = {2, 18, 19, 20, 21, 24}
# What is wrong with a certificate.
OF_CERTIFICATES = {
    EXPIRED: "has expired",
    NOT_YET: "is not valid yet, or a clock is wrong",
    PURPOSE: "is for another purpose (extended key usage: serverAuth, for a client clientAuth)",
    **dict.fromkeys(AUTHORITY, "is of another authority than the one configured"),
}
# How OpenSSL and those who took it over call that.
CALLED = {
    "certificate has expired": EXPIRED,
    "certificate is not yet valid": NOT_YET,
    "unsupported certificate purpose": PURPOSE,
    "unable to get issuer certificate": 2,
    "self signed certificate": 18,
    "self signed certificate in certificate chain": 19,
    "unable to get local issuer certificate": 20,
    "unable to verify the first certificate": 21,
    "invalid ca certificate": 24,
}
NO_TLS = "it does not speak TLS"
OLD_TLS = "it speaks no TLS later than 1.1"
REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate, and CACHE_TLS_CA_CLIENT demands one",
    **dict.fromkeys(
        ("HTTP_REQUEST", "WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"), NO_TLS
    ),
    **dict.fromkeys(("RECORD_LAYER_FAILURE", "BAD_RECORD_TYPE", "UNEXPECTED_MESSAGE", "BAD_LENGTH"), NO_TLS),
    **dict.fromkeys(("UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "INAPPROPRIATE_FALLBACK"), OLD_TLS),
    "TLSV1_ALERT_PROTOCOL_VERSION": "it refuses our version of TLS",
    # An alert where a message of a handshake was due: that is all that gRPC's server knows of it.
    "BAD_PACKET_LENGTH": "it ended the TLS handshake; it may not trust our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says that our certificate has expired",
    "TLSV1_ALERT_UNKNOWN_CA": "it says that our certificate is of another authority than the one it knows",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it says that our certificate is for another purpose (extended key usage)",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it refuses our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it refuses our certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it demands a client certificate (CACHE_TLS_CLIENT_CERT), and we show none",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it refuses our handshake; if it is a server, it may demand a client certificate",
}


def why(error: BaseException) -> str:
    """What went wrong, seen from the other side of `error`; "it" is who is at the other end."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate {flaw_of(error)}"
        case ssl.SSLError():
            return reason_in_words(error.reason or str(error))
        case TimeoutError() | ConnectionAbortedError():
            return "its TLS handshake took too long"
        case OSError():
            return (
                "it ended the TLS handshake; perhaps it does not speak TLS, or does not like our certificate"
            )
    return f"TLS: {error}"


def flaw_of(error: ssl.SSLCertVerificationError) -> str:
    """What is wrong with the certificate that was looked at."""
    return OF_CERTIFICATES.get(error.verify_code, f"is not good: {error.verify_message}")


def flaw_in_words(told: str) -> str:
    """The same, where only what OpenSSL calls it is known."""
    return OF_CERTIFICATES.get(CALLED.get(told.lower().replace("-", " "), 0), f"is not good: {told}")


def reason_in_words(reason: str) -> str:
    """What OpenSSL's name of a reason means, seen from the other side; "it" is who is at the other end."""
    return REASONS.get(reason, f"TLS: {reason}")


def flaw_of_own(secured: Secured) -> str:
    """What a node that is configured like this one would have against our certificates; empty where nothing is.

    Both ends of a handshake with ourselves, in memory.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    name = secured.expected_name
    client = secured.client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = secured.server_context.wrap_bio(to_server, to_client, server_side=True)
    ends = {"our server certificate": client, "our client certificate": server}
    for _ in range(ROUNDS):
        for shown, judge in ends.items():
            try:
                with contextlib.suppress(ssl.SSLWantReadError):
                    judge.do_handshake()
            except ssl.SSLCertVerificationError as error:
                return f"{shown} {flaw_of(error)}"
            except ssl.SSLError as error:
                return f"{shown}: {error.reason or error}"
    carried = certificate_names.of_peer(client.getpeercert() or {})
    return "" if carried.carry(name) else f"our server certificate is not for {name}: it is for {carried}"


def why_silent(secured: Secured, error: BaseException | None) -> str:
    """Why a server said nothing after our handshake; `error` is what its connection ended with, if it did."""
    return why(error) if isinstance(error, ssl.SSLError) else flaw_of_own(secured) or SILENT


def flaw_of_server(transport: asyncio.BaseTransport, expected: str) -> str:
    """Why a server's certificate is not for the name that we expect; empty where it is, or where there is no TLS."""
    tls = transport.get_extra_info("ssl_object")
    if tls is None:
        return ""
    shown = certificate_names.of_peer(tls.getpeercert() or {})
    return "" if shown.carry(expected) else f"its certificate is not for {expected}: it is for {shown}"


async def diagnosis(peer: Host, secured: Secured | None) -> str:
    """Why no stream to `peer` comes about, as far as TLS is concerned; empty where that is not the reason."""
    try:
        async with asyncio.timeout(CONNECT_S):
            if secured is None:
                return await _speaks_tls(peer)
            return await _refusal(peer, secured)
    except (OSError, UnicodeError):  # TimeoutError, too
        return ""


async def _speaks_tls(peer: Host) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        _, writer = await asyncio.open_connection(peer.name, peer.port, ssl=context)
    except OSError:
        return ""
    await _ended(writer)
    return "it speaks TLS, and this node does not (CACHE_TLS)"


async def _refusal(peer: Host, secured: Secured) -> str:
    try:
        reader, writer = await asyncio.open_connection(
            peer.name, peer.port, ssl=secured.client_context, server_hostname=secured.expected_name
        )
    except ConnectionRefusedError:
        return ""
    except (ssl.SSLError, OSError) as error:
        return why(error)
    try:
        flaw = flaw_of_server(writer.transport, secured.expected_name)
        if flaw:
            return flaw
        # In TLS 1.3 the server judges our certificate after our handshake is done.
        async with asyncio.timeout(VERDICT_S):
            if not await reader.read(1):
                return why_silent(secured, None)
    except TimeoutError:
        return ""
    except (ssl.SSLError, OSError) as error:
        return why(error)
    finally:
        await _ended(writer)
    return ""


async def _ended(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
