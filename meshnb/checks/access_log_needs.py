"""What the causes of failed requests need of an access log format."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Need:
    """A column of the access log.

    Args:
        operator: Envoy's operator that fills it.
        causes: causes that cannot be told without it, or only with less confidence.
        instead: a column that does as well.
    """

    operator: str
    causes: tuple[str, ...]
    instead: str = ""


# found by leaving out one column at a time of the lab's corpus of all scenarios: what at least half of the requests of
# a cause lost, their cause or their confidence
NEEDS: Mapping[str, Need] = {
    "start_time": Need("%START_TIME%", ("outlier_ejection", "keepalive_race", "drain")),
    "response_code": Need(
        "%RESPONSE_CODE%",
        (
            "application_error", "connection_closed", "direct_response", "keepalive_race", "outlier_ejection",
            "protocol_error", "rbac_denied",
        ),
    ),
    "response_flags": Need(
        "%RESPONSE_FLAGS%",
        (
            "connection_refused", "connection_timed_out", "connection_closed", "keepalive_race", "circuit_breaker",
            "retries_exhausted", "certificate_expired", "certificate_unknown_authority", "certificate_wrong_name",
            "mtls_to_plaintext", "plaintext_to_strict", "fault_delay", "drain",
        ),
    ),
    "response_code_details": Need(
        "%RESPONSE_CODE_DETAILS%",
        ("connection_timed_out", "direct_response", "plaintext_to_strict", "rbac_denied", "drain"),
    ),
    "upstream_transport_failure_reason": Need(
        "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
        (
            "connection_refused", "certificate_expired", "certificate_unknown_authority", "certificate_wrong_name",
            "mtls_to_plaintext",
        ),
        instead="response_code_details",
    ),
    "duration_ms": Need("%DURATION%", ("slow_answer",)),
    "request_id": Need("%REQ(X-REQUEST-ID)%", ("application_error", "client_gave_up")),
    "authority": Need("%REQ(:AUTHORITY)%", ("unknown_host",)),
    "upstream_host": Need("%UPSTREAM_HOST%", ("slow_replica", "slow_upstream", "outlier_ejection")),
    "upstream_cluster": Need(
        "%UPSTREAM_CLUSTER_RAW%", ("slow_replica", "slow_upstream", "outlier_ejection", "connection_closed")
    ),
    "upstream_local_address": Need("%UPSTREAM_LOCAL_ADDRESS%", ("keepalive_race",)),
}  # fmt: skip
"""Column of `access_log` -> what it is needed for."""


def lacking(columns: Collection[str]) -> list[str]:
    """The columns that are needed and not among these.

    Example:
        >>> lacking(set(NEEDS) - {"duration_ms", "upstream_transport_failure_reason"})
        ['duration_ms']
    """
    return [name for name, need in NEEDS.items() if name not in columns and need.instead not in columns]


def undecidable(columns: Iterable[str]) -> str:
    """The causes that cannot be told without these columns, in words.

    Example:
        >>> undecidable(["authority", "upstream_local_address"])
        'unknown_host, keepalive_race'
    """
    return ", ".join(dict.fromkeys(cause for column in columns for cause in NEEDS[column].causes))
