"""`meshnb capture`: one snapshot of a live mesh, or of the lab."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshnb.errors import UsageError

if TYPE_CHECKING:
    from meshnb.sources.capture import CaptureOptions

_HELP = """Captures objects, Envoy's and istiod's pages and logs into one snapshot. Read-only; secrets are never listed,
and keys, tokens and passwords in other documents are struck out before they are written.

The work is done in FILE.partial. If it is ended, the same command takes it up again; FILE.partial can be opened as it
is and says what is missing."""


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "capture", help="capture a live mesh, or the lab, into one snapshot", description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("--out", default="", metavar="FILE", help="FILE.tar.gz, or a new folder")
    add("--dry-run", action="store_true", help="capture nothing: judge the size by a few pods")
    add("--lab", action="store_true", help="the running lab instead of a cluster")
    add("--context", default="", metavar="NAME", help="context of the kubeconfig (default: the current one)")
    add("-n", "--namespace", action="append", default=[], metavar="NS", help="only this namespace; may be repeated")
    add("--workload", action="append", default=[], metavar="NAME",
        help="only proxies of this pod, Deployment or label (app=catalog); may be repeated")  # fmt: skip
    add("--istio-namespace", default="istio-system", metavar="NS", help="namespace of istiod (istio-system)")
    add("--since", default="1h", metavar="TIME", help="logs of the last TIME, as 30m; all, or none (1h)")
    add("--tail", type=int, metavar="N", help="only the last N lines of each log (all)")
    add("--previous", action="store_true", help="also logs of containers before their last restart")
    add("--ports", action="store_true", help="also what pods listen on; needs exec")
    add("--expected", action="store_true", help="also what istiod would send each proxy; costs istiod work")
    add("--pprof", action="store_true", help="also profiles of memory and threads of agents and istiod")
    add("--with", action="append", default=[], choices=("prometheus",), dest="also",
        help="also what the runbooks ask the mesh's Prometheus, over --since; asked by port-forward")  # fmt: skip
    add("--prometheus", default="", metavar="URL", help="the same of the Prometheus of this URL")
    add("--link", action="append", default=[], metavar="NAME=URL",
        help="where kiali, grafana or prometheus is, for the pages findings name; may be repeated")  # fmt: skip
    add("--concurrency", type=int, default=8, metavar="N", help="pods asked at the same time (8)")
    add("--timeout", type=float, default=30.0, metavar="S", help="seconds one answer may take (30)")
    add("-q", "--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Capture, and say what there is and what is missing."""
    if arguments.dry_run:
        return _dry_run(arguments)
    if not arguments.out:
        raise UsageError("no --out FILE", hint="give a new file, as s.tar.gz; or --dry-run")
    out = Path(arguments.out)
    snapshot = _lab(out, quiet=arguments.quiet) if arguments.lab else _cluster(out, arguments)
    documents, failed = snapshot.documents(), snapshot.failed()
    size = sum(document.bytes for document in documents)
    print(f"{out}: {len(documents)} documents, {size / 1e6:.1f} MB unpacked, {len(failed)} could not be had")
    reasons: dict[str, list[str]] = {}
    for document in failed:
        reasons.setdefault(document.error, []).append(document.path)
    for reason, paths in sorted(reasons.items(), key=lambda item: -len(item[1]))[:20]:
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        print(f"  {paths[0]}{more}: {reason}")
    for note in snapshot.manifest.notes:
        print(f"  note: {note}")
    return 0


def _lab(out: Path, *, quiet: bool) -> Any:
    from meshnb.lab.capture import capture, describe
    from meshnb.runbook.prometheus import record_from
    from meshnb.sources.snapshot import Snapshot, pack

    if out.exists():
        raise UsageError(f"{out} exists", hint="give a new file: a snapshot is never changed")
    if not quiet:
        _progress(describe())
    if not out.name.endswith((".tar.gz", ".tgz")):
        return capture(out, recorder=record_from)
    with tempfile.TemporaryDirectory(prefix="meshnb-") as folder:
        capture(Path(folder) / "snapshot", recorder=record_from)
        pack(Path(folder) / "snapshot", out)
    return Snapshot.open(out)


def _dry_run(arguments: argparse.Namespace) -> int:
    """Say how large the capture would be."""
    from meshnb.sources.capture_estimate import estimate_capture
    from meshnb.sources.kubernetes import Cluster

    if arguments.lab:
        raise UsageError("--dry-run is for a cluster", hint="the lab is small: capture it")
    cluster = Cluster.connect(arguments.context, timeout_s=arguments.timeout)
    progress = (lambda _: None) if arguments.quiet else _progress
    seen = estimate_capture(cluster, _options(arguments), progress=progress)
    print(f"{seen.proxies} proxies, {seen.istiods} istiods: {seen.documents} documents; {seen.objects} objects")
    print(f"about {seen.bytes / 1e6:.1f} MB unpacked, {seen.packed / 1e6:.1f} MB packed")
    print(f"judged by {', '.join(seen.sampled) or 'no pod'}")
    for reason in seen.unknown:
        print(f"  not counted: {reason}")
    if arguments.prometheus or arguments.also:
        print("  not counted: answers of Prometheus")
    return 0


def _options(arguments: argparse.Namespace) -> CaptureOptions:
    from meshnb.sources.capture import CaptureOptions

    return CaptureOptions(
        namespaces=tuple(arguments.namespace),
        workloads=tuple(arguments.workload),
        istio_namespace=arguments.istio_namespace,
        since_s=_since(arguments.since),
        tail=arguments.tail,
        previous=arguments.previous,
        ports=arguments.ports,
        expected=arguments.expected,
        pprof=arguments.pprof,
        links=_links(arguments.link),
        concurrency=arguments.concurrency,
    )


def _cluster(out: Path, arguments: argparse.Namespace) -> Any:
    from meshnb.runbook.live import mesh_prometheus_recorder, prometheus_recorder
    from meshnb.sources.capture import capture_cluster
    from meshnb.sources.kubernetes import Cluster

    cluster = Cluster.connect(arguments.context, timeout_s=arguments.timeout)
    progress = (lambda _: None) if arguments.quiet else _progress
    also = None
    if arguments.prometheus:
        also = prometheus_recorder(arguments.prometheus, arguments.since)
    elif "prometheus" in arguments.also:
        also = mesh_prometheus_recorder(
            cluster, arguments.since, istio_namespace=arguments.istio_namespace, progress=progress
        )
    return capture_cluster(cluster, out, _options(arguments), progress=progress, also=also)


def _links(pairs: list[str]) -> dict[str, str]:
    """Where other tools are, from `kiali=https://…`."""
    from meshnb.runbook.links import checked

    if wrong := next((pair for pair in pairs if "=" not in pair), None):
        raise UsageError(f"--link {wrong}", hint="write it like kiali=https://kiali.example/kiali")
    return checked(dict(pair.split("=", 1) for pair in pairs))


def _since(text: str) -> int | None:
    """Seconds; nothing for whole logs, 0 for none."""
    from meshnb.model.window import parse_duration

    if text in ("all", "none"):
        return None if text == "all" else 0
    return max(int(parse_duration(text).total_seconds()), 1)


def _progress(step: str) -> None:
    print(step, file=sys.stderr, flush=True)
