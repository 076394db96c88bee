"""Access log formats: Envoy's format strings, compiled into a way to split a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from meshnb.errors import FormatError, UsageError

# operator of Envoy's format strings -> column; the part before `?` of a header operator decides
_OPERATORS = {
    "START_TIME": "start_time",
    "REQ(:METHOD)": "method",
    "REQ(X-ENVOY-ORIGINAL-PATH?:PATH)": "path",
    "REQ(:PATH)": "path",
    "PROTOCOL": "protocol",
    "RESPONSE_CODE": "response_code",
    "RESPONSE_FLAGS": "response_flags",
    "RESPONSE_FLAGS_LONG": "response_flags",
    "RESPONSE_CODE_DETAILS": "response_code_details",
    "CONNECTION_TERMINATION_DETAILS": "connection_termination_details",
    "UPSTREAM_TRANSPORT_FAILURE_REASON": "upstream_transport_failure_reason",
    "BYTES_RECEIVED": "bytes_received",
    "BYTES_SENT": "bytes_sent",
    "DURATION": "duration_ms",
    "RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)": "upstream_service_time_ms",
    "REQ(X-FORWARDED-FOR)": "x_forwarded_for",
    "REQ(USER-AGENT)": "user_agent",
    "REQ(X-REQUEST-ID)": "request_id",
    "STREAM_ID": "request_id",
    "REQ(:AUTHORITY)": "authority",
    "REQ(X-ENVOY-ORIGINAL-HOST?:AUTHORITY)": "authority",
    "UPSTREAM_HOST": "upstream_host",
    "UPSTREAM_CLUSTER": "upstream_cluster",
    "UPSTREAM_CLUSTER_RAW": "upstream_cluster",
    "UPSTREAM_LOCAL_ADDRESS": "upstream_local_address",
    "DOWNSTREAM_LOCAL_ADDRESS": "downstream_local_address",
    "DOWNSTREAM_REMOTE_ADDRESS": "downstream_remote_address",
    "REQUESTED_SERVER_NAME": "requested_server_name",
    "ROUTE_NAME": "route_name",
    "DYNAMIC_METADATA(ISTIO.MIXER:STATUS)": "istio_policy_status",
}

_REQUEST = '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% '
_CLIENT = (
    "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    '"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"'
)
_ADDRESSES = (
    " %UPSTREAM_CLUSTER% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%"
)

TEXT_FORMATS = {
    "istio": _REQUEST
    + "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "
    + '"%UPSTREAM_TRANSPORT_FAILURE_REASON%" '
    + _CLIENT
    + _ADDRESSES.replace("CLUSTER%", "CLUSTER_RAW%"),
    # Istio 1.3 to 1.8, when Mixer's verdict was logged
    "istio-1.8": _REQUEST
    + '%RESPONSE_FLAGS% "%DYNAMIC_METADATA(istio.mixer:status)%" "%UPSTREAM_TRANSPORT_FAILURE_REASON%" '
    + _CLIENT
    + _ADDRESSES,
    "envoy": _REQUEST + "%RESPONSE_FLAGS% " + _CLIENT,
}
"""Formats that are recognised without being told: Istio's today, Istio's before 1.9, Envoy's own default."""

JSON_KEYS = {column.removesuffix("_ms"): column for column in _OPERATORS.values() if column != "istio_policy_status"}
"""Key of Istio's JSON format -> column."""

_OPERATOR = re.compile(r"%%|%(?P<name>[A-Z_]+)(?P<argument>\([^)]*\))?(?P<length>:\d+)?%")


@dataclass(frozen=True, slots=True)
class Operator:
    """A command operator of a format string.

    Args:
        text: as written, without its `%`.
        column: column it fills; for operators without one of their own, a name made from the operator.
    """

    text: str
    column: str


@dataclass(frozen=True, slots=True)
class Part:
    """At most one operator, with literal text around it."""

    before: str
    operator: Operator | None = None
    after: str = ""


@dataclass(frozen=True, slots=True)
class Segment:
    """What stands between two double quotes of the format.

    Args:
        parts: one part for the whole of it, or one per piece between spaces.
    """

    parts: tuple[Part, ...]

    @property
    def cut(self) -> bool:
        """Whether it is to be split on spaces."""
        return len(self.parts) > 1


@dataclass(frozen=True)
class TextFormat:
    """A text format.

    Args:
        name: how to name it to the user.
        text: Envoy's format string.

    Example:
        >>> TextFormat("envoy", TEXT_FORMATS["envoy"]).columns[:3]
        ['start_time', 'method', 'path']
    """

    name: str
    text: str

    @cached_property
    def tokens(self) -> list[str | Operator]:
        """Literal text and operators, in order."""
        return parse_format(self.text.rstrip("\n"))

    @property
    def columns(self) -> list[str]:
        """Columns it fills, in order."""
        return [token.column for token in self.tokens if isinstance(token, Operator)]

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """How to split a line on quotes and spaces; empty if the format needs a regular expression."""
        segments = []
        for tokens in _split(self.tokens, '"'):
            groups = [tokens] if len(_operators(tokens)) < 2 else _split(tokens, " ")
            parts = [_part(group) for group in groups]
            if any(len(_operators(group)) > 1 for group in groups) or any("(%" in _text(part) for part in parts):
                return ()
            segments.append(Segment(tuple(parts)))
        return tuple(segments)

    @cached_property
    def regex(self) -> str:
        """The same as a regular expression (RE2) with a group per operator, for lines that do not split cleanly."""
        pieces, quoted = [], False
        for i, token in enumerate(self.tokens):
            if isinstance(token, str):
                pieces.append(re.escape(token).replace('\\"', '"').replace("\\ ", " "))
                quoted ^= token.count('"') % 2 == 1
                continue
            after = self.tokens[i + 1] if i + 1 < len(self.tokens) else ""
            before = self.tokens[i - 1] if i else ""
            alone = quoted and str(before)[-1:] == '"' and str(after)[:1] == '"'
            if "(%" in token.text or (alone and token.column not in _NEVER_QUOTES):
                pieces.append("(.*?)")
            else:
                pieces.append('([^"]*?)' if alone or (quoted and token.column == "path") else r"(\S*?)")
        return "^" + "".join(pieces) + r"\s*$"

    @property
    def time_format(self) -> str:
        """The format of its start time as Envoy writes it, empty for ISO 8601."""
        for token in self.tokens:
            if isinstance(token, Operator) and token.text.startswith("START_TIME("):
                return token.text.removeprefix("START_TIME(").rstrip(")")
        return ""

    def mismatch(self, line: str) -> tuple[int, str]:
        """Where a line leaves the format: the position in it, and the piece of the format expected there.

        Example:
            >>> TextFormat("mine", "[%START_TIME%] %DURATION%ms").mismatch("[2026-11-23T09:03:08.745Z] 12 ms")
            (29, 'ms')
        """
        position, pattern, quoted = 0, "", False
        for token in self.tokens:
            if isinstance(token, Operator):
                pattern += r"[^\"]*?" if quoted else r"[^\s\"]*?"
                continue
            quoted ^= token.count('"') % 2 == 1
            match = re.match(pattern + re.escape(token), line)
            if match is None:
                value = re.match(pattern + r"(?=[\s\"]|$)", line)
                return (value.end() if value and pattern else position), token
            pattern, position = pattern + re.escape(token), match.end()
        return len(line) if re.match(pattern + "$", line) else position, "the end of the line"


# columns whose value Envoy itself makes or checks, so that no client can smuggle a quote into them
_NEVER_QUOTES = {"request_id", "authority", "upstream_host", "istio_policy_status"}


def parse_format(text: str) -> list[str | Operator]:
    """Literal text and operators of a format string, in order.

    Raises:
        FormatError: a `%` that begins no operator; names the position.

    Example:
        >>> parse_format("%DURATION% ms")
        [Operator(text='DURATION', column='duration_ms'), ' ms']
    """
    tokens: list[str | Operator] = []
    literal, position = "", 0
    for match in _OPERATOR.finditer(text):
        literal += _literal(text, position, match.start())
        position = match.end()
        if match.group() == "%%":
            literal += "%"
            continue
        if literal:
            tokens.append(literal)
            literal = ""
        tokens.append(Operator(match.group()[1:-1], column_of(match.group()[1:-1])))
    literal += _literal(text, position, len(text))
    return [*tokens, literal] if literal else tokens


def _literal(text: str, start: int, end: int) -> str:
    piece = text[start:end]
    if "%" in piece:
        raise FormatError(
            "a % that begins no operator",
            file="access log format",
            position=f"character {start + piece.index('%') + 1}",
            hint="write operators as %NAME% or %NAME(ARGUMENT)%, and a percent sign as %%",
        )
    return piece


def column_of(operator: str) -> str:
    """The column an operator fills.

    Example:
        >>> column_of("REQ(USER-AGENT):20"), column_of("GRPC_STATUS(CAMEL_STRING)"), column_of("REQ(X-TENANT)")
        ('user_agent', 'grpc_status_camel_string', 'req_x_tenant')
    """
    name = re.sub(r"\):\d+$", ")", operator)
    if name.startswith("START_TIME("):
        return "start_time"
    known = _OPERATORS.get(name.upper())
    return known or re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def json_keys(template: Mapping[str, object]) -> dict[str, str]:
    """Key -> column of a custom JSON format; keys whose operator has no column keep their own name."""
    columns: dict[str, str] = {}
    for key, value in template.items():
        match = _OPERATOR.fullmatch(value) if isinstance(value, str) else None
        column = column_of(value[1:-1]) if match and isinstance(value, str) else key
        taken = column in columns.values()
        columns[key] = column if column in JSON_KEYS.values() and not taken else key
    return columns


def _split(tokens: Iterable[str | Operator], at: str) -> list[list[str | Operator]]:
    """Tokens split wherever their literal text holds `at`."""
    groups: list[list[str | Operator]] = [[]]
    for token in tokens:
        if isinstance(token, Operator):
            groups[-1].append(token)
            continue
        first, *others = token.split(at)
        if first:
            groups[-1].append(first)
        groups += [[other] if other else [] for other in others]
    return groups


def _operators(tokens: list[str | Operator]) -> list[Operator]:
    return [token for token in tokens if isinstance(token, Operator)]


def _part(tokens: list[str | Operator]) -> Part:
    operators = _operators(tokens)
    if not operators:
        return Part("".join(map(str, tokens)))
    at = tokens.index(operators[0])
    return Part("".join(map(str, tokens[:at])), operators[0], "".join(map(str, tokens[at + 1 :])))


def _text(part: Part) -> str:
    """The operator as written; a time format in it (`START_TIME(%Y %m)`) may hold spaces."""
    return part.operator.text if part.operator else ""


LogFormat = str | Mapping[str, object]
"""A custom format: Envoy's format string, its JSON format as a mapping or as text, or a MeshConfig."""


def parse_log_format(given: LogFormat) -> tuple[TextFormat | None, dict[str, str]]:
    """A custom format as a text format, or as key → column of a JSON format.

    Args:
        given: see `LogFormat`. Of a MeshConfig, `accessLogFormat` and `accessLogEncoding` count.

    Raises:
        FormatError: an operator is not closed, or the JSON format is no JSON object.
        UsageError: nothing in it is a format.

    Example:
        >>> parse_log_format({"accessLogEncoding": "JSON", "accessLogFormat": '{"ms": "%DURATION%"}'})
        (None, {'ms': 'duration_ms'})
    """
    if isinstance(given, Mapping) and ("accessLogFormat" in given or "accessLogEncoding" in given):
        given = str(given.get("accessLogFormat") or "")
        if not given:
            return None, {}  # Istio's default, which is recognised anyway
    if isinstance(given, str) and given.lstrip().startswith("{"):
        try:
            given = json.loads(given)
        except ValueError as error:
            raise FormatError(f"the JSON format is no JSON: {error}", file="access log format") from error
    if isinstance(given, Mapping):
        return None, json_keys(given)
    if "%" not in given:
        raise UsageError(
            f"{given[:60]!r} is no access log format",
            hint="give Envoy's format string with its %OPERATORS%, a JSON format, or the MeshConfig",
        )
    text_format = TextFormat("custom", given)
    text_format.tokens  # noqa: B018 - raises on a broken format
    return text_format, {}
