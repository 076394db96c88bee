"""Certificates of the lab: its own CA, and one SPIFFE identity per service account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from meshnb.lab.plan import PODS, TRUST_DOMAIN

VALID, EXPIRED, FOREIGN = "valid", "expired", "foreign"
"""Kinds of certificates of a pod: a good one, one past its time, one of a CA that nobody knows."""

_DAYS_CA, _DAYS_WORKLOAD = 3650, 30


def make_pki(folder: Path) -> None:
    """Write `root-cert.pem` and, per pod and kind, `POD.NAMESPACE.KIND.crt` and `.key`.

    Keys are readable by the user alone. The keys of the CAs are not kept.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    known, stranger = _Authority(), _Authority()
    (folder / "root-cert.pem").write_bytes(known.pem)
    for pod in PODS:
        for kind, authority, days in (
            (VALID, known, _DAYS_WORKLOAD),
            (EXPIRED, known, -1),
            (FOREIGN, stranger, _DAYS_WORKLOAD),
        ):
            chain, key = authority.issue(pod.identity, days=days)
            (folder / f"{pod.proxy}.{kind}.crt").write_bytes(chain)
            path = folder / f"{pod.proxy}.{kind}.key"
            path.touch(mode=0o600)
            path.write_bytes(key)


class _Authority:
    """A CA that lives as long as this object."""

    def __init__(self) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, TRUST_DOMAIN)])
        signing = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = self._builder(self._name, self._key.public_key(), days=_DAYS_CA)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        certificate = builder.add_extension(signing, critical=True).sign(self._key, hashes.SHA256())
        self.pem: bytes = certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, identity: str, *, days: int) -> tuple[bytes, bytes]:
        """Certificate and key for an identity, good for so many days from now; past ones if negative."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
        builder = self._builder(x509.Name([]), key.public_key(), days=days)
        certificate = builder.add_extension(names, critical=True).sign(self._key, hashes.SHA256())
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM), secret

    def _builder(self, subject: Any, key: Any, *, days: int) -> Any:
        from cryptography import x509

        # clocks may differ a little, as in Istio
        now = datetime.now(UTC) - timedelta(minutes=2)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + min(timedelta(0), timedelta(days=2 * days)))
            .not_valid_after(now + timedelta(days=days))
        )
