"""Prometheus' answers → tidy frames: one column per label, `time`, `value`; pure.

Samples are parsed as text by Arrow without making Python objects of them, labels become categoricals by repeated codes:
a tenth of the time and a fraction of the memory of the usual loop (`benchmarks/prometheus_decode.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meshnb.errors import FormatError
from meshnb.model.frame import returns
from meshnb.model.tables.control_plane import ALERTS, HISTOGRAM_SAMPLES, LABELS, METADATA, RULES, TARGETS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from meshnb.loaders.prometheus_answer import Series

_BLOCK = 4 << 20
"""Bytes of samples taken apart at a time: what is needed beside the answer and the frame."""
_RESERVED = ("time", "value", "histogram_count", "histogram_sum")


def read_samples(
    answers: bytes | Sequence[bytes], *, query: str = "", file: str = "", limit: int | None = None
) -> pd.DataFrame:
    """Samples of one query, from one answer or from the parts of a split range.

    A label named like one of our columns gets the prefix `label_`. A native histogram becomes a row without `value` and
    with `histogram_count` and `histogram_sum`; its buckets are in `read_histograms`. `attrs` holds the query, the
    server's warnings and infos, and the labels renamed.

    Args:
        answers: raw answers of `/query` or `/query_range`, in order.
        query: the query, for `attrs` and errors.
        file: name of the document, for errors.
        limit: most samples to make a frame of.

    Raises:
        FormatError: not an answer of Prometheus, cut short, or more samples than `limit`.

    Example:
        >>> series = b'{"metric":{"type":"cds"},"value":[1700000000,"3"]}'
        >>> frame = read_samples(b'{"data":{"resultType":"vector","result":[' + series + b"]}}")
        >>> frame["type"][0], str(frame["time"][0]), float(frame["value"][0])
        ('cds', '2023-11-14 22:13:20+00:00', 3.0)
    """
    series, notes = _series(answers, file=file or query)
    counts = [_count(one) for one in series]
    if limit is not None and sum(counts) > limit:
        raise FormatError(
            f"the answer holds {sum(counts):,} samples, more than {limit:,}",
            file=file or query,
            hint="aggregate in the query, lengthen the step, or give a higher limit=",
        )
    times, values = _numbers(series, counts, file=file or query)
    frame = _tidy([one.metric for one in series], counts, times, values)
    histograms = [one for one in series if bytes(one.histograms) or bytes(one.histogram)]
    if histograms:
        frame = _with_histograms(frame, histograms, file=file or query)
    frame.attrs = {"query": query, **notes, "renamed": _renamed(one.metric for one in series)}
    return frame


def _series(answers: bytes | Sequence[bytes], *, file: str) -> tuple[list[Series], dict[str, list[str]]]:
    import msgspec

    from meshnb.loaders.prometheus_answer import Answer, Series

    notes: dict[str, list[str]] = {"warnings": [], "infos": []}
    result: list[Series] = []
    for raw in [answers] if isinstance(answers, bytes) else answers:
        try:
            answer = msgspec.json.decode(raw, type=Answer)
            kind = answer.data.resultType
            if kind == "scalar":
                result.append(Series(value=answer.data.result))
            elif kind in ("vector", "matrix"):
                result += msgspec.json.decode(answer.data.result, type=list[Series])
            else:
                raise FormatError(f"not samples but {kind or 'an answer without resultType'}", file=file)
        except msgspec.MsgspecError as error:
            raise FormatError(f"not an answer of Prometheus: {error}", file=file, hint="fetch it again") from error
        for name, found in (("warnings", answer.warnings), ("infos", answer.infos)):
            notes[name] += [text for text in found or [] if text not in notes[name]]
    return result, notes


def _count(one: Series) -> int:
    """Samples of a series: each is a list of its own."""
    raw = bytes(one.values)
    return (raw.count(b"[") - 1 or int(bool(raw.strip(b"[] \n\r\t")))) if raw else int(bool(bytes(one.value)))


def _text(one: Series) -> bytes:
    """Samples `[[t,"v"],…]` or `[t,"v"]` as lines `t,v`."""
    raw = bytes(one.values) or bytes(one.value)
    if any(space in raw for space in b" \n\t"):
        raw = raw.translate(None, b" \n\r\t")
    return raw.replace(b"],[", b"\n").translate(None, b'[]"+')


def _numbers(series: Sequence[Series], counts: Sequence[int], *, file: str) -> tuple[np.ndarray, np.ndarray]:
    """Times in µs and values, into arrays of their final size: of the text only a block at a time is taken apart."""
    import numpy as np

    times, values = np.empty(sum(counts), "int64"), np.empty(sum(counts))
    begin = end = size = 0
    block: list[bytes] = []
    last = len(series) - 1
    for number, (one, count) in enumerate(zip(series, counts, strict=True)):
        if count:
            block.append(_text(one))
            size += len(block[-1])
            end += count
        if block and (size >= _BLOCK or number == last):
            times[begin:end], values[begin:end] = _parsed(b"\n".join(block), end - begin, file=file)
            begin, size, block = end, 0, []
    return times, values


def _parsed(text: bytes, count: int, *, file: str) -> tuple[np.ndarray, np.ndarray]:
    """Times in µs and values of so many lines `t,v`, parsed by Arrow without making Python objects."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv as csv

    double = pa.float64()
    try:
        table = csv.read_csv(
            pa.py_buffer(text),
            read_options=csv.ReadOptions(column_names=["time", "value"], block_size=_BLOCK // 4),
            convert_options=csv.ConvertOptions(column_types={"time": double, "value": double}, null_values=[]),
        )
    except pa.ArrowInvalid as error:
        raise FormatError(f"a sample is not a time and a number: {error}", file=file, hint="fetch it again") from error
    if len(table) != count:
        raise FormatError(f"{len(table)} samples instead of {count}", file=file, hint="fetch it again")
    times = table["time"].to_numpy()
    return np.round(times * 1e3).astype("int64") * 1000, table["value"].to_numpy()


def _names(metrics: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Label → column, in the order met."""
    labels = dict.fromkeys(name for metric in metrics for name in metric)
    columns: dict[str, str] = {}
    for label in labels:
        column = label
        while column in _RESERVED or (column != label and column in labels) or column in columns.values():
            column = f"label_{column}"
        columns[label] = column
    return columns


def _renamed(metrics: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {label: column for label, column in _names(metrics).items() if label != column}


def _tidy(
    metrics: Sequence[Mapping[str, str]],
    counts: Sequence[int],
    times: np.ndarray,
    values: np.ndarray,
) -> pd.DataFrame:
    """The frame of so many samples a series."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    columns: dict[str, Any] = {}
    for label, column in _names(metrics).items():
        found = [metric.get(label) for metric in metrics]
        codes = {text: code for code, text in enumerate(sorted({text for text in found if text is not None}))}
        smallest = np.min_scalar_type(-max(len(codes), 1))  # as pandas keeps codes, so none are converted
        of_series = np.array([-1 if text is None else codes[text] for text in found], dtype=smallest)
        columns[column] = pd.Categorical.from_codes(np.repeat(of_series, counts), categories=list(codes))
    kind = pa.timestamp("us", tz="UTC")
    stamps = pa.Array.from_buffers(kind, len(times), [None, pa.py_buffer(times)])
    columns["time"] = pd.Series(stamps, dtype=pd.ArrowDtype(kind))
    columns["value"] = values
    return pd.DataFrame(columns, copy=False)


def _with_histograms(frame: pd.DataFrame, series: Sequence[Series], *, file: str) -> pd.DataFrame:
    """The frame with a row for each native histogram."""
    import numpy as np
    import pandas as pd

    samples = [_histogram_samples(one, file=file) for one in series]
    times = np.array([round(at * 1000) * 1000 for of in samples for at, _ in of], dtype="int64")
    missing = np.full(len(times), np.nan)
    rows = _tidy([one.metric for one in series], [len(of) for of in samples], times, missing)
    for name in ("count", "sum"):
        rows[f"histogram_{name}"] = [float(histogram[name]) for of in samples for _, histogram in of]
    both = pd.concat([frame, rows], ignore_index=True) if len(frame) else rows
    last = [name for name in _RESERVED if name in both]
    return both[[name for name in both if name not in last] + last]


def _histogram_samples(one: Series, *, file: str) -> list[tuple[float, dict[str, Any]]]:
    import msgspec

    try:
        raw = bytes(one.histograms) or bytes(one.histogram)
        samples = msgspec.json.decode(raw)
        return samples if bytes(one.histograms) else [samples]
    except (msgspec.MsgspecError, ValueError, KeyError) as error:
        raise FormatError(f"not a native histogram: {error}", file=file) from error


@returns(HISTOGRAM_SAMPLES)
def read_histograms(answers: bytes | Sequence[bytes], *, file: str = "") -> pd.DataFrame:
    """Buckets of native histograms, one row each; series of plain numbers are left to `read_samples`.

    Raises:
        FormatError: not an answer of Prometheus.
    """
    import json
    from datetime import UTC, datetime

    rows: list[dict[str, Any]] = []
    for one in _series(answers, file=file)[0]:
        if not (bytes(one.histograms) or bytes(one.histogram)):
            continue
        for at, histogram in _histogram_samples(one, file=file):
            for rule, lower, upper, count in histogram.get("buckets", []):
                rows.append(
                    {
                        "series": json.dumps(one.metric, sort_keys=True),
                        "time": datetime.fromtimestamp(at, UTC),
                        "lower": float(lower),
                        "upper": float(upper),
                        "closed": ("upper", "lower", "neither", "both")[rule],
                        "count": float(count),
                    }
                )
    return HISTOGRAM_SAMPLES.rows(rows)


def read_series(answer: bytes, *, file: str = "") -> pd.DataFrame:
    """Series, one column per label.

    Raises:
        FormatError: not an answer of Prometheus.
    """
    import pandas as pd

    found = _data(answer, file=file, kind=list)
    names = list(dict.fromkeys(name for labels in found for name in labels))
    return pd.DataFrame({name: pd.array([one.get(name) for one in found], "string[pyarrow]") for name in names})


@returns(LABELS)
def read_labels(answer: bytes, *, label: str = "", file: str = "") -> pd.DataFrame:
    """Names of labels, or the values of `label`.

    Raises:
        FormatError: not an answer of Prometheus.
    """
    found = _data(answer, file=file, kind=list)
    return LABELS.rows({"label": label, "value": one} if label else {"label": one} for one in found)


@returns(METADATA)
def read_metadata(answer: bytes, *, file: str = "") -> pd.DataFrame:
    """Type, unit and help of each metric as its exporters state them.

    Raises:
        FormatError: not an answer of Prometheus.
    """
    found = _data(answer, file=file, kind=dict)
    return METADATA.rows(
        {"metric": name, "type": one.get("type"), "unit": one.get("unit") or None, "help": one.get("help")}
        for name, entries in sorted(found.items())
        for one in entries
    )


@returns(RULES)
def read_rules(answer: bytes, *, file: str = "") -> pd.DataFrame:
    """Alerting and recording rules with their state.

    Raises:
        FormatError: not an answer of Prometheus.
    """
    groups = _data(answer, file=file, kind=dict).get("groups", [])
    return RULES.rows(
        {
            "group": group.get("name"),
            "name": rule.get("name"),
            "type": rule.get("type"),
            "query": rule.get("query"),
            "for_s": float(rule["duration"]) if "duration" in rule else None,
            "state": rule.get("state"),
            "health": rule.get("health"),
            "error": rule.get("lastError") or None,
            "labels": _json(rule.get("labels")),
        }
        for group in groups
        for rule in group.get("rules", [])
    )


@returns(ALERTS)
def read_alerts(answer: bytes, *, file: str = "") -> pd.DataFrame:
    """Alerts that are pending or firing.

    Raises:
        FormatError: not an answer of Prometheus.
    """
    return ALERTS.rows(
        {
            "alert": one.get("labels", {}).get("alertname"),
            "state": one.get("state"),
            "since": _time(one.get("activeAt")),
            "value": float(one["value"]) if "value" in one else None,
            "labels": _json(one.get("labels")),
            "annotations": _json(one.get("annotations")),
        }
        for one in _data(answer, file=file, kind=dict).get("alerts", [])
    )


@returns(TARGETS)
def read_targets(answer: bytes, *, file: str = "") -> pd.DataFrame:
    """What Prometheus scrapes, and how that goes.

    Raises:
        FormatError: not an answer of Prometheus.
    """
    return TARGETS.rows(
        {
            "job": one.get("labels", {}).get("job"),
            "instance": one.get("labels", {}).get("instance"),
            "url": one.get("scrapeUrl"),
            "health": one.get("health"),
            "error": one.get("lastError") or None,
            "scraped": _time(one.get("lastScrape")),
            "duration_s": one.get("lastScrapeDuration"),
            "labels": _json(one.get("labels")),
        }
        for one in _data(answer, file=file, kind=dict).get("activeTargets", [])
    )


def _data(answer: bytes, *, file: str, kind: type) -> Any:
    import msgspec

    try:
        data = msgspec.json.decode(answer)["data"]
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise FormatError(f"not an answer of Prometheus: {error}", file=file) from error
    if not isinstance(data, kind):
        raise FormatError(f"not the answer asked for: a {type(data).__name__}", file=file)
    return data


def _json(value: object) -> str | None:
    import json

    return json.dumps(value, sort_keys=True) if value else None


def _time(text: str | None) -> Any:
    from datetime import datetime

    if not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(text)


def empty_samples() -> pd.DataFrame:
    """A frame of no samples: `time` and `value`, no label."""
    return read_samples(b'{"data":{"resultType":"matrix","result":[]}}')
