"""Nodes that speak TLS and ask each other for certificates."""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.cluster.conftest import eventually

NAME = "redhac.local"


def issue(directory, name, issuer=None):
    """A certificate and its key as PEM files; without an issuer it is an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    cert_file, key_file = directory / f"{name}.pem", directory / f"{name}.key"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, key, str(cert_file), str(key_file)


def test_mutual_tls_joins_those_of_one_authority_and_no_other(new_cluster, tmp_path):
    authority = issue(tmp_path, "authority")
    _, _, cert, key = issue(tmp_path, "node", authority)
    _, _, foreign_cert, foreign_key = issue(tmp_path, "foreign", issue(tmp_path, "stranger"))
    secure = {
        "CACHE_TLS": "true",
        "CACHE_TLS_SERVER_CERT": cert,
        "CACHE_TLS_SERVER_KEY": key,
        "CACHE_TLS_CLIENT_CERT": cert,
        "CACHE_TLS_CLIENT_KEY": key,
        "CACHE_TLS_CA_SERVER": authority[2],
        "CACHE_TLS_CA_CLIENT": authority[2],
        "CACHE_TLS_CLIENT_VALIDATE_DOMAIN": NAME,
    }
    cluster = new_cluster(3, scheme="https", **secure)
    host = cluster.hosts[0]
    host.worker.set("key", 1, ack="all")
    assert [one.worker.get("key") for one in cluster.hosts] == [1] * 3
    # The lanes, too, speak TLS with these certificates.
    eventually(lambda: len(host.status().hosts[0].lanes) == 2)
    host.signal(9)
    host.environment |= {
        "CACHE_TLS_SERVER_CERT": foreign_cert,
        "CACHE_TLS_SERVER_KEY": foreign_key,
        "CACHE_TLS_CLIENT_CERT": foreign_cert,
        "CACHE_TLS_CLIENT_KEY": foreign_key,
    }
    before = len(host.log.read_text())
    host.start()
    eventually(lambda: "no stream to" in host.log.read_text()[before:])
    cluster.others(host)[0].worker.set("key", 2)
    assert "no lane to" not in host.log.read_text()[before:], "a lane was tried without a stream"
    assert not host.serves()
    assert host.worker.get("key") is None
