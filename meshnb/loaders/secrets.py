"""Secrets of a config dump: the certificates in them, never a private key."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from meshnb.loaders.certificates import DataSource, certificate_rows
from meshnb.loaders.proto import EMPTY, Message, NamedConfig, Reader
from meshnb.loaders.sections import Resource


class TlsCertificate(Message):
    """`tls.v3.TlsCertificate`; its private key is not read."""

    certificate_chain: DataSource | None = None


class ValidationContext(Message):
    """`tls.v3.CertificateValidationContext`, the trust anchors of it."""

    trusted_ca: DataSource | None = None
    custom_validator_config: NamedConfig | None = None


class TrustDomain(Message):
    """`SPIFFECertValidatorConfig.TrustDomain`."""

    name: str = ""
    trust_bundle: DataSource | None = None


class SpiffeValidator(Message):
    """`tls.v3.SPIFFECertValidatorConfig`."""

    trust_domains: list[TrustDomain] = []


class Secret(Message):
    """`tls.v3.Secret`."""

    name: str = ""
    tls_certificate: TlsCertificate | None = None
    validation_context: ValidationContext | None = None
    session_ticket_keys: msgspec.Raw = EMPTY
    generic_secret: msgspec.Raw = EMPTY


read_secret = Reader(Secret)
_read_spiffe = Reader(SpiffeValidator)
_WAITING = "the control plane has not sent it yet"


def secret_sources(secret: Secret) -> tuple[str, list[tuple[str | None, DataSource | None]]]:
    """What a secret is, and where its certificates stand, each with the trust domain it is for."""
    if secret.tls_certificate is not None:
        return "certificate", [(None, secret.tls_certificate.certificate_chain)]
    context = secret.validation_context
    if context is not None:
        # beside a SPIFFE bundle Envoy prints an empty trusted_ca
        if context.custom_validator_config is None or context.trusted_ca not in (None, DataSource()):
            return "validation", [(None, context.trusted_ca)]
        spiffe = _read_spiffe.maybe(context.custom_validator_config.any_config)
        domains = spiffe.trust_domains if spiffe is not None else []
        return "validation", [(domain.name, domain.trust_bundle) for domain in domains] or [(None, None)]
    if secret.session_ticket_keys is not EMPTY:
        return "session_ticket_keys", []
    return ("generic", []) if secret.generic_secret is not EMPTY else ("unknown", [])


def secret_rows(resource: Resource, *, at: datetime | None = None) -> Iterator[dict[str, Any]]:
    """The rows of one secret, see `meshnb.model.tables.envoy.SECRETS`.

    Args:
        resource: the secret.
        at: time for which `valid` and `days_left` are told; now if missing.

    Raises:
        msgspec.MsgspecError, ValueError: not a secret.
    """
    secret = read_secret(resource.raw) if resource.size else Secret()
    kind, sources = secret_sources(secret)
    shared = {"secret": secret.name or resource.name, "kind": kind, **resource.status}
    if not sources:
        yield {**shared, "problem": _WAITING if kind == "unknown" else None}
    for domain, source in sources:
        for row in certificate_rows(source, at=at):
            if resource.version_info == "uninitialized":
                row["problem"] = _WAITING
            yield {**shared, **row, "trust_domain": domain or row.get("trust_domain")}
