"""Prometheus for the lab: finding one, its configuration, and Debian's package unpacked without root."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from meshnb.errors import LabError
from meshnb.lab.plan import CONTAINER_LABELS, MONITOR_PORT, PODS, PROMETHEUS_PORT, STATS_PORT, Plan, cache


def find_prometheus() -> str:
    """Path of a Prometheus: `$MESHNB_PROMETHEUS`, one on PATH, or the one unpacked by `meshnb lab prometheus`.

    Returns:
        The path; empty if there is none.
    """
    for candidate in (os.environ.get("MESHNB_PROMETHEUS"), shutil.which("prometheus"), str(unpacked())):
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    return ""


def unpacked() -> Path:
    """Where `fetch_prometheus` puts it."""
    return cache() / "prometheus" / "usr" / "bin" / "prometheus"


def fetch_prometheus() -> Path:
    """Fetch Debian's or Ubuntu's package and unpack it into the cache, without root and without installing it.

    Raises:
        LabError: no apt here, or it fails.
    """
    if unpacked().is_file():
        return unpacked()
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise LabError(
                f"no {tool} here: this works on Debian and Ubuntu",
                hint="install Prometheus your way and put it on PATH, or set MESHNB_PROMETHEUS",
            )
    target = cache() / "prometheus"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        # as root, apt would download as its own user, who may not write here
        _run(["apt-get", "-o", "APT::Sandbox::User=", "download", "prometheus"], folder)
        packages = sorted(Path(folder).glob("prometheus_*.deb"))
        if not packages:
            raise LabError("apt-get downloaded no package", hint="apt-get update, then again")
        _run(["dpkg-deb", "-x", str(packages[0]), "unpacked"], folder)
        shutil.rmtree(target, ignore_errors=True)
        (Path(folder) / "unpacked").rename(target)
    return unpacked()


def _run(argv: list[str], folder: str) -> None:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise LabError(
            f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()[-300:]}",
            hint="the package lists may be absent: sudo apt-get update",
        )


def configuration(plan: Plan) -> dict[str, Any]:
    """Scrape configuration: every proxy, the control plane, Prometheus itself."""
    targets = [
        {
            "targets": [f"{plan.ip(pod)}:{STATS_PORT}"],
            "labels": {"pod": pod.name, "namespace": pod.namespace, "app": pod.app},
        }
        for pod in PODS
    ]
    # Envoy prefixes its own metrics; Istio's are without
    relabel = [
        {
            "source_labels": ["__name__"],
            "regex": "envoy_(istio_.*)",
            "target_label": "__name__",
            "replacement": "$1",
        }
    ]
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [
            {
                "job_name": "envoy-stats",
                "metrics_path": "/stats/prometheus",
                "params": {"usedonly": [""]},
                "metric_relabel_configs": relabel,
                "static_configs": targets,
            },
            {
                "job_name": "lab-controlplane",
                "static_configs": [
                    {
                        "targets": [f"{plan.control_plane}:{MONITOR_PORT}"],
                        # as istiod's pods are labelled; `container_*` brings its own
                        "labels": {name: CONTAINER_LABELS[name] for name in ("namespace", "pod")} | {"app": "istiod"},
                    }
                ],
                "honor_labels": True,
            },
            {
                "job_name": "prometheus",
                "static_configs": [{"targets": [f"{plan.prometheus_address}:{PROMETHEUS_PORT}"]}],
            },
        ],
    }
