"""The import rules of the architecture, and what `import meshnb` may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import meshnb

PACKAGE = Path(meshnb.__file__).parent

# layer -> layers of meshnb it may import, besides itself; see CONTRIBUTING.md
ALLOWED = {
    "errors": set(),
    "model": {"errors"},
    "loaders": {"errors", "model", "envoy"},
    "envoy": {"errors", "model"},
    "checks": {"errors", "model", "envoy"},
    "tuning": {"errors", "model", "envoy"},
    "views": {"errors", "model"},
    "sources": {"errors", "model"},
    "lab": {"errors", "model", "sources"},
    "runbook": {"errors", "model", "loaders", "envoy", "checks", "tuning", "views", "sources", "lab"},
    "report": {"errors", "model", "views", "runbook", "sources"},
    "cli": {
        "errors", "model", "loaders", "envoy", "checks", "tuning", "views", "sources", "lab", "runbook", "report"
    },
}  # fmt: skip

# heavy package -> the only layers that may import it
HEAVY = {
    "kubernetes": {"sources"},
    "prometheus_api_client": {"sources"},
    "requests": {"sources"},
    "ipywidgets": {"views", "runbook"},
    "papermill": {"report"},
    "nbconvert": {"report"},
    "nbclient": {"report"},
    "duckdb": {"loaders", "checks"},
    "ibis": {"loaders", "checks"},
    "plotly": {"views", "tuning"},
    "grpc": {"lab"},
}


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            if node.module == "meshnb":
                names |= {f"meshnb.{alias.name}" for alias in node.names}
    return names


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_imports_go_one_way():
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        if layer(path) in ("__init__", "__main__"):
            continue
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "meshnb" and len(parts) > 1:
                target = parts[1]
                if target in ALLOWED and target != layer(path) and target not in ALLOWED[layer(path)]:
                    wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
            elif parts[0] in HEAVY and layer(path) not in HEAVY[parts[0]]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong


def test_every_package_of_meshnb_has_a_rule():
    found = {layer(path) for path in PACKAGE.rglob("*.py")} - {"__init__", "__main__", "demo"}
    assert found == set(ALLOWED)


def test_import_meshnb_loads_nothing_heavy():
    code = "import sys, meshnb; print(sorted(set(sys.modules) & {'pandas', 'numpy', 'plotly', 'IPython', 'duckdb'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_modules_stay_small():
    long = {
        str(path.relative_to(PACKAGE)): count
        for path in PACKAGE.rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 420
    }
    assert not long
