"""Transport sockets: which TLS a cluster speaks upstream and a filter chain downstream."""

from __future__ import annotations

from typing import Any

import msgspec

from meshnb.loaders.proto import EMPTY, Message, NamedConfig, Reader


class SdsSecret(Message):
    """`tls.v3.SdsSecretConfig`."""

    name: str = ""


class StringMatcher(Message):
    """`type.matcher.v3.StringMatcher`; also the element of the older `match_subject_alt_names`."""

    exact: str | None = None
    prefix: str | None = None
    suffix: str | None = None
    contains: str | None = None
    safe_regex: Regex | None = None

    def __str__(self) -> str:
        """The text itself if exact, otherwise `KIND:TEXT`."""
        if self.exact is not None:
            return self.exact
        for kind in ("prefix", "suffix", "contains"):
            value = getattr(self, kind)
            if value is not None:
                return f"{kind}:{value}"
        return f"regex:{self.safe_regex.regex}" if self.safe_regex is not None else "unknown:"


class Regex(Message):
    """`type.matcher.v3.RegexMatcher`."""

    regex: str = ""


class SanMatcher(Message):
    """`tls.v3.SubjectAltNameMatcher`."""

    matcher: StringMatcher | None = None


class Validation(Message):
    """`tls.v3.CertificateValidationContext`."""

    match_subject_alt_names: list[StringMatcher] = []
    match_typed_subject_alt_names: list[SanMatcher] = []

    @property
    def sans(self) -> list[str]:
        """Names accepted in the other side's certificate."""
        typed = [str(one.matcher) for one in self.match_typed_subject_alt_names if one.matcher is not None]
        return typed + [str(one) for one in self.match_subject_alt_names]


class CombinedValidation(Message):
    """`tls.v3.CommonTlsContext.CombinedCertificateValidationContext`."""

    default_validation_context: Validation | None = None
    validation_context_sds_secret_config: SdsSecret | None = None


class CommonTls(Message):
    """`tls.v3.CommonTlsContext`."""

    tls_certificates: list[msgspec.Raw] = []
    tls_certificate_sds_secret_configs: list[SdsSecret] = []
    tls_certificate_provider_instance: msgspec.Raw = EMPTY
    validation_context: Validation | None = None
    validation_context_sds_secret_config: SdsSecret | None = None
    combined_validation_context: CombinedValidation | None = None
    alpn_protocols: list[str] = []

    @property
    def secrets(self) -> list[str]:
        """Names of the secrets it takes over SDS."""
        names = [one.name for one in self.tls_certificate_sds_secret_configs]
        combined = self.combined_validation_context
        for one in (
            self.validation_context_sds_secret_config,
            combined.validation_context_sds_secret_config if combined is not None else None,
        ):
            names += [one.name] if one is not None else []
        return names

    @property
    def sans(self) -> list[str]:
        """Names accepted in the other side's certificate."""
        combined = self.combined_validation_context
        contexts = (self.validation_context, combined.default_validation_context if combined is not None else None)
        return [san for context in contexts if context is not None for san in context.sans]

    @property
    def has_certificate(self) -> bool:
        """Whether this side shows a certificate."""
        return bool(
            self.tls_certificates
            or self.tls_certificate_sds_secret_configs
            or self.tls_certificate_provider_instance is not EMPTY
        )


class TlsContext(Message):
    """`tls.v3.UpstreamTlsContext` and `DownstreamTlsContext`, and sockets that wrap another."""

    type: str = msgspec.field(name="@type", default="")
    common_tls_context: CommonTls | None = None
    sni: str = ""
    require_client_certificate: bool = False
    transport_socket: NamedConfig | None = None


_read_context = Reader(TlsContext)


def tls_context(socket: NamedConfig | None) -> TlsContext | None:
    """The TLS context of a transport socket, looking into those that wrap another (PROXY protocol, tap, STARTTLS)."""
    for _ in range(8):
        context = _read_context.maybe(socket.any_config) if socket is not None else None
        if context is None:
            return None
        if context.type.endswith("TlsContext") or (not context.type and context.common_tls_context is not None):
            return context
        socket = context.transport_socket
    return None


def upstream_tls(socket: NamedConfig | None, matches: list[NamedConfig | None]) -> dict[str, Any]:
    """The columns `tls_mode`, `sni` and `sans` of a cluster.

    Args:
        socket: its transport socket.
        matches: the sockets of `transport_socket_matches`; an endpoint's label chooses between them.
    """
    context = tls_context(socket)
    mode = "DISABLE" if socket is None else _upstream_mode(context, socket)
    for match in matches:
        found = tls_context(match)
        if found is not None:
            context, mode = found, "AUTO"
            break
    sans = context.common_tls_context.sans if context is not None and context.common_tls_context is not None else []
    return {"tls_mode": mode, "sni": (context.sni if context is not None else "") or None, "sans": sans}


def _upstream_mode(context: TlsContext | None, socket: NamedConfig) -> str:
    if context is None:
        plain = socket.name.endswith(("raw_buffer", "internal_upstream", "upstream_proxy_protocol"))
        return "DISABLE" if plain else "OTHER"
    common = context.common_tls_context or CommonTls()
    if not common.has_certificate:
        return "SIMPLE"
    # Istio names the workload's own certificate "default"; any other one was configured by the user
    return (
        "ISTIO_MUTUAL" if any(one.name == "default" for one in common.tls_certificate_sds_secret_configs) else "MUTUAL"
    )


def downstream_tls(socket: NamedConfig | None) -> dict[str, Any]:
    """The columns `tls`, `tls_secrets` and `alpn` of a filter chain."""
    context = tls_context(socket)
    if context is None:
        plain = socket is None or socket.name.endswith("raw_buffer")
        return {"tls": None if plain or socket is None else socket.name, "tls_secrets": None, "alpn": None}
    common = context.common_tls_context or CommonTls()
    return {
        "tls": "mTLS" if context.require_client_certificate else "TLS",
        "tls_secrets": common.secrets,
        "alpn": common.alpn_protocols,
    }
