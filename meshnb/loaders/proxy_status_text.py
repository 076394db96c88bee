"""What istioctl prints, pasted or saved: `proxy-status` in every layout since 1.5."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from meshnb.loaders import syncz
from meshnb.loaders.documents import Source, read_document
from meshnb.loaders.text_table import decode_text, read_text_table
from meshnb.model.frame import returns
from meshnb.model.tables.sync import PROXY_STATUS

if TYPE_CHECKING:
    import pandas as pd

_NOT_TYPES = ("NAME", "CLUSTER", "ISTIOD", "PILOT", "VERSION", "SUBSCRIBED TYPES")
_CELL = re.compile(r"(?P<status>[A-Z][A-Z_ ]*[A-Z])\s*(?P<never>\(Never Acknowledged\))?\s*(?:\((?P<rest>[^)]*)\))?")
_AGE = re.compile(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@returns(PROXY_STATUS)
def read_proxy_status(data: bytes | str, *, now: datetime | None = None, file: str = "") -> pd.DataFrame:
    r"""What `istioctl proxy-status` printed: the table of any release, or its JSON or YAML.

    Since 1.27 the plain table names the subscribed types alone; `status` is missing there, and `-v 1` or `-o json`
    show it.

    Args:
        data: text, JSON or YAML.
        now: when it was printed; turns ages into times.
        file: how to name it in an error.

    Raises:
        FormatError: not what `istioctl proxy-status` prints.

    Example:
        >>> text = "NAME    CDS    LDS    ISTIOD    VERSION\na.b    SYNCED    STALE    istiod-1    1.17.8"
        >>> read_proxy_status(text)[["proxy", "type", "status"]].values.tolist()
        [['a.b', 'CDS', 'SYNCED'], ['a.b', 'LDS', 'STALE']]
    """
    text = decode_text(data)
    if not re.search(r"^\s*NAME\s", text, re.MULTILINE):
        return syncz.read_syncz(text, now=now, file=file)
    rows = read_text_table(text, first="NAME", file=file, hint="save it with: istioctl proxy-status > FILE")
    return PROXY_STATUS.rows(made for row in rows for made in _proxy(row, now))


@returns(PROXY_STATUS)
def read_sync_status(source: Source, *, istiod: str = "", now: datetime | None = None) -> pd.DataFrame:
    """Whether proxies took what istiod sent them, from a file or text of any shape.

    Args:
        source: path, bytes or decoded JSON: `/debug/syncz` of istiod or of an agent, `istioctl proxy-status` as table,
            JSON or YAML, `istioctl x internal-debug syncz --all`.
        istiod: pod that answered; its HTTP answer does not name it.
        now: when it was; turns ages into times and times into ages.

    Raises:
        NotFound: no such file.
        FormatError: none of these.

    Example:
        >>> read_sync_status(b'[{"proxy": "a.b", "cluster_sent": "1"}]').query("type == 'CDS'").status.tolist()
        ['STALE']
    """
    data, name = read_document(source)
    frame = read_proxy_status(data, now=now, file=name)
    return frame.assign(istiod=frame.istiod.fillna(istiod)) if istiod else frame


def _proxy(row: dict[str, str], now: datetime | None) -> list[dict[str, Any]]:
    common = {
        "proxy": row["NAME"],
        "cluster": row.get("CLUSTER") or None,
        "istiod": row.get("ISTIOD") or row.get("PILOT") or None,
        "version": row.get("VERSION") or None,
    }
    if "SUBSCRIBED TYPES" in row:
        # `4 (CDS,LDS,EDS,RDS)`: which types, not how they are
        types = re.findall(r"[\w./]+", row["SUBSCRIBED TYPES"].partition("(")[2])
        return [{**common, "type": name, "type_url": _url(name)} for name in types]
    cells = {name: text for name, text in row.items() if name not in _NOT_TYPES and text}
    return [{**common, "type": name, "type_url": _url(name), **_cell(text, now)} for name, text in cells.items()]


def _url(name: str) -> str | None:
    return name if "/" in name else syncz.URL.get(name)


def _cell(text: str, now: datetime | None) -> dict[str, Any]:
    match = _CELL.fullmatch(text.strip())
    if match is None:
        return {"status": text}
    status = match["status"].replace("_", " ")
    parts = _AGE.findall(match["rest"] or "")
    age = sum(float(number) * _SECONDS[unit] for number, unit in parts) if parts else None
    return {
        "status": status,
        "never_acknowledged": bool(match["never"]) if status == "STALE" else None,
        "age_s": age,
        "last_updated": now - timedelta(seconds=age) if now and age is not None else None,
    }
