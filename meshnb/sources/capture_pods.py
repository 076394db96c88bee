"""Documents of one pod: asked by port-forward, of another port where the first is closed, at last by a command in it.

What each port answers to whom: Envoy's 15000, ControlZ's 9876 and the agent's 15004 listen on loopback only, which is
where port-forward arrives. istiod's debug pages (15014, else 8080) are free on its loopback and ask others to prove who
they are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from meshnb.errors import Forbidden, MeshnbError, NotFound, SourceError, SourceTimeout, Unreachable
from meshnb.model.manifest import Document
from meshnb.sources.capture_plan import AGENT_DEBUG, COMMAND, CONTROLZ, LOG, Page, PodPlan
from meshnb.sources.kubernetes import Cluster
from meshnb.sources.partial import PartialSnapshot
from meshnb.sources.pod_streams import BrokenError, forward_request, run_in_pod

_EXEC = -2
_AGENTS_ASKED = 3


class RefusedError(SourceError):
    """A pod's port answered that it wants to know who asks."""


class PodReader:
    """Asks pods for their documents; one for a whole capture, used by many threads.

    Args:
        cluster: the cluster.
        partial: where documents go, and why they could not be had.
        since_s: logs of the last seconds.
        tail: last lines of each log.
    """

    def __init__(
        self, cluster: Cluster, partial: PartialSnapshot, *, since_s: int | None = None, tail: int | None = None
    ) -> None:
        self.cluster, self.partial, self.since_s, self.tail = cluster, partial, since_s, tail
        self._no_forward = ""

    def read(self, plan: PodPlan) -> tuple[int, int]:
        """Ask one pod for all that is not there yet; bytes had, and documents that could not be had."""
        visit = _Visit(self, plan)
        size = failed = 0
        for page in plan.pages:
            if self.partial.has(page.document.path):
                continue
            try:
                body, obtained = visit.fetch(page)
            except MeshnbError as error:
                self.partial.fail(page.document, error.message)
                failed += 1
            else:
                self.partial.add(replace(page.document, obtained=obtained or page.document.obtained), body)
                size += len(body)
        return size, failed

    @property
    def synced(self) -> bool:
        """Whether an istiod told its sync status."""
        return self.partial.has_any("istiod/", "/debug/syncz.json")

    def refuse_forward(self, reason: str) -> None:
        """Port-forward is refused, so it will be everywhere: ask by exec from now on."""
        self._no_forward = reason
        self.partial.note(f"Ports were asked by exec: {reason}")

    @property
    def no_forward(self) -> str:
        """Why ports cannot be forwarded; empty if they can."""
        return self._no_forward


class _Visit:
    """One pod while it is asked: a way that is closed, or failed twice, is not tried for its other pages."""

    def __init__(self, reader: PodReader, plan: PodPlan) -> None:
        self.reader, self.plan = reader, plan
        self._closed: dict[int, str] = {}
        self._failures: Counter[int] = Counter()

    def fetch(self, page: Page) -> tuple[bytes, str]:
        """The document, and how it was obtained if not as planned.

        Raises:
            SourceError: no way led to it; every reason is named.
        """
        if page.port == LOG:
            return self._log(page), ""
        if page.port == COMMAND:
            return self._run(page.path.split()), ""
        reasons: list[str] = []
        for way in self._ways(page):
            if way in self._closed:
                reasons.append(self._closed[way])
                continue
            try:
                if way == _EXEC:
                    return self._run(page.fallback), f"exec {' '.join(page.fallback)}"
                return self._ask(page, way), "" if way == page.port else f"{page.method} :{way}{page.path}"
            except SourceTimeout as error:
                reasons.append(error.message)
                self._suspect(way, error)
                break  # the same work would take as long by another way
            except BrokenError as error:
                reasons.append(error.message)
                self._suspect(way, error)
            except (Unreachable, Forbidden, RefusedError) as error:
                reasons.append(error.message)
                self._closed[way] = error.message
                if isinstance(error, Forbidden) and way != _EXEC and page.fallback:
                    self.reader.refuse_forward(error.message)
            except NotFound:
                raise
            except SourceError as error:
                if way != _EXEC or not reasons:
                    raise
                # the command asks the same process: what is closed is that, not the way to it
                reasons.append(error.message)
                self._closed[way] = error.message
        raise SourceError("; ".join(dict.fromkeys(reasons)))

    def _suspect(self, way: int, error: SourceError) -> None:
        """Once may be chance: what was too slow or broke twice is not tried again."""
        self._failures[way] += 1
        if self._failures[way] > 1:
            self._closed[way] = error.message

    def _ways(self, page: Page) -> tuple[int, ...]:
        """Ports in the order they are tried, then the command."""
        if not page.fallback:
            return (page.port, *page.other_ports)
        return (_EXEC,) if self.reader.no_forward else (page.port, *page.other_ports, _EXEC)

    def _run(self, command: Sequence[str]) -> bytes:
        return run_in_pod(self.reader.cluster, self.plan.name, self.plan.namespace, self.plan.container, command)

    def _log(self, page: Page) -> bytes:
        container = page.path.removesuffix("-previous")
        return self.reader.cluster.logs(
            self.plan.name,
            self.plan.namespace,
            container,
            since_s=self.reader.since_s,
            tail=self.reader.tail,
            previous=page.path != container,
        )

    def _ask(self, page: Page, port: int) -> bytes:
        status, body = forward_request(
            self.reader.cluster, self.plan.name, self.plan.namespace, port, page.path, method=page.method
        )
        if "/app-health." in page.document.path:
            return f"HTTP {status}\n".encode() + body
        said = f"HTTP {status} {body[:200].decode('utf-8', 'replace').strip()}".strip()
        if status == 404 and body.strip() == b"{}":
            return body  # of an agent that answers no DNS
        if status == 404:
            raise NotFound(f"{said}; this release has no such topic" if port == CONTROLZ else said)
        if status in (401, 403):
            raise RefusedError(f"port {port}: {said}", hint="debug pages are free to who asks from inside the pod")
        # an agent that is not ready says so with 503: that is its answer
        if status != 200 and not page.document.path.endswith("/ready.txt"):
            raise SourceError(said)
        return body


def ask_by_agents(reader: PodReader, proxies: Sequence[PodPlan], istiods: Sequence[PodPlan], *, system: str) -> None:
    """Have agents ask istiod for its sync status (their port 15004) where istiod itself could not be asked.

    The answer is istiod's and names it, so it is kept as istiod's. One that comes is enough: each lists all proxies.
    Agents of istiod's namespace are asked first, because newer releases tell others nothing of the rest of the mesh.

    Args:
        reader: of the capture.
        proxies: pods with an agent.
        istiods: pods of istiod.
        system: namespace of istiod.
    """
    for plan in sorted(proxies, key=lambda p: p.namespace != system)[:_AGENTS_ASKED]:
        what = f"{plan.name}.{plan.namespace} asked for istiod's sync status"
        try:
            status, body = forward_request(reader.cluster, plan.name, plan.namespace, AGENT_DEBUG, "/debug/syncz")
            if status != 200:
                raise SourceError(f"HTTP {status} {body[:200].decode('utf-8', 'replace').strip()}".strip())
            answered = _istiod_of(body)
        except MeshnbError as error:
            reader.partial.note(f"Port {AGENT_DEBUG} of {what}: {error.message}")
            continue
        name = answered or (istiods[0].name if len(istiods) == 1 else "istiod")
        obtained = f"GET :{AGENT_DEBUG}/debug/syncz of {plan.name}.{plan.namespace}"
        document = Document(f"istiod/{name}.{system}/debug/syncz.json", "istiod_debug", obtained=obtained)
        reader.partial.add(document, body)
        reader.partial.note(f"istiod could not be asked for its sync status; the agent of {what}.")
        return


def _istiod_of(body: bytes) -> str:
    """The pod of the istiod that made an answer of xDS, if it names it.

    Raises:
        SourceError: no answer of xDS.
    """
    try:
        document = json.loads(body)
        identifier = json.loads((document.get("controlPlane") or {}).get("identifier") or "{}")
        return str(identifier.get("ID") or "")
    except (ValueError, AttributeError) as error:
        raise SourceError(f"no sync status: {body[:80]!r}") from error
