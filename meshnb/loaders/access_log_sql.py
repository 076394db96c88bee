"""The SQL that makes rows of access log lines. It runs in DuckDB; one layer of the query per step.

`lines` (file_id, no, line, bad) → `stripped` (prefix of `kubectl logs` off) → `split` (JSON decoded, TEXT cut at quotes
and spaces) → `fields` (one text column per field) → `typed` (numbers, times, flags; `reason` for what is no row).
"""

# ruff: noqa: S608 - every value put into the SQL goes through quote() or name(), or is a name declared in a Frame

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from meshnb.envoy.flags import known_flags
from meshnb.loaders.access_log_format import JSON_KEYS, TEXT_FORMATS, Segment, TextFormat
from meshnb.loaders.access_log_lines import EXCERPT

NUMBERS = ("response_code", "bytes_received", "bytes_sent", "duration_ms", "upstream_service_time_ms")
_FIELDS = tuple(JSON_KEYS.values())
_TELLING = ("start_time", "response_code", "response_flags", "duration_ms")

# `kubectl logs --prefix`, `--timestamps`, and the file of a container runtime
_PREFIX = r"^(\[pod/[^\]]+\] )?(\d{4}-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:\d\d) )?((stdout|stderr) [FP] )?"
_ISTIO_LINE = r"^\d{4}-\d\d-\d\dT[0-9:.]+Z\t(trace|debug|info|warn|warning|error|critical|fatal|none)\t"
_ENVOY_LINE = r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+\]\[\d+\]\[\w+\]"

OTHER_REASONS = {
    "envoy": "application log of Envoy",
    "agent": "application log of pilot-agent",
    "blank": "blank line",
    "json": "JSON, and no access log line",
    "cut": "not JSON: cut short or damaged",
    "text": "does not match the access log format",
    "number": "a field holds no number or time where one belongs",
    "other": "not an access log line",
}


@dataclass(frozen=True)
class Plan:
    """How the lines of some files are read.

    Args:
        formats: text formats to try, likeliest first.
        keys: key of a JSON line -> column.
    """

    formats: Sequence[TextFormat] = field(
        default_factory=lambda: tuple(TextFormat(name, text) for name, text in TEXT_FORMATS.items())
    )
    keys: Mapping[str, str] = field(default_factory=lambda: dict(JSON_KEYS))

    @property
    def telling(self) -> tuple[str, ...]:
        """Columns of which an access log line has at least one; JSON of something else has none."""
        return _TELLING if set(_TELLING) <= set(self.keys.values()) else tuple(dict.fromkeys(self.keys.values()))

    @property
    def long_flags(self) -> bool:
        """Whether a format writes flags by their long names."""
        return any("%RESPONSE_FLAGS_LONG%" in f.text for f in self.formats)

    @property
    def extra(self) -> list[str]:
        """Columns beyond Istio's 24, in order."""
        columns = [*self.keys.values(), *(column for f in self.formats for column in f.columns)]
        return [column for column in dict.fromkeys(columns) if column not in _FIELDS]

    def only(self, sql: str) -> Plan:
        """The plan without decoding JSON keys whose column an SQL text does not name; it costs a third less."""
        named = set(re.findall(r"\w+", sql.lower()))
        needed = named | set(self.telling) | ({"response_flags"} if "flag_set" in named else set())
        return replace(self, keys={k: c for k, c in self.keys.items() if c in needed or not c.isidentifier()})


def quote(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def name(text: str) -> str:
    """A SQL name."""
    return '"' + text.replace('"', '""') + '"'


def pick(values: Sequence[str]) -> str:
    """The value of a row's file, by `file_id`."""
    if len(set(values)) == 1:
        return quote(values[0])
    return f"[{', '.join(map(quote, values))}][file_id + 1]"


def query(plan: Plan, *, source: str = "lines") -> str:
    """All layers as one query: every line a row, either with fields or with a `reason`."""
    return f"""
WITH stripped AS ({_stripped(source)}),
split AS ({_split(plan)}),
matched AS ({_matched(plan)}),
fields AS ({_fields(plan)}),
typed AS ({_typed(plan)})
SELECT * EXCLUDE (text, bad, parsed, wrong), {_reason()} AS reason,
  CASE WHEN bad IS NOT NULL OR NOT parsed OR wrong THEN left(rtrim(text, E'\\r\\n'), {EXCERPT}) END AS excerpt
FROM typed"""


def _stripped(source: str) -> str:
    return f"""
SELECT * EXCLUDE (line, prefix), prefix,
  CASE WHEN prefix <> '' THEN substr(line, length(prefix) + 1) ELSE line END AS text
FROM (SELECT *, CASE WHEN starts_with(line, '[pod/') OR starts_with(line, '2')
                THEN regexp_extract(line, {quote(_PREFIX)}) ELSE '' END AS prefix FROM {source})"""


def _split(plan: Plan) -> str:
    spec = json.dumps(dict.fromkeys(plan.keys, "VARCHAR"))
    return f"""
SELECT *, CASE WHEN bad IS NULL AND starts_with(text, '{{') THEN try(from_json(text, {quote(spec)})) END AS j,
  CASE WHEN bad IS NULL AND NOT starts_with(text, '{{') THEN string_split(text, '"') END AS q
FROM stripped"""


def _matched(plan: Plan) -> str:
    """Which text format a line has (`fit`): by the number of pieces between quotes, and between spaces within them.

    Only lines that fit none are tried with regular expressions (`r`), which cost ten times as much.
    """
    cuts = {(i, i == len(f.segments) - 1) for f in plan.formats for i, s in enumerate(f.segments) if s.cut}
    sizes = sorted({len(f.segments) for f in plan.formats if f.segments})
    splits = []
    for i in sorted({i for i, _ in cuts}):
        # the newline is still there, at the end of the last piece
        piece = f"rtrim(q[{i + 1}], E'\\r\\n')" if (i, True) in cuts else f"q[{i + 1}]"
        splits.append(f"CASE WHEN len(q) IN ({', '.join(map(str, sizes))}) THEN string_split({piece}, ' ') END AS s{i}")
    fits = [f"WHEN {' AND '.join(_tests(f.segments))} THEN {k}" for k, f in enumerate(plan.formats) if f.segments]
    fit = f"CASE WHEN q IS NULL THEN NULL {' '.join(fits)} END" if fits else "NULL::INTEGER"
    regexes = [
        f"CASE WHEN fit IS NULL AND len(q) > {f.text.count(chr(34))} AND regexp_matches(text, {quote(f.regex)}) "
        f"THEN regexp_extract(text, {quote(f.regex)}, {[f'g{i}' for i in range(len(f.columns))]}) END AS r{k}"
        for k, f in enumerate(plan.formats)
    ]
    return f"""
SELECT {", ".join(["*", *regexes])}
FROM (SELECT *, {fit} AS fit FROM (SELECT {", ".join(["*", *splits])} FROM split))"""


def _piece(segments: tuple[Segment, ...], i: int, k: int) -> str:
    if segments[i].cut:
        return f"s{i}[{k + 1}]"
    return f"rtrim(q[{i + 1}], E'\\r\\n')" if i == len(segments) - 1 else f"q[{i + 1}]"


def _tests(segments: tuple[Segment, ...]) -> list[str]:
    tests = [f"len(q) = {len(segments)}"]
    for i, segment in enumerate(segments):
        tests += [f"len(s{i}) = {len(segment.parts)}"] if segment.cut else []
        for k, part in enumerate(segment.parts):
            piece = _piece(segments, i, k)
            if part.operator is None:
                tests.append(f"{piece} = {quote(part.before)}")
                continue
            tests += [f"starts_with({piece}, {quote(part.before)})"] if part.before else []
            tests += [f"ends_with({piece}, {quote(part.after)})"] if part.after else []
    return tests


def _text_columns(plan: Plan) -> list[str]:
    return list(dict.fromkeys(column for f in plan.formats for column in f.columns))


def _fields(plan: Plan) -> str:
    """One text column per field, `-` and null as missing."""
    values: dict[str, list[str]] = {column: [] for column in [*_FIELDS, *plan.extra]}
    for key, column in plan.keys.items():
        values[column].append(f"j.{name(key)}")
    for column in _text_columns(plan):
        whens = " ".join(
            f"WHEN {k} THEN {value}" for k, f in enumerate(plan.formats) if (value := _cut_value(f.segments, column))
        )
        values[column] += [f"CASE fit {whens} END"] if whens else []
        values[column] += [
            f"r{k}.g{f.columns.index(column)}" for k, f in enumerate(plan.formats) if column in f.columns
        ]
    first = {column: f"coalesce({', '.join([*v, 'NULL::VARCHAR'])})" for column, v in values.items()}
    columns = [f"nullif({v}, '-') AS {name(column)}" for column, v in first.items() if column != "response_flags"]
    shaped = " OR ".join(f"{x} IS NOT NULL" for x in ["j", "fit", *(f"r{k}" for k in range(len(plan.formats)))])
    return f"""
SELECT file_id, no, text, prefix, bad, ({shaped}) AS shaped,
  {first["response_flags"]} AS response_flags, {", ".join(columns)} FROM matched"""


def _cut_value(segments: tuple[Segment, ...], column: str) -> str:
    for i, segment in enumerate(segments):
        for k, part in enumerate(segment.parts):
            if part.operator and part.operator.column == column:
                piece, before, after = _piece(segments, i, k), len(part.before), len(part.after)
                return f"{piece}[{before + 1}:-{after + 1}]" if before or after else piece
    return ""


def _time(plan: Plan) -> str:
    """The start time, in UTC: ISO 8601, or as a custom format writes it."""
    tries = ["try_cast(start_time AS TIMESTAMP)"]
    for given in dict.fromkeys(f.time_format for f in plan.formats if f.time_format):
        if given.startswith("%s"):  # seconds since 1970, with or without a fraction
            tries.append("make_timestamp((try_cast(start_time AS DECIMAL(20, 6)) * 1000000)::BIGINT)")
            continue
        pattern = given.replace("%T", "%H:%M:%S").replace("%F", "%Y-%m-%d")
        for envoy, duckdb in (("%3f", "%g"), ("%6f", "%f"), ("%9f", "%n"), ("%E3S", "%S.%g"), ("%E6S", "%S.%f")):
            pattern = pattern.replace(envoy, duckdb)
        tries.append(f"try_strptime(start_time, {quote(pattern)})")
    return f"coalesce({', '.join(tries)})" if len(tries) > 1 else tries[0]


def _short_flags(plan: Plan) -> str:
    """`response_flags` with long names (`%RESPONSE_FLAGS_LONG%`) made short, where a format has them."""
    if not plan.long_flags:
        return "response_flags"
    names = {flag.name: flag.flag for flag in known_flags().values()}
    short = f"MAP {{{', '.join(f'{quote(k)}: {quote(v)}' for k, v in names.items())}}}"
    return (
        "array_to_string(list_transform(string_split(response_flags, ','), "
        f"lambda flag: coalesce({short}[flag], flag)), ',')"
    )


def _typed(plan: Plan) -> str:
    """Numbers as numbers, times in UTC, flags as a list and as a set."""
    numbers = [f"try_cast({c} AS BIGINT) AS {c}" for c in NUMBERS]
    time = _time(plan)
    # a number may be missing; text in its place means that the line is not what it seems
    wrong = " OR ".join(f"({c} IS NOT NULL AND try_cast({c} AS BIGINT) IS NULL)" for c in NUMBERS)
    plain = [c for c in [*_FIELDS, *plan.extra] if c not in (*NUMBERS, "start_time", "response_flags")]
    known = " OR ".join(f"{name(c)} IS NOT NULL" for c in plan.telling).replace('"response_flags"', "rf")
    return f"""
SELECT file_id, no, text, prefix, bad, shaped AND ({known}) AS parsed,
  {wrong} OR (start_time IS NOT NULL AND {time} IS NULL) AS wrong,
  {time} AS start_time, {", ".join(numbers)}, {", ".join(map(name, plain))},
  CASE WHEN rf = '-' THEN [] ELSE string_split(rf, ',') END AS response_flags,
  CASE WHEN rf = '-' THEN NULL
       WHEN contains(rf, ',') THEN array_to_string(list_sort(string_split(rf, ',')), ',')
       ELSE rf END AS flag_set
FROM (SELECT * EXCLUDE (response_flags), {_short_flags(plan)} AS rf FROM fields)"""


def _reason() -> str:
    why = OTHER_REASONS
    return f"""CASE WHEN bad IS NOT NULL THEN bad WHEN parsed AND NOT wrong THEN NULL
  WHEN parsed THEN {quote(why["number"])}
  WHEN trim(text, E' \\t\\r\\n') = '' THEN {quote(why["blank"])}
  WHEN starts_with(text, '{{') THEN
    CASE WHEN json_valid(text) THEN {quote(why["json"])} ELSE {quote(why["cut"])} END
  WHEN regexp_matches(text, {quote(_ISTIO_LINE + "envoy ")}) OR regexp_matches(text, {quote(_ENVOY_LINE)})
    THEN {quote(why["envoy"])}
  WHEN regexp_matches(text, {quote(_ISTIO_LINE)}) THEN {quote(why["agent"])}
  WHEN starts_with(text, '[') THEN {quote(why["text"])}
  ELSE {quote(why["other"])} END"""
