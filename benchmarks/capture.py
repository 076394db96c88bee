"""Capture a cluster of many proxies from the replay API server: time, memory, size, and what a dead one in ten costs.

    python benchmarks/capture.py --proxies 1000 --dead-every 10
    python benchmarks/capture.py --proxies 1 --dead-every 0 --objects 20000

The API server and the pods' pages run in a process of their own, so that memory is the capture's alone. Every proxy
answers with the pages of the demo's gateway; the pods have names and addresses of their own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


def serve(proxies: int, dead_every: int, objects: int) -> None:
    """The server's side: print its address, then serve until the input closes."""
    from replay.apiserver import ReplayApiServer
    from replay.pages import PageServer
    from replay.recorded import _ENVOY, ISTIOD

    from meshnb.sources.snapshot import Snapshot

    demo = Snapshot.open("demo")
    folder = demo.root / "envoy" / "istio-ingressgateway-7d9f8c6b5-lab01.istio-system"
    pages = {path: (folder / name).read_bytes() for name, path in _ENVOY.items()}
    pods = [ISTIOD, *(pod(number) for number in range(proxies))]
    syncz = [{"proxy": f"app-{n}.shop", "cluster_sent": "1", "cluster_acked": "1"} for n in range(proxies)]
    with (
        PageServer({**pages, "/healthz/ready": b"", "/debug/syncz": json.dumps(syncz).encode()}) as server,
        ReplayApiServer({"pods": pods, "virtualservices": [route(number) for number in range(objects)]}) as api,
    ):
        for number, one in enumerate(pods):
            name, namespace = one["metadata"]["name"], one["metadata"]["namespace"]
            if number and dead_every and number % dead_every == 0:
                continue
            for port in (15000, 15014, 15020):
                api.backends[(name, namespace, port)] = server.address
        print(api.url, flush=True)
        sys.stdin.read()


def pod(number: int) -> dict[str, object]:
    """A pod with a proxy."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"app-{number}", "namespace": "shop", "labels": {"app": f"app-{number % 50}"}},
        "spec": {"containers": [{"name": "app"}, {"name": "istio-proxy"}]},
        "status": {"phase": "Running", "podIP": f"10.0.{number // 250}.{number % 250}"},
    }


def route(number: int) -> dict[str, object]:
    """A VirtualService as large as those of applications are, 4 kB."""
    hosts = [f"shop-{number}.example.com"]
    match = [{"uri": {"prefix": f"/api/v{n}/shop-{number}/"}, "name": f"route-{n}"} for n in range(30)]
    http = [{"match": [m], "route": [{"destination": {"host": "shop", "subset": "v1"}}]} for m in match]
    return {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {"name": f"shop-{number}", "namespace": "shop", "uid": f"{number:032x}"},
        "spec": {"hosts": hosts, "http": http},
    }


def main() -> None:
    """Measure and print one line of a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--proxies", type=int, default=100)
    parser.add_argument("--dead-every", type=int, default=10)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--objects", type=int, default=0, help="VirtualServices of 4 kB in one namespace")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.proxies, arguments.dead_every, arguments.objects)
    from kubernetes.client import Configuration

    from meshnb.sources.capture import CaptureOptions, capture_cluster
    from meshnb.sources.kubernetes import Cluster

    command = [sys.executable, __file__, "--serve", "--proxies", str(arguments.proxies)]
    command += ["--dead-every", str(arguments.dead_every), "--objects", str(arguments.objects)]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        configuration = Configuration()
        configuration.host = server.stdout.readline().strip()
        cluster = Cluster(configuration, name="replay", sleep=lambda _: None)
        target = Path(folder) / "s.tar.gz"
        begin = time.perf_counter()
        options = CaptureOptions(since_s=0, concurrency=arguments.concurrency)
        snapshot = capture_cluster(cluster, target, options)
        seconds = time.perf_counter() - begin
        server.stdin.close()
        dead = {d.proxy for d in snapshot.failed("config_dump")}
        whole = {d.proxy for d in snapshot.documents("config_dump")}
        unpacked = sum(d.bytes for d in snapshot.documents()) / 1e6
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        row = {
            "proxies": arguments.proxies,
            "dead": len(dead),
            "whole": len(whole),
            "objects": arguments.objects,
            "time": f"{seconds:.1f} s",
            "peak memory": f"{memory:.0f} MB",
            "unpacked": f"{unpacked:.0f} MB",
            "archive": f"{target.stat().st_size / 1e6:.1f} MB",
        }
        print(f"| {' | '.join(row)} |\n|{'---|' * len(row)}\n| {' | '.join(map(str, row.values()))} |")
    expected = (arguments.proxies // arguments.dead_every) if arguments.dead_every else 0
    if len(dead) != expected or len(whole) != arguments.proxies - expected:
        raise SystemExit(f"{len(whole)} whole and {len(dead)} dead; {expected} dead expected")


if __name__ == "__main__":
    main()
