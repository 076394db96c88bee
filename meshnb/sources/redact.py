"""Secrets taken out of raw documents before they are written anywhere.

Rules strike text of any document, so they hold for JSON, logs and Prometheus text alike. What is replaced keeps its
place (`[redacted:RULE]`), so documents stay valid and the count can be shown.
"""

from __future__ import annotations

import re
from collections import Counter

# variables whose value is a secret, by the end of their name
_SECRET_NAME = rb"[\w.-]*(?i:passw(?:or)?d|_pass|_pwd|secret|token|credentials?|(?:api|access|private|secret)_?key)"
_RULES: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    (
        "private-key",
        re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    ),
    # base64 of "-----BEGIN ... PRIVATE KEY": Envoy prints keys as inline_bytes, Kubernetes as Secret data
    (
        "private-key",
        re.compile(rb"LS0tLS1CRUdJTi(?:BQUklWQVRFIEtFWS|BFQyBQUklWQVRFIEtFWS|BSU0EgUFJJVkFURSBLRVkt)[A-Za-z0-9+/=]*"),
    ),
    ("jwt", re.compile(rb"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*")),
    (
        "authorization",
        re.compile(rb"(?i)(?<=authorization: bearer )[a-z0-9._~+/=-]{8,}|(?<=authorization: basic )[a-z0-9+/=]{8,}"),
    ),
    # elsewhere what follows must look like a credential: "basic authentication" is prose
    (
        "authorization",
        re.compile(
            rb"(?:(?<=\b[Bb]earer )|(?<=\b[Bb]asic )|(?<=\bBEARER )|(?<=\bBASIC ))"
            rb"(?=[A-Za-z._~+/-]*(?:[0-9=]|[a-z][A-Z])|[A-Za-z0-9._~+/=-]{32})[A-Za-z0-9._~+/=-]{8,}"
        ),
    ),
    ("env", re.compile(rb'("name":\s*"' + _SECRET_NAME + rb'",\s*"value":\s*")(?!\[redacted)(?:[^"\\]|\\.)+')),
    # the same as JSON within JSON, in last-applied-configuration
    (
        "env",
        re.compile(
            rb'("name\\":\s*\\"' + _SECRET_NAME + rb'\\",\s*\\"value\\":\s*\\")(?!\[redacted)(?:[^\\]|\\\\\\"|\\\\)+'
        ),
    ),
    ("url-password", re.compile(rb"(?<=://)[^/\s:@\"']+:[^/\s:@\"']+(?=@)")),
)


def redact(data: bytes) -> tuple[bytes, Counter[str]]:
    """The document without secrets, and how often each rule struck.

    Example:
        >>> redact(b"Authorization: Bearer abcdefgh12345678")
        (b'Authorization: Bearer [redacted:authorization]', Counter({'authorization': 1}))
    """
    struck: Counter[str] = Counter()
    for name, pattern in _RULES:
        kept = rb"\1" if pattern.groups else b""
        data, count = pattern.subn(kept + b"[redacted:" + name.encode() + b"]", data)
        if count:
            struck[name] += count
    return data, struck
