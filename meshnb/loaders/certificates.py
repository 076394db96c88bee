"""X.509 certificates as rows."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from meshnb.loaders.proto import Message

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_PEM = re.compile(
    rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----.*?-----END (?:TRUSTED |X509 )?CERTIFICATE-----", re.DOTALL
)


class DataSource(Message):
    """`core.v3.DataSource`."""

    filename: str = ""
    inline_bytes: str = ""
    inline_string: str = ""
    environment_variable: str = ""

    def read(self) -> tuple[bytes, str]:
        """The text, or why it is not in the document."""
        if self.inline_string:
            return self.inline_string.encode(), ""
        if self.inline_bytes:
            try:
                return base64.b64decode(self.inline_bytes, validate=True), ""
            except (binascii.Error, ValueError):
                return b"", "not base64"
        if self.filename:
            return b"", f"in the file {self.filename} of the proxy"
        if self.environment_variable:
            return b"", f"in the environment variable {self.environment_variable} of the proxy"
        return b"", "empty"


def certificate_rows(source: DataSource | None, *, at: datetime | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a PEM file, in its order; one row with a `problem` if it holds no certificate.

    Args:
        source: where the file is.
        at: time for which `valid` and `days_left` are told; now if missing.
    """
    if source is None:
        yield {"problem": "no certificate"}
        return
    data, problem = source.read()
    blocks = _PEM.findall(data)
    if not blocks:
        yield {"problem": problem or "no certificate in it"}
    for position, block in enumerate(blocks):
        yield {"position": position, **certificate_row(block, at=at)}


def certificate_row(pem: bytes, *, at: datetime | None = None) -> dict[str, Any]:
    """The columns of one certificate in PEM."""
    import warnings

    from cryptography import x509

    with warnings.catch_warnings():
        # certificates with odd serial numbers or encodings are common; they are shown, not complained about
        warnings.simplefilter("ignore")
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            return _fields(certificate, at or datetime.now(UTC))
        except (x509.InvalidVersion, ValueError, TypeError, NotImplementedError) as error:
            return {"problem": f"not a readable certificate: {str(error)[:200]}"}


def _fields(certificate: Certificate, at: datetime) -> dict[str, Any]:
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    before, after = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    sans = _sans(certificate)
    spiffe = next((san for san in sans if san.startswith("spiffe://")), None)
    return {
        "type": "CA" if _is_ca(certificate) else "Cert Chain",
        "subject": certificate.subject.rfc4514_string() or None,
        "issuer": certificate.issuer.rfc4514_string() or None,
        "spiffe_id": spiffe,
        "trust_domain": urlsplit(spiffe).netloc or None if spiffe else None,
        "sans": sans,
        "serial": f"{certificate.serial_number:032x}",
        "key": _key(certificate),
        "not_before": before,
        "not_after": after,
        "valid": before < at < after,
        "days_left": (after - at).total_seconds() / 86400,
    }


def _is_ca(certificate: Certificate) -> bool:
    from cryptography import x509

    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False


def _sans(certificate: Certificate) -> list[str]:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return []
    return [name.value.rfc4514_string() if isinstance(name, x509.DirectoryName) else str(name.value) for name in names]


def _key(certificate: Certificate) -> str | None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return "Ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else type(key).__name__.strip("_")
