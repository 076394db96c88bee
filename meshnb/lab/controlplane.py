"""The control plane: a process that keeps the objects, serves xDS, and tells what it knows as istiod would.

    python -m meshnb.lab.controlplane HOME

    GET  /ready
    GET  /debug/syncz     what each proxy was sent and accepted, in istiod's shape
    GET  /debug/adsz      who is connected
    GET  /metrics         counters named like istiod's, labelled istiod="lab"
    GET  /lab/objects     all objects by resource name
    POST /lab/apply       {"apply": [object …], "delete": [[kind, namespace, name] …], "replace": false,
                           "hold": [proxy …]}

What it says of itself is the lab's own, and labelled so; it is not istiod.
"""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from meshnb.errors import LabError
from meshnb.lab.ads import SHORT, Connection, Discovery, pack, resource_name, serve
from meshnb.lab.envoy import node_id
from meshnb.lab.inventory import healthy_objects
from meshnb.lab.pki import VALID
from meshnb.lab.plan import CLUSTER_ID, MONITOR_PORT, PODS, XDS_PORT, LabHome, find_pod
from meshnb.lab.world import Key, World, key_of
from meshnb.lab.xds import translate
from meshnb.lab.xds.common import CLUSTER, ENDPOINT, LISTENER, ROUTE, Proxy
from meshnb.lab.xds.endpoints import secrets

_SYNCZ = {CLUSTER: "cluster", LISTENER: "listener", ROUTE: "route", ENDPOINT: "endpoint"}
_BUCKETS = (0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0)
_WAIT_S = 10.0


class ControlPlane:
    """Objects, their translation, and the pushes they cause.

    Args:
        home: folder of the lab; the objects are kept there, so a restart goes on where it stopped.
    """

    def __init__(self, home: LabHome) -> None:
        self.home = home
        self.plan = home.load_plan()
        self.lock = threading.Lock()
        saved = home.read(home.objects)
        self.world = World.restore(saved["objects"]) if saved else World(healthy_objects(self.plan))
        self.pushes = int(saved.get("pushes", 0))
        self.discovery = Discovery(self.secrets)
        self._push(self.world)

    def apply(
        self, apply: list[Any], delete: list[Key], *, replace: bool, hold: list[str] | None = None
    ) -> dict[str, Any]:
        """Change objects, push, and wait for every proxy's answer.

        Args:
            apply: objects to add or change.
            delete: keys of objects to delete.
            replace: delete every object that is not in `apply`.
            hold: proxies that get nothing from now on; as before if not given.

        Returns:
            `version`, `changed` (kind, namespace, name of each) and, per proxy and type, `status` and `error`.

        Raises:
            LabError: an object cannot be translated; nothing is changed.
        """
        with self.lock:
            world = World.restore(self.world.objects(), version=self.world.version)
            changed = [key for item in apply if (key := world.put(item))]
            if replace:
                kept = {key_of(item) for item in apply}
                delete = [key for key in map(key_of, world.objects()) if key not in kept]
            changed += [key for key in delete if world.drop(key)]
            if hold is not None:
                self.discovery.hold(hold)
            self._push(world)
            self.world = world
        self.discovery.wait(self.discovery.version, seconds=_WAIT_S)
        return {"version": self.discovery.version, "changed": changed, "proxies": self.answers()}

    def secrets(self, proxy: str) -> dict[str, Any]:
        """Certificates of a proxy, of the kind that `wanted.json` says."""
        kind = self.home.read(self.home.wanted).get("certificates", {}).get(proxy, VALID)
        return secrets(find_pod(proxy), self.home.pki, kind=kind)

    def _push(self, world: World) -> None:
        resources: dict[str, dict[str, dict[str, Any]]] = {}
        for pod in PODS:
            found = translate(Proxy(pod, self.plan, world))
            resources[pod.proxy] = {kind: {resource_name(r): pack(r) for r in rs} for kind, rs in found.items()}
        self.pushes += 1
        self.home.write(self.home.objects, {"pushes": self.pushes, "objects": world.objects()})
        self.discovery.push(resources, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}/{self.pushes}")

    def answers(self) -> dict[str, dict[str, dict[str, str]]]:
        """Per connected proxy and type: the status of the last response and the text of a refusal."""
        with self.discovery.changed:
            return {
                name: {SHORT[t]: {"status": s.status, "error": s.error} for t, s in connection.types.items() if s.sent}
                for name, connection in sorted(self.discovery.connections.items())
            }

    def syncz(self) -> list[dict[str, Any]]:
        """What istiod answers at `/debug/syncz`, from real ACKs and NACKs."""
        with self.discovery.changed:
            return [_syncz(connection) for _, connection in sorted(self.discovery.connections.items())]

    def adsz(self) -> dict[str, Any]:
        """What istiod answers at `/debug/adsz`: who is connected and watches what."""
        with self.discovery.changed:
            clients = [
                {
                    "connectionId": f"{connection.proxy}-1",
                    "connectedAt": _time(connection.since),
                    "address": node_id(self.plan, find_pod(connection.proxy)).split("~")[1],
                    "watches": {kind: list(state.names) for kind, state in connection.types.items()},
                }
                for _, connection in sorted(self.discovery.connections.items())
            ]
        return {"totalClients": len(clients), "clients": clients}

    def metrics(self) -> str:
        """Counters in Prometheus' text format."""
        with self.discovery.changed:
            counters, connected = self.discovery.counters, len(self.discovery.connections)
            times = list(counters.convergence)
            lines = ["# TYPE pilot_xds gauge", f'pilot_xds{{istiod="lab",version="lab"}} {connected}']
            lines.append("# TYPE pilot_xds_pushes counter")
            lines += [
                f'pilot_xds_pushes{{istiod="lab",type="{SHORT[t].lower()}"}} {n}'
                for t, n in sorted(counters.pushes.items())
            ]
            lines.append("# TYPE pilot_total_xds_rejects counter")
            lines += [
                f'pilot_total_xds_rejects{{istiod="lab",type="{SHORT[t].lower()}"}} {n}'
                for t, n in sorted(counters.rejects.items())
            ]
        name = "pilot_proxy_convergence_time"
        lines.append(f"# TYPE {name} histogram")
        for limit in (*_BUCKETS, float("inf")):
            label = "+Inf" if limit == float("inf") else f"{limit:g}"
            lines.append(f'{name}_bucket{{istiod="lab",le="{label}"}} {sum(t <= limit for t in times)}')
        lines += [f'{name}_sum{{istiod="lab"}} {sum(times):.6f}', f'{name}_count{{istiod="lab"}} {len(times)}']
        return "\n".join(lines) + "\n"


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _syncz(connection: Connection) -> dict[str, Any]:
    row: dict[str, Any] = {
        "cluster_id": CLUSTER_ID,
        "proxy": connection.proxy,
        "proxy_type": connection.node.partition("~")[0],
        "proxy_version": connection.version,
        "istio_version": "lab",
    }
    resources = {}
    for kind, state in sorted(connection.types.items()):
        row |= {
            f"{_SYNCZ[kind]}_{what}": nonce for what, nonce in (("sent", state.sent), ("acked", state.acked)) if nonce
        }
        entry = {"sent": state.sent, "acked": state.acked, "lastError": state.error}
        if state.sent:
            entry["sentTime"] = _time(datetime.fromtimestamp(state.sent_at, UTC))
        resources[kind] = {key: value for key, value in entry.items() if value}
    return {**row, "resources": resources}


class Monitor(ThreadingHTTPServer):
    """The HTTP side of the control plane."""

    daemon_threads = True

    def __init__(self, plane: ControlPlane) -> None:
        super().__init__((plane.plan.control_plane, MONITOR_PORT), Handler)
        self.plane = plane


class Handler(BaseHTTPRequestHandler):
    """Requests of one connection."""

    server: Monitor
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self) -> None:
        """Answer what is asked."""
        plane = self.server.plane
        pages: dict[str, Callable[[], Any]] = {
            "/ready": lambda: "ready",
            "/debug/syncz": plane.syncz,
            "/debug/adsz": plane.adsz,
            "/metrics": plane.metrics,
            "/lab/objects": lambda: plane.world.lists(),
        }
        page = pages.get(self.path.partition("?")[0])
        if page is None:
            self.answer(404, f"no {self.path}; there are {', '.join(pages)}")
        else:
            self.answer(200, page())

    def do_POST(self) -> None:
        """Change objects."""
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)))
        delete = [(kind, namespace, name) for kind, namespace, name in body.get("delete") or []]
        options = {"replace": bool(body.get("replace")), "hold": body.get("hold")}
        try:
            self.answer(200, self.server.plane.apply(body.get("apply") or [], delete, **options))
        except LabError as error:
            self.answer(422, str(error))

    def answer(self, status: int, body: object) -> None:
        """Send text as it is, anything else as JSON."""
        text = body if isinstance(body, str) else json.dumps(body, indent=1)
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the log is for what goes wrong."""


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    home = LabHome(parser.parse_args().home)
    plane = ControlPlane(home)
    server = serve(plane.discovery, plane.plan.control_plane, XDS_PORT)
    try:
        Monitor(plane).serve_forever()
    finally:
        server.stop(0)


if __name__ == "__main__":
    main()
