"""Certificates that are none: the row says so, nothing else is lost."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from meshnb.loaders.certificates import certificate_row

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def pem(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def test_a_certificate_of_a_version_that_does_not_exist_is_a_problem_not_a_crash():
    whole = certificate()
    assert certificate_row(whole, at=NOW + timedelta(hours=1))["valid"]
    der = base64.b64decode(b"".join(whole.splitlines()[1:-1]))
    third = bytes.fromhex("a003020102")  # [0] EXPLICIT INTEGER 2: version 3
    assert third in der
    row = certificate_row(pem(der.replace(third, bytes.fromhex("a003020142"), 1)))
    assert row["problem"].startswith("not a readable certificate")


def test_other_damage_is_a_problem_too():
    for text in (b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", certificate()[:200]):
        assert "problem" in certificate_row(text)
