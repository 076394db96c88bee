"""Writes docs/checks.md and docs/tables.md from the checks and frames themselves: `python scripts/make_docs.py`.

`tests/test_docs.py` fails while they are out of date.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path

import meshnb.model.tables
from meshnb.checks.registry import Check, registered
from meshnb.model.frame import Frame

DOCS = Path(__file__).parents[1] / "docs"

GROUPS = {
    "MNB01": "Configuration of the data plane",
    "MNB02": "Requests",
    "MNB03": "Synchronisation and control plane",
    "MNB04": "Components, ports and endpoints",
}


def checks_page() -> str:
    """All checks: what each asks, the tables it needs, and what its rule is."""
    parts = [
        "# Checks",
        'Made by `scripts/make_docs.py`. `mesh.check()` runs them all, `mesh.check("MNB0101")` one. A check whose '
        "required tables are absent is `unknown`; tables it only uses sharpen what it says.",
    ]
    for prefix, title in GROUPS.items():
        found = [check for code, check in registered().items() if code.startswith(prefix)]
        parts += [f"## {title}", *(section(check) for check in found)] if found else []
    return "\n\n".join(parts) + "\n"


def section(check: Check) -> str:
    """One check."""
    module = import_module(check.function.__module__)
    about = " ".join(
        text.strip().partition("\n\n")[0].replace("\n", " ")
        for text in (module.__doc__ or "", check.function.__doc__ or "")
    )
    about = " ".join(about.split())
    uses = f" Uses {', '.join(f'`{name}`' for name in check.uses)}." if check.uses else ""
    needs = f"Requires {', '.join(f'`{name}`' for name in check.requires)}.{uses} Severity at worst: {check.severity}."
    return f"### {check.code}\n\n**{check.question}** {about}\n\n{needs}"


def tables_page() -> str:
    """All frames with their columns."""
    parts = [
        "# Tables",
        "Made by `scripts/make_docs.py` from the frames in `meshnb/model/tables`. Types are Arrow's, as pandas shows "
        "them; times are UTC; `json` is JSON text kept as it came.",
    ]
    for module in sorted(m.name for m in pkgutil.iter_modules(meshnb.model.tables.__path__)):
        source = import_module(f"meshnb.model.tables.{module}")
        frames = [value for value in vars(source).values() if isinstance(value, Frame)]
        parts.append(f"## {(source.__doc__ or module).strip().splitlines()[0]}")
        for frame in frames:
            key = f"\n\nKey: {', '.join(frame.key)}." if frame.key else ""
            parts.append(f"### {frame.name}\n\n{frame.meaning}{key}\n\n{frame.markdown()}")
    return "\n\n".join(parts) + "\n"


PAGES = {"checks.md": checks_page, "tables.md": tables_page}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
