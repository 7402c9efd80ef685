"""TLS for real, on both ports of a node: who is refused, and what the logs say of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import warnings
from dataclasses import replace

import pytest

from django_hacache.conf import TLS, Host
from django_hacache.exceptions import ConfigurationError
from django_hacache.node.transport.authentication.keyring import Keyring
from django_hacache.node.transport.authentication.tls import _client_context
from django_hacache.node.transport.lanes import arrivals, pipe
from django_hacache.node.transport.lanes.outbound import OutboundLane
from django_hacache.node.transport.lanes.server import LaneServer
from django_hacache.node.transport.streams.listening import start_server
from django_hacache.node.transport.streams.outbound import OutboundStream
from django_hacache.node.transport.streams.server import StreamServer
from tests.certificates import CLIENT, HOUR, NAME, SERVER, Authority
from tests.node.transport.lanes.test_lane import Events as LaneEvents
from tests.node.transport.lanes.test_lane import config, until
from tests.node_process import TOKEN, free_port


class Events(LaneEvents):
    """Both runtimes of both connections."""

    def __init__(self, addr):
        super().__init__(addr)
        self.connected = set()

    def stream_opened(self, stream):
        pass

    def stream_closed(self, stream):
        pass

    def peer_connected(self, addr, lane_port, caches, limits):
        self.connected.add(addr)

    def peer_disconnected(self, addr):
        self.connected.discard(addr)

    def peer_lost(self, addr, *, refused):
        pass


class Pair:
    """A node that accepts on both of its ports, and one that opens both."""

    def __init__(self, server_tls, client_tls):
        self.acceptor, self.opener = Host("https", "127.0.0.1", free_port()), Host("https", "127.0.0.1", 1)
        hosts = (self.acceptor, self.opener)
        shared = replace(config(), hosts=hosts, reconnect_lower_ms=20, reconnect_upper_ms=50)
        self.server_config = replace(shared, hostname=self.acceptor.addr, tls=server_tls)
        self.client_config = replace(shared, hostname=self.opener.addr, tls=client_tls)
        self.events = Events(self.acceptor.addr)

    async def __aenter__(self):
        peers, keyring = frozenset({self.opener.addr}), Keyring(self.server_config)
        stream_server = StreamServer(
            self.server_config, peers, self.events, max_request_bytes=1 << 20, keyring=keyring
        )
        self.server = await start_server(self.server_config, stream_server, keyring)
        self.lanes = LaneServer(self.server_config, peers, self.events, keyring=keyring)
        self.lanes.start("127.0.0.1")
        ends = (self.client_config, self.opener, self.acceptor, self.events, random.Random(1))
        self.stream, self.lane = OutboundStream(*ends), OutboundLane(*ends)
        self.stream.start()
        self.lane.start()
        self.lane.announced(self.lanes.port)
        self.server_keyring = keyring
        return self

    async def __aexit__(self, *exc):
        await self.stream.close()
        await self.lane.close()
        await self.lanes.close()
        await self.server.stop(None)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(directory):
    return Authority(directory)


@pytest.fixture(scope="module")
def good(authority):
    return authority.issue("good")


def tls_of(authority, shown, *, mutual=True):
    """TLS of a node that shows `shown` in both roles; None: no client certificate."""
    client = shown if mutual else None
    return TLS(
        shown.cert,
        shown.key,
        client.cert if client else None,
        client.key if client else None,
        authority.cert,
        authority.cert if mutual else None,
        NAME,
        "",
    )


def without_client_certificate(tls):
    return replace(tls, client_cert=None, client_key=None)


def test_who_shows_what_is_right_is_let_in_on_both_ports(authority, good):
    async def scenario():
        async with Pair(tls_of(authority, good), tls_of(authority, good)) as pair:
            await until(lambda: pair.events.connected and pair.lane.up)

    asyncio.run(scenario())


@pytest.fixture(scope="module")
def wrong(directory, authority):
    foreign = Authority(directory, "stranger")
    return {
        "expired": authority.issue("expired", ends=-HOUR),
        "authority": foreign.issue("foreign"),
        "name": authority.issue("name", "somebody.else", "10.0.0.1"),
        "client only": authority.issue("client-only", purposes=[CLIENT]),
        "server only": authority.issue("server-only", purposes=[SERVER]),
        # No authority says it, so it is no name of a member; a common name least of all.
        "common name": authority.issue("common-name", NAME, common="127.0.0.1"),
        # Of a resource and of a person, who may well be called like a host.
        "other kind": authority.issue("other-kind", NAME, "uri:127.0.0.1", "email:127.0.0.1"),
    }


async def refused(pair, caplog, *says):
    async with pair:
        # Both logs are one here: what the opener says of the stream, of the lane, and what the acceptor says.
        await until(lambda: all(words in caplog.text for words in says))
        assert not pair.lane.up
        assert not pair.events.connected
        assert not pair.events.open


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("expired", "its certificate has expired"),
        ("authority", "its certificate is of another authority"),
        ("name", f"its certificate is not for {NAME}: it is for somebody.else, 10.0.0.1"),
        ("client only", "its certificate is for another purpose"),
    ],
)
def test_a_server_whose_certificate_is_wrong_is_not_talked_to(which, words, authority, good, wrong, caplog):
    pair = Pair(tls_of(authority, wrong[which]), tls_of(authority, good))
    to = pair.acceptor.addr
    asyncio.run(refused(pair, caplog, f"no stream to {to}: {words}", f"no lane to {to}: {words}"))


@pytest.mark.parametrize(
    ("which", "ours", "its"),
    [
        ("expired", "our client certificate has expired", "its certificate has expired"),
        ("authority", "our client certificate is of another authority", "is of another authority"),
        ("server only", "our client certificate is for another purpose", "is for another purpose"),
        (None, "our client certificate: PEER_DID_NOT_RETURN_A_CERTIFICATE", "it shows no certificate"),
    ],
)
def test_a_client_whose_certificate_is_wrong_is_refused(which, ours, its, authority, good, wrong, caplog):
    theirs = without_client_certificate(tls_of(authority, good))
    if which is not None:
        theirs = replace(theirs, client_cert=wrong[which].cert, client_key=wrong[which].key)
    pair = Pair(tls_of(authority, good), theirs)
    to, acceptor = pair.acceptor.addr, "a lane was refused to somebody at 127.0.0.1: it"
    asyncio.run(
        refused(pair, caplog, f"no stream to {to}: {ours}", f"no lane to {to}: {ours}", acceptor, its)
    )


@pytest.mark.parametrize("which", ["name", "common name", "other kind"])
def test_a_certificate_speaks_for_no_member_whose_address_it_does_not_carry(
    which, authority, good, wrong, caplog
):
    theirs = replace(tls_of(authority, good), client_cert=wrong[which].cert, client_key=wrong[which].key)
    pair = Pair(tls_of(authority, good), theirs)
    words = "the client certificate of 127.0.0.1:1 is not for 127.0.0.1, as a subject alternative name"
    says = (
        f"a stream was refused to 127.0.0.1:1: {words}",
        f"a lane was refused to '127.0.0.1:1' at 127.0.0.1: {words}",
    )
    asyncio.run(refused(pair, caplog, *says, f"no lane to {pair.acceptor.addr}: {words}"))


def test_without_mutual_tls_no_certificate_of_a_client_is_asked_for(authority, wrong):
    one_sided = tls_of(authority, wrong["common name"], mutual=False)

    async def scenario():
        async with Pair(one_sided, one_sided) as pair:
            await until(lambda: pair.events.connected and pair.lane.up)

    asyncio.run(scenario())


def test_who_is_in_a_handshake_is_a_stranger_and_keeps_no_peer_away(authority, good, monkeypatch):
    monkeypatch.setattr(arrivals, "STRANGERS_MAX", 3)
    monkeypatch.setattr(arrivals, "HANDSHAKE_S", 1000.0)

    async def scenario():
        async with Pair(tls_of(authority, good), tls_of(authority, good)) as pair:
            pair.lane.announced(0)
            await until(lambda: pair.events.connected)
            silent = [await asyncio.open_connection("127.0.0.1", pair.lanes.port) for _ in range(5)]
            await until(lambda: len(pair.lanes.arrivals._strangers) == 3)
            pair.lane.announced(pair.lanes.port)
            await until(lambda: pair.lane.up)
            assert len(pair.lanes.arrivals._strangers) <= 3
            for _, writer in silent:
                writer.close()

    asyncio.run(scenario())


def test_plain_text_on_a_port_of_tls_is_refused(authority, good, caplog):
    pair = Pair(tls_of(authority, good), None)
    words = "it speaks TLS, and this node does not"
    asyncio.run(refused(pair, caplog, f"no stream to {pair.acceptor.addr}: {words}", "it does not speak TLS"))


def test_tls_on_a_port_of_plain_text_is_refused(authority, good, caplog):
    pair = Pair(None, tls_of(authority, good))
    to = pair.acceptor.addr
    asyncio.run(refused(pair, caplog, f"no stream to {to}: it does not speak TLS", f"no lane to {to}: "))


def test_tls_1_1_is_refused_on_both_ports(authority, good, caplog):
    async def scenario():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        async with Pair(tls_of(authority, good, mutual=False), None) as pair:
            for port in (pair.acceptor.port, pair.lanes.port):
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await asyncio.open_connection("127.0.0.1", port, ssl=context)
            await until(
                lambda: "a lane was refused to somebody at 127.0.0.1: it speaks no TLS later" in caplog.text
            )

    asyncio.run(scenario())


async def shown_at(port, keyring):
    """The serial number of the certificate that is shown to who connects there."""
    context = keyring.secured.client_context
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=NAME)
    shown = writer.get_extra_info("ssl_object").getpeercert()["serialNumber"]
    writer.transport.abort()
    return int(shown, 16)


def test_what_is_renewed_holds_for_new_connections_and_drops_none(authority, caplog, monkeypatch):
    monkeypatch.setattr(pipe, "SILENCE_S", 60.0)  # a busy machine drops none either
    mine, later = authority.issue("mine"), authority.issue("later")

    async def scenario():
        async with Pair(tls_of(authority, mine), tls_of(authority, mine)) as pair:
            await until(lambda: pair.events.connected and pair.lane.up)
            keyring, ports = pair.server_keyring, (pair.acceptor.port, pair.lanes.port)
            assert {await shown_at(port, keyring) for port in ports} == {mine.certificate.serial_number}
            later.copy_to(mine)
            keyring.take(keyring.prepared(pair.server_config))
            assert {await shown_at(port, keyring) for port in ports} == {later.certificate.serial_number}
            assert pair.lane.up
            assert pair.stream.connected

    asyncio.run(scenario())
    assert "no stream" not in caplog.text
    assert "no lane" not in caplog.text


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("cert", "expected a certificate and its key"),
        ("key", "expected a certificate and its key"),
        ("expired", "our server certificate has expired"),
        ("foreign", "our server certificate is of another authority"),
        ("missing", "expected a readable PEM file"),
    ],
)
def test_what_cannot_be_used_is_not_taken(broken, says, authority, directory, wrong):
    mine = authority.issue("kept")
    keyring = Keyring(replace(config(), tls=tls_of(authority, mine)))
    kept = keyring.secured
    match broken:
        case "cert":
            mine.cert.write_text("no certificate")
        case "key":
            mine.key.write_bytes(wrong["expired"].key.read_bytes())
        case "expired":
            wrong["expired"].copy_to(mine)
        case "foreign":
            wrong["authority"].copy_to(mine)
        case "missing":
            mine.cert.unlink()
    with pytest.raises(ConfigurationError, match=says):
        keyring.prepared(
            replace(config("another token, as long as the right one"), tls=tls_of(authority, mine))
        )
    assert keyring.secured is kept
    assert keyring.shown == TOKEN


def test_files_that_are_written_to_while_they_are_read_are_not_taken(authority, monkeypatch):
    mine, later = authority.issue("written"), authority.issue("written-later")

    def written_meanwhile(settings, files):
        later.copy_to(mine)
        return _client_context(settings, files)

    monkeypatch.setattr("django_hacache.node.transport.authentication.tls._client_context", written_meanwhile)
    with pytest.raises(ConfigurationError, match="written to while they were read"):
        Keyring(replace(config(), tls=tls_of(authority, mine)))


# What gRPC says of these on a stream; a lane says the same.
NAMES = [
    ("cache.internal", ["cache.internal"], True),
    ("cache.internal", ["CACHE.internal."], True),
    ("cache.internal", ["*.internal"], True),
    ("cache.example.org", ["*.example.org"], True),
    ("a.cache.example.org", ["*.example.org"], False),
    ("cache.example.org", ["c*.example.org"], False),
    ("cache", ["*"], False),
    ("127.0.0.1", ["127.0.0.1"], True),
    ("127.0.0.1", ["127.0.0.2"], False),
    ("somebody", ["10.0.0.1"], True),
    ("somebody", ["cache.internal"], False),
]


@pytest.mark.parametrize(("expected", "carried", "fits"), NAMES)
def test_stream_and_lane_have_one_rule_for_names(expected, carried, fits, authority, directory, caplog):
    shown = authority.issue("names", *carried)
    tls = replace(tls_of(authority, shown, mutual=False), validate_domain=expected)

    async def scenario():
        async with Pair(tls, tls) as pair:
            if fits:
                await until(lambda: pair.events.connected and pair.lane.up)
            else:
                to = pair.acceptor.addr
                told = [
                    f"no {way} to {to}: its certificate is not for {expected}" for way in ("stream", "lane")
                ]
                await until(lambda: all(words in caplog.text for words in told))
                assert not pair.lane.up
                assert not pair.events.connected

    asyncio.run(scenario())


@pytest.mark.parametrize("mutual", [True, False])
def test_a_stranger_gets_no_frame_through_where_clients_show_certificates(authority, good, mutual):
    """What gRPC does with frames costs time, whoever sends them: there it never sees one."""

    async def scenario():
        async with Pair(tls_of(authority, good, mutual=mutual), tls_of(authority, good)) as pair:
            context = ssl.create_default_context(cafile=authority.cert)
            context.check_hostname = False
            context.set_alpn_protocols(["h2"])
            answered = b""
            with contextlib.suppress(OSError):  # ssl.SSLError, too
                port = pair.acceptor.port
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
                settings = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
                writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
                answered = await asyncio.wait_for(reader.read(9), 20)
                writer.close()
            assert bool(answered) is not mutual

    asyncio.run(scenario())
