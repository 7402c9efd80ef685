"""Certificates for tests: an authority, and whom it vouches for, in every way that can be wrong."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

NAME = "redhac.local"
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
HOUR = dt.timedelta(hours=1)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, in files."""

    cert: Path
    key: Path
    certificate: x509.Certificate
    private: ec.EllipticCurvePrivateKey

    def copy_to(self, other: Issued) -> None:
        """Take the place of another one, as a renewal does."""
        other.cert.write_bytes(self.cert.read_bytes())
        other.key.write_bytes(self.key.read_bytes())


class Authority:
    """Issues certificates into a directory."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory
        self._own = self._issue(name, None, [], ca=True)
        self.cert = self._own.cert

    def issue(self, file: str, *names: str, purposes=(), ends=HOUR, common="somebody") -> Issued:
        """For these names and addresses; `ends` from now, which may be past."""
        return self._issue(
            file, self._own, names or (NAME, "127.0.0.1"), purposes=purposes, ends=ends, common=common
        )

    def _issue(self, file, issuer, names, *, ca=False, purposes=(), ends=HOUR, common="") -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common or file)])
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 24 * HOUR)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False
            )
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        certificate = builder.sign(issuer.private if issuer else key, hashes.SHA256())
        cert_file, key_file = self._directory / f"{file}.pem", self._directory / f"{file}.key"
        cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return Issued(cert_file, key_file, certificate, key)


def _alternative(name: str) -> x509.GeneralName:
    if name.startswith("uri:"):
        return x509.UniformResourceIdentifier(name.removeprefix("uri:"))
    if name.startswith("email:"):
        return x509.RFC822Name(name.removeprefix("email:"))
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
