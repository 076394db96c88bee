"""What `istioctl x describe pod|service` prints, as facts: to hold it against `mesh.describe()`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from meshnb.errors import FormatError
from meshnb.loaders.text_table import decode_text
from meshnb.model.frame import returns
from meshnb.model.tables.analysis import DESCRIBED

if TYPE_CHECKING:
    import pandas as pd

_HEADING = re.compile(
    r"^(?P<section>Pod|Service|DestinationRule|VirtualService|Gateway|RBAC policies|Effective PeerAuthentication|"
    r"Applied PeerAuthentication|Skipping Gateway information)s?:?\s*(?P<name>.*)$"
)
_EXPOSED = re.compile(r"^Exposed on Ingress Gateway\s+(\S+)")
_FACTS = (
    ("pod revision", re.compile(r"^Pod Revision: (.+)$")),
    ("pod ports", re.compile(r"^Pod Ports: (.+)$")),
    ("port", re.compile(r"^Port: (.+)$")),
    ("matching subsets", re.compile(r"^Matching subsets: (.+)$")),
    ("other subsets", re.compile(r"^\(Non-matching subsets (.+)\)$")),
    ("traffic policy", re.compile(r"^(No Traffic Policy|Traffic Policy .+)$")),
    ("weight", re.compile(r"^Weight (\d+%)$")),
    ("mode", re.compile(r"^Workload mode: (\w+)$")),
    ("routes", re.compile(r"^(\d+ HTTP route\(s\))$")),
    ("warning", re.compile(r"^(?:WARNING:|Warning:)\s*(.+)$")),
)


@returns(DESCRIBED)
def read_describe(data: bytes | str, *, file: str = "") -> pd.DataFrame:
    r"""What `istioctl x describe` printed.

    Lines that are not known come as facts `text`: nothing is dropped.

    Raises:
        FormatError: it is not its output.

    Example:
        >>> read_describe("Pod: a\n   Pod Revision: default\nService: catalog\n   Port: http 80/HTTP").value.tolist()
        ['default', 'http 80/HTTP']
    """
    section = name = ""
    rows: list[dict[str, str | None]] = []
    seen = False
    for raw in decode_text(data).splitlines():
        line = raw.strip()
        if not line or set(line) == {"-"}:
            continue
        heading = _HEADING.match(line) if not raw.startswith((" ", "\t")) else None
        if heading:
            seen = True
            section, name = heading["section"], heading["name"].partition(" for ")[0].strip()
            continue
        if exposed := _EXPOSED.match(line):
            section, name, seen = "Ingress", exposed[1], True
            rows.append({"section": section, "name": name, "fact": "exposed", "value": exposed[1]})
            continue
        fact, value = _fact(line)
        rows.append({"section": section or "Pod", "name": name or None, "fact": fact, "value": value})
    if not seen:
        raise FormatError(
            "not what istioctl x describe prints", file=file, hint="save it with: istioctl x describe pod POD > FILE"
        )
    return DESCRIBED.rows(rows)


def _fact(line: str) -> tuple[str, str]:
    for fact, pattern in _FACTS:
        if match := pattern.match(line):
            return fact, match[1]
    return "text", line
