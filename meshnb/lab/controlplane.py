"""The control plane: a process that keeps the objects, serves xDS, and tells what it knows as istiod would.

    python -m meshnb.lab.controlplane HOME

    GET  /ready
    GET  /debug           list of the debug pages, which have istiod's shapes: syncz, adsz, edsz, config_dump …
    GET  /metrics         metrics named like istiod's, labelled istiod="lab"
    GET  /lab/objects     all objects by resource name
    POST /lab/apply       {"apply": [object …], "delete": [[kind, namespace, name] …], "replace": false,
                           "hold": [proxy …], "wait": true}

What it says of itself is the lab's own, and labelled so; it is not istiod.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from meshnb.errors import LabError
from meshnb.lab.ads import SHORT, Connection, Discovery, pack, resource_name, serve
from meshnb.lab.changes import changes
from meshnb.lab.debug import View, answer
from meshnb.lab.inventory import healthy_objects
from meshnb.lab.pki import VALID
from meshnb.lab.plan import MONITOR_PORT, PODS, XDS_PORT, LabHome, find_pod
from meshnb.lab.process_metrics import process_text
from meshnb.lab.push import Debounce, Debouncer, Pusher, PushRequest
from meshnb.lab.telemetry import Telemetry
from meshnb.lab.world import Key, World, key_of
from meshnb.lab.xds import TRANSLATORS
from meshnb.lab.xds.common import ENDPOINT, Proxy
from meshnb.lab.xds.endpoints import secrets

_WAIT_S = 10.0
_SWITCH_S = 0.0005


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
        self.pushed = self.world
        self.telemetry = Telemetry()
        self.discovery = Discovery(self.resources, self.secrets, self.telemetry)
        self.pusher = Pusher[Connection](self.discovery.deliver, self.plan.push_throttle, self.telemetry)
        debounce = Debounce(self.plan.debounce_after_s, self.plan.debounce_max_s, self.plan.eds_debounce)
        self.debouncer = Debouncer(self.push, debounce, self.telemetry)
        # numbers of the last change, and of the last that was more than endpoints
        self.change, self.last_full = 0, 0
        self._check(self.world)
        self._save()
        self.push(PushRequest(True, Counter(), 0))

    def apply(
        self,
        apply: list[Any],
        delete: list[Key],
        *,
        replace: bool,
        hold: list[str] | None = None,
        wait: bool = True,
    ) -> dict[str, Any]:
        """Change objects, which are pushed by and by, and wait for every proxy's answer.

        Args:
            apply: objects to add or change.
            delete: keys of objects to delete.
            replace: delete every object that is not in `apply`.
            hold: proxies that get nothing from now on; as before if not given.
            wait: wait for the answers.

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
            self._check(world)
            before, self.world = self.world, world
            if changed:
                self._save()
            released = hold is not None and self.discovery.hold(hold)
            self._tell(before, released=released)
            last = self.change, self.last_full
        if wait:
            # both: an update of endpoints may go past one that waits
            seconds = _WAIT_S + self.plan.debounce_max_s
            self.discovery.wait(last[0], full=False, seconds=seconds)
            self.discovery.wait(last[1], full=True, seconds=_WAIT_S)
        return {"version": self.discovery.version, "changed": changed, "proxies": self.answers()}

    def _tell(self, before: World, *, released: bool) -> None:
        """Count every change and hand it to the debounce, as istiod does with what its watches tell."""
        found = changes(before, self.world, self.plan)
        for change in found:
            for kind in change.counted:
                self.telemetry.count("pilot_inbound_updates", type=kind)
        reasons = [(change.full, change.reason) for change in found if change.reason]
        if released:
            reasons.append((True, "proxy"))
        for full, reason in reasons:
            self.change += 1
            if full:
                self.last_full = self.change
            self.debouncer.submit(PushRequest(full, Counter([reason]), self.change))

    def push(self, request: PushRequest) -> None:
        """A batch of changes, or one of endpoints alone that did not wait: queue it for every proxy."""
        with self.lock:
            version = self.discovery.version
            if request.full:
                self.pushed = self.world
                self.pushes += 1
                version = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}/{self.pushes}"
            self.telemetry.set("pilot_services", len(self.pushed.of("Service")))
            self.telemetry.set("pilot_virt_services", len(self.pushed.of("VirtualService")))
            connections = self.discovery.begin(version, request)
        self.pusher.start(connections, request)

    def resources(self, proxy: str, kind: str) -> dict[str, Any]:
        """Resources of a proxy and type: endpoints as they are now, all else as at the last push of all types."""
        world = self.world if kind == ENDPOINT else self.pushed
        found = TRANSLATORS[kind](Proxy(find_pod(proxy), self.plan, world))
        return {resource_name(resource): pack(resource) for resource in found}

    def _check(self, world: World) -> None:
        """Translate everything for everybody, so that what cannot be pushed is refused before anything changes."""
        for pod in PODS:
            for make in TRANSLATORS.values():
                for resource in make(Proxy(pod, self.plan, world)):
                    pack(resource)

    def _save(self) -> None:
        self.home.write(self.home.objects, {"pushes": self.pushes, "objects": self.world.objects()}, indent=None)

    def secrets(self, proxy: str) -> dict[str, Any]:
        """Certificates of a proxy, of the kind that `wanted.json` says."""
        kind = self.home.read(self.home.wanted).get("certificates", {}).get(proxy, VALID)
        return secrets(find_pod(proxy), self.home.pki, kind=kind)

    def answers(self) -> dict[str, dict[str, dict[str, str]]]:
        """Per connected proxy and type: the status of the last response and the text of a refusal."""
        with self.discovery.changed:
            return {
                name: {SHORT[t]: {"status": s.status, "error": s.error} for t, s in connection.types.items() if s.sent}
                for name, connection in sorted(self.discovery.connections.items())
            }


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
        path, _, query = self.path.partition("?")
        pages: dict[str, Callable[[], Any]] = {
            "/ready": lambda: "ready",
            "/metrics": lambda: plane.telemetry.text() + process_text(),
            "/lab/objects": lambda: plane.world.lists(),
        }
        if path in pages:
            self.answer(200, pages[path]())
        elif path.startswith("/debug"):
            view = View(plane.plan, plane.world, plane.discovery, plane.resources)
            self.answer(*answer(view, path.removeprefix("/debug").strip("/"), dict(parse_qsl(query))))
        else:
            self.answer(404, f"no {path}; there are /debug, {', '.join(pages)}")

    def do_POST(self) -> None:
        """Change objects."""
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)))
        delete = [(kind, namespace, name) for kind, namespace, name in body.get("delete") or []]
        options = {"replace": bool(body.get("replace")), "hold": body.get("hold"), "wait": body.get("wait", True)}
        try:
            self.answer(200, self.server.plane.apply(body.get("apply") or [], delete, **options))
        except LabError as error:
            self.answer(422, str(error))

    def answer(self, status: int, body: object) -> None:
        """Send text as it is, anything else as JSON."""
        text = body if isinstance(body, str) else json.dumps(body, indent=1)
        data = text.encode()
        self.send_response(status)
        kind = "html" if text.startswith("<!doctype html>") else "plain"
        self.send_header("Content-Type", f"text/{kind}" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the log is for what goes wrong."""


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    # a push that ends hands over to the next through two threads: at Python's 5 ms each, that would outlast the push
    sys.setswitchinterval(_SWITCH_S)
    home = LabHome(parser.parse_args().home)
    plane = ControlPlane(home)
    server = serve(plane.discovery, plane.plan.control_plane, XDS_PORT)
    try:
        Monitor(plane).serve_forever()
    finally:
        server.stop(0)


if __name__ == "__main__":
    main()
