"""Certificates of the lab: its own CA, and one SPIFFE identity per service account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from meshnb.lab.plan import PODS, TRUST_DOMAIN

_DAYS_CA, _DAYS_WORKLOAD = 3650, 30


def make_pki(folder: Path) -> None:
    """Write `root-cert.pem` and, per pod, `POD.NAMESPACE.crt` and `.key`; keys are readable by the user alone.

    The CA key is not kept: a certificate for another identity comes from another call with another folder.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, TRUST_DOMAIN)])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    ca = (
        _builder(subject, subject, ca_key.public_key(), days=_DAYS_CA)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    (folder / "root-cert.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    for pod in PODS:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(x509.Name([]), subject, key.public_key(), days=_DAYS_WORKLOAD)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(pod.identity)]),
                critical=True,
            )
            .sign(ca_key, hashes.SHA256())
        )
        (folder / f"{pod.proxy}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        path = folder / f"{pod.proxy}.key"
        path.touch(mode=0o600)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def _builder(subject: Any, issuer: Any, key: Any, *, days: int) -> Any:
    from cryptography import x509

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # clocks may differ a little, as in Istio
        .not_valid_before(now - timedelta(minutes=2))
        .not_valid_after(now + timedelta(days=days))
    )
