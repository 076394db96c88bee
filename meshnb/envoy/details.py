"""`response_code_details` and transport failure reasons taken apart, whatever the Envoy version wrote them.

The texts differ: parts in braces are separated by `|` in new versions and by `,` in old ones, spaces are `_` in the
access log, and TLS errors grew longer from version to version. So names are matched whole, texts by what they contain.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Transport(StrEnum):
    """Why a connection to an upstream failed."""

    REFUSED = "connection refused"
    TIMEOUT = "connection timed out"
    UNREACHABLE = "no route to host"
    RESET = "connection reset"
    PLAINTEXT = "the other side does not speak TLS"
    EXPIRED = "certificate expired"
    UNKNOWN_CA = "certificate of an unknown authority"
    WRONG_NAME = "certificate for another name"
    REJECTED = "our certificate was rejected"
    TLS = "TLS handshake failed"
    OTHER = "other"


# what the text contains, in lower case with spaces; the first that fits
_TRANSPORT = (
    ("connection refused", Transport.REFUSED),
    ("connection timeout", Transport.TIMEOUT),
    ("connection timed out", Transport.TIMEOUT),
    ("no route to host", Transport.UNREACHABLE),
    ("network is unreachable", Transport.UNREACHABLE),
    ("connection reset", Transport.RESET),
    ("wrong version number", Transport.PLAINTEXT),
    ("http request", Transport.PLAINTEXT),
    ("certificate has expired", Transport.EXPIRED),
    ("certificate is not yet valid", Transport.EXPIRED),
    ("self signed certificate", Transport.UNKNOWN_CA),
    ("self-signed certificate", Transport.UNKNOWN_CA),
    ("unable to get local issuer", Transport.UNKNOWN_CA),
    ("unable to verify the first certificate", Transport.UNKNOWN_CA),
    ("unknown ca", Transport.UNKNOWN_CA),
    ("certificate signature failure", Transport.UNKNOWN_CA),  # same name as our root, another key
    ("san matcher", Transport.WRONG_NAME),
    ("verify san list", Transport.WRONG_NAME),
    ("certificate required", Transport.REJECTED),
    ("alert", Transport.REJECTED),
    ("certificate verify failed", Transport.TLS),
    ("tls error", Transport.TLS),
    ("ssl", Transport.TLS),
)

_NAME = re.compile(r"[A-Za-z0-9_.]+")
_POLICY = re.compile(r"ns\[(?P<namespace>[^\]]*)\]-policy\[(?P<policy>[^\]]*)\]-rule\[(?P<rule>\d+)\]")


@dataclass(frozen=True, slots=True)
class Details:
    """What `response_code_details` says.

    Args:
        name: Envoy's name of it, such as `response_timeout` or `upstream_reset_before_response_started`.
        parts: what stood in braces, brackets or parentheses, with spaces.
        reset: how the stream was reset (`remote connection failure`, `connection termination`, `overflow` …), empty
            if it was not.
        transport: why the connection failed, if one did.
        text: the failure in the transport's own words.
        policy: `NAMESPACE/NAME` of the AuthorizationPolicy that denied, empty if none is named.
        rule: number of its rule, from 0.
    """

    name: str
    parts: tuple[str, ...] = ()
    reset: str = ""
    transport: Transport | None = None
    text: str = ""
    policy: str = ""
    rule: int | None = None


def parse_details(text: str | None) -> Details | None:
    """Take `response_code_details` apart.

    Example:
        >>> d = parse_details("upstream_reset_before_response_started{remote_connection_failure|"
        ...                   "delayed_connect_error:_Connection_refused}")
        >>> d.reset, d.transport.value, d.text
        ('remote connection failure', 'connection refused', 'delayed connect error: Connection refused')
        >>> parse_details("rbac_access_denied_matched_policy[ns[shop]-policy[deny-all]-rule[0]]").policy
        'shop/deny-all'
    """
    if not text or text == "-":
        return None
    match = _NAME.match(text)
    if match is None:
        return Details(text)
    name, rest = match.group(), text[match.end() :]
    inner = rest[1:-1] if rest[:1] in ("{", "[", "(") and rest[-1:] in ("}", "]", ")") else rest
    if name.startswith("rbac_access_denied"):
        policy = _POLICY.search(inner)
        if policy is None:
            return Details(name, (inner,) if inner else ())
        named = f"{policy['namespace']}/{policy['policy']}"
        return Details(name, (inner,), policy=named, rule=int(policy["rule"]))
    if not name.startswith("upstream_reset"):
        return Details(name, (_spaces(inner),) if inner else ())
    reset, failure = (*re.split(r"[|,]", inner, maxsplit=1), "")[:2]
    parts = tuple(_spaces(part) for part in (reset, failure) if part)
    return Details(name, parts, _spaces(reset), transport_kind(failure), _spaces(failure))


def transport_kind(text: str | None) -> Transport | None:
    """What kind of failure a transport failure reason tells of.

    Args:
        text: `upstream_transport_failure_reason`, or the same text within `response_code_details`.

    Example:
        >>> str(transport_kind("TLS_error:|268435703:SSL_routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end"))
        'the other side does not speak TLS'
    """
    if not text or text == "-":
        return None
    plain = _spaces(text).lower()
    return next((kind for piece, kind in _TRANSPORT if piece in plain), Transport.OTHER)


def _spaces(text: str) -> str:
    return text.replace("_", " ")
