"""Sync status as one line per proxy, a column per type, as `istioctl proxy-status` used to print it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_ORDER = ("CDS", "LDS", "EDS", "RDS")
_BAD = {"ERROR": 0, "STALE": 1, "NOT SENT": 2}


def proxy_status_matrix(proxy_status: pd.DataFrame) -> pd.DataFrame:
    """One row per proxy and istiod, a column per type; the worst proxies first.

    Args:
        proxy_status: table `proxy_status`.

    Returns:
        Columns proxy, cluster, istiod, version, then the types; a cell is a status, with its age where it is known.
    """
    import pandas as pd

    keys = ["proxy", "cluster", "istiod", "version"]
    cells = proxy_status.assign(cell=[_cell(row) for row in proxy_status.itertuples()])
    types = sorted(set(cells.type), key=lambda t: (_ORDER.index(t) if t in _ORDER else len(_ORDER), t))
    rows = []
    for key, group in cells.groupby(keys, dropna=False, sort=True):
        worst = min((_BAD.get(s, 9) for s in group.status.dropna()), default=9)
        of_type = dict(zip(group.type, group.cell, strict=True))
        rows.append((worst, dict(zip(keys, key, strict=True)) | {t: of_type.get(t) for t in types}))
    rows.sort(key=lambda pair: pair[0] if pair[0] < 2 else 9)
    return pd.DataFrame([row for _, row in rows], columns=[*keys, *types]).astype("string[pyarrow]")


def _cell(row: object) -> str | None:
    status = getattr(row, "status", None)
    if not isinstance(status, str):
        return "subscribed"
    if getattr(row, "never_acknowledged", None) is True:
        status += " (Never Acknowledged)"
    age = getattr(row, "age_s", None)
    return f"{status} ({go_duration(age)})" if isinstance(age, float) and age == age else status


def go_duration(seconds: float) -> str:
    """A span in whole seconds as Go prints it.

    Example:
        >>> go_duration(320.4), go_duration(3723)
        ('5m20s', '1h2m3s')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"


def istioctl_proxy_status(proxy_status: pd.DataFrame) -> str:
    """The table as istioctl printed it before it left the status out: NAME, CLUSTER, types, ISTIOD, VERSION.

    Rows are in the order of cluster and proxy; a type a proxy has not is `IGNORED`, and one without rows is not shown.
    """
    matrix = proxy_status_matrix(proxy_status).sort_values(["cluster", "proxy"], kind="stable")
    types = [name for name in matrix.columns if name not in ("proxy", "cluster", "istiod", "version")]
    header = ["NAME", "CLUSTER", *types, "ISTIOD", "VERSION"]
    body = [
        [
            row["proxy"],
            _or(row["cluster"], ""),
            *(_or(row[t], "IGNORED") for t in types),
            _or(row["istiod"], ""),
            _or(row["version"], ""),
        ]
        for _, row in matrix.iterrows()
    ]
    widths = [max(len(line[i]) for line in [header, *body]) for i in range(len(header))]
    lines = [
        "     ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in [header, *body]
    ]
    return "\n".join(lines) + "\n"


def _or(value: object, default: str) -> str:
    return value if isinstance(value, str) else default
