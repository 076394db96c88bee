"""What one row of an access log says about why its request failed.

A row is read by itself here, from its code, flags and details together: each alone misleads. `rank` says how much the
row knows: 1 a cause of its own, 2 the other side ended it, 3 the upstream answered so, 4 nothing was wrong so far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshnb.checks.questions import question
from meshnb.envoy.details import Transport, parse_details, transport_kind

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa

UNKNOWN = "unknown"

_HARMLESS = {"RFCF"}
_BY_TRANSPORT = {
    Transport.REFUSED: "connection_refused",
    Transport.UNREACHABLE: "connection_timed_out",
    Transport.TIMEOUT: "connection_timed_out",
    Transport.RESET: "connection_reset",
    Transport.PLAINTEXT: "mtls_to_plaintext",
    Transport.EXPIRED: "certificate_expired",
    Transport.UNKNOWN_CA: "certificate_unknown_authority",
    Transport.WRONG_NAME: "certificate_wrong_name",
    Transport.REJECTED: "certificate_rejected",
    Transport.TLS: "tls_failed",
}
# flags that name their cause, in the order in which they decide when several are set
_BY_FLAG = (
    ("NC", "missing_cluster", "proxy"),
    ("FI", "fault_abort", "proxy"),
    ("RL", "rate_limited", "proxy"),
    ("RLSE", "rate_limited", "proxy"),
    ("UAEX", "external_authorization", "proxy"),
    ("NR", "no_route", "proxy"),
    ("UO", "circuit_breaker", "proxy"),
    ("UH", "no_healthy_upstream", "proxy"),
    ("UMSDR", "max_duration", "proxy"),
    ("DT", "max_duration", "proxy"),
    ("UT", "upstream_timeout", "proxy"),
    ("UPE", "protocol_error", "upstream"),
    ("UC", "connection_closed", "upstream"),
    ("UR", "connection_reset", "upstream"),
    ("DPE", "client_protocol_error", "client"),
    ("SI", "stream_idle_timeout", "proxy"),
    ("OM", "proxy_overload", "proxy"),
    ("DF", "dns_failed", "proxy"),
    ("NFCF", "filter_not_ready", "proxy"),
    ("DO", "dropped_overload", "proxy"),
    ("UDO", "dropped_overload", "proxy"),
    ("DR", "client_gave_up", "client"),
    ("DC", "client_gave_up", "client"),
)
_BY_DETAILS = {
    "direct_response": "direct_response",
    "max_duration_timeout": "max_duration",
    "duration_timeout": "max_duration",
    "cluster_not_found": "missing_cluster",
    "route_not_found": "no_route",
    "no_healthy_upstream": "no_healthy_upstream",
    "fault_filter_abort": "fault_abort",
    "local_rate_limited": "rate_limited",
    "request_rate_limited": "rate_limited",
    "ext_authz_denied": "external_authorization",
    "ext_authz_error": "external_authorization",
    "overload": "proxy_overload",
    "request_header_timeout": "stream_idle_timeout",
    "request_overall_timeout": "stream_idle_timeout",
    "stream_idle_timeout": "stream_idle_timeout",
    "response_timeout": "upstream_timeout",
    "upstream_per_try_timeout": "upstream_timeout",
}


@dataclass(frozen=True, slots=True)
class RowCause:
    """What a row says.

    Args:
        cause: name of the cause.
        rank: how much the row knows, 1 best.
        ended_by: client, proxy, upstream or nobody.
        why: what it rests on.
        policy: `NAMESPACE/NAME` of the AuthorizationPolicy that denied.
    """

    cause: str
    rank: int
    ended_by: str
    why: str
    policy: str = ""


def row_cause(
    code: int | None, flags: str | None, details_text: str | None, transport_text: str | None, slow: bool
) -> RowCause | None:
    """What a row says, `None` if nothing was wrong.

    Args:
        code: status.
        flags: the flags as a set.
        details_text: `response_code_details`.
        transport_text: `upstream_transport_failure_reason`.
        slow: whether it took longer than what counts as slow.

    Example:
        >>> row_cause(504, "UT", "response_timeout", None, False).cause
        'upstream_timeout'
        >>> row_cause(200, None, "via_upstream", None, False) is None
        True
    """
    details = parse_details(details_text)
    name = details.name if details else ""
    seen = set((flags or "").split(",")) - _HARMLESS - {""}
    if name.startswith("rbac_access_denied"):
        policy = details.policy if details else ""
        return RowCause("rbac_denied", 1, "proxy", details_text or "", policy)
    if name.startswith("jwt_authn"):
        return RowCause("jwt_denied", 1, "proxy", details_text or "")
    if "UF" in seen:
        return _connection(details_text, transport_text)
    if name == "cluster_not_found":  # with NR before Envoy 1.18
        return RowCause("missing_cluster", 1, "proxy", f"flag {flags}, cluster_not_found")
    if name == "filter_chain_not_found":
        return RowCause("plaintext_to_strict", 1, "proxy", "flag NR, filter_chain_not_found")
    if "drain" in (details_text or ""):
        return RowCause("drain", 1, "proxy", details_text or "")
    if "max_connection_duration" in (details_text or ""):
        return RowCause("max_duration", 1, "proxy", details_text or "")
    if name == "downstream_local_disconnect" and "DC" in seen:
        return RowCause("drain", 1, "proxy", details_text or "")
    if details and details.reset == "protocol error":
        return RowCause("protocol_error", 1, "upstream", details_text or "")
    for flag, cause, ended_by in _BY_FLAG:
        if flag in seen:
            return RowCause(cause, 2 if ended_by == "client" else 1, ended_by, f"flag {flag}, {name or 'no details'}")
    if name in _BY_DETAILS and (code or 0) >= 400:
        return RowCause(_BY_DETAILS[name], 1, "proxy", details_text or "")
    if name == "downstream_remote_disconnect" or name.startswith("downstream_remote_reset"):
        return RowCause("client_gave_up", 2, "client", name)
    if "URX" in seen:
        return RowCause("retries_exhausted", 2, "upstream", "flag URX: every attempt was answered with an error")
    if "DI" in seen:
        return RowCause("fault_delay", 2, "proxy", "flag DI")
    if (code or 0) >= 500 and name in ("via_upstream", ""):
        return RowCause("application_error", 3, "upstream", f"{code} {name or 'without details or flags'}")
    if (code or 0) >= 500 or seen - {"LR", "IH"} or (code == 0 and seen):
        return RowCause(UNKNOWN, 1, "proxy", f"{code} {flags or '-'} {details_text or '-'}")
    if (code or 0) >= 400 and name not in ("via_upstream", ""):
        return RowCause(UNKNOWN, 1, "proxy", f"{code} {flags or '-'} {details_text}")
    if (code or 0) >= 400:
        return RowCause("client_error", 4, "upstream", f"{code} {name}")
    return RowCause("slow_answer", 3, "nobody", "answered, and late") if slow else None


def _connection(details_text: str | None, transport_text: str | None) -> RowCause:
    """A connection that could not be made."""
    kind = transport_kind(transport_text)
    details = parse_details(details_text)
    if kind in (None, Transport.OTHER) and details is not None:
        timed_out = "timeout" in details.reset or "timeout" in details.text
        kind = Transport.TIMEOUT if timed_out else details.transport or kind
    text = transport_text or details_text or "flag UF"
    cause = _BY_TRANSPORT.get(kind, "connection_failed") if kind else "connection_failed"
    return RowCause(cause, 1, "upstream", text)


SIGNATURE = ("response_code", "flag_set", "response_code_details", "upstream_transport_failure_reason")


def late(log: ir.Table, slow_ms: float) -> ir.BooleanValue:
    """Which rows took longer than what counts as slow."""
    result: Any = (log.duration_ms >= slow_ms).fill_null(False)
    return result


def suspect(log: ir.Table, slow_ms: float) -> ir.BooleanValue:
    """Which rows may have something to say: those without flags, below 400 and in time do not; most are so."""
    code = log.response_code
    result: Any = (code >= 400) | (code == 0) | log["flag_set"].notnull() | late(log, slow_ms)
    return result.fill_null(False)


@question("log", numbers=["slow_ms"])
def signatures(log: ir.Table, slow_ms: float) -> ir.Table:
    """The distinct combinations of all that `row_cause` reads, of suspect rows."""
    rows = log.mutate(slow=late(log, slow_ms)).filter(suspect(log, slow_ms))
    return rows.select(*SIGNATURE, "slow").distinct()


def said_by(rows: pa.Table) -> tuple[list[RowCause], pa.Table]:
    """What each signature says: the rule runs once for each of them, not for each row.

    Args:
        rows: as `signatures` has them.

    Returns:
        What is said, and the signatures that say something with its place in that list, its cause and its rank.
    """
    import pyarrow as pa

    texts = dict.fromkeys(SIGNATURE[1:], pa.string())
    schema = pa.schema(
        {"response_code": pa.int64(), **texts, "slow": pa.bool_(), "said": pa.int64(), "cause": pa.string(),
         "rank": pa.int64()}
    )  # fmt: skip
    said: list[RowCause] = []
    table: dict[str, list[Any]] = {name: [] for name in schema.names}
    for row in sorted(rows.to_pylist(), key=lambda row: [str(value) for value in row.values()]):
        code, flags, details, transport = signature = [row[name] for name in SIGNATURE]
        one = row_cause(code, flags, details, transport, bool(row["slow"]))
        if one is None:
            continue
        values = [*signature, row["slow"], len(said), one.cause, one.rank]
        for column, value in zip(table.values(), values, strict=True):
            column.append(value)
        said.append(one)
    return said, pa.table(table, schema=schema)
