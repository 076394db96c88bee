"""The agent beside an Envoy (`pilot-agent`), asked by port-forward: each of its pages, and none that ends it."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from meshnb.errors import SourceError, UsageError
from meshnb.sources.capture_plan import AGENT, AGENT_DEBUG
from meshnb.sources.kubernetes import Cluster
from meshnb.sources.pod_streams import forward_request

PROFILES = ("allocs", "block", "goroutine", "heap", "mutex", "threadcreate")
"""Profiles of `/debug/pprof/`; those that run for a time (`profile`, `trace`) are left out: they slow the proxy."""

_PROBE = re.compile(r"/app-health/[\w.-]+/(?:livez|readyz|startupz)")


class Agent:
    """One agent.

    Its page `/quitquitquit` is never asked: it answers to POST alone (405 to others) and from the pod itself alone,
    which is where a port-forward arrives, and it ends the proxy.

    Args:
        cluster: the cluster.
        proxy: `POD.NAMESPACE`.

    Raises:
        UsageError: no name of a proxy.
    """

    def __init__(self, cluster: Cluster, proxy: str) -> None:
        self.cluster, self.proxy = cluster, proxy
        self._pod, dot, self._namespace = proxy.rpartition(".")
        if not (dot and self._pod and self._namespace):
            raise UsageError(f"{proxy!r} is no proxy", hint="write it like POD.NAMESPACE")

    def ready(self) -> tuple[bool, str]:
        """Whether it is ready, and if not its reason (`/healthz/ready`)."""
        status, body = self._ask(AGENT, "/healthz/ready")
        return status == 200, body.decode("utf-8", "replace").strip()

    def metrics(self) -> bytes:
        """Metrics of the agent, of Envoy and of the application, merged (`/stats/prometheus`)."""
        return self._get(AGENT, "/stats/prometheus")

    def probe(self, path: str) -> tuple[int, bytes]:
        """Status and body of a probe of the application that the injector rewrote.

        Args:
            path: as the kubelet asks it, `/app-health/CONTAINER/livez`, `readyz` or `startupz`.

        Raises:
            UsageError: no such path.
        """
        if not _PROBE.fullmatch(path):
            raise UsageError(f"{path!r} is no rewritten probe", hint="mesh.probes() has them")
        return self._ask(AGENT, path)

    def dns_names(self) -> bytes:
        """Names its DNS proxy answers, as JSON (`/debug/ndsz`); `{}` if it answers none."""
        status, body = self._ask(AGENT, "/debug/ndsz")
        return body if status == 404 and body.strip() == b"{}" else self._checked(status, body)

    def profile(self, name: str = "heap") -> bytes:
        """A profile for `go tool pprof` (`/debug/pprof/NAME`).

        Raises:
            UsageError: no such profile.
        """
        if name not in PROFILES:
            raise UsageError(f"no profile {name!r}", hint=f"profiles: {', '.join(PROFILES)}")
        return self._get(AGENT, f"/debug/pprof/{name}")

    def istiod_debug(self, page: str, *, resource: str = "") -> bytes:
        """What istiod answers the agent on a debug page (port 15004): an answer of xDS, as JSON.

        Args:
            page: `syncz`, `config_dump` …; newer releases answer proxies outside istiod's namespace only about
                proxies of their own namespace.
            resource: what to ask about, such as a proxy; sent as `resourceName`.

        Raises:
            UsageError: a page that changes something.
        """
        from meshnb.model.debug_endpoints import find

        known = find(page)
        if not re.fullmatch(r"\w+", page) or (known is not None and known.mutating):
            raise UsageError(f"{page!r} is no page to read", hint="mesh.debug_endpoints() has them")
        query = f"?{urlencode({'resourceName': resource})}" if resource else ""
        return self._get(AGENT_DEBUG, f"/debug/{page}{query}")

    def _get(self, port: int, path: str) -> bytes:
        return self._checked(*self._ask(port, path))

    def _checked(self, status: int, body: bytes) -> bytes:
        if status != 200:
            raise SourceError(f"{self.proxy}: HTTP {status} {body[:200].decode('utf-8', 'replace').strip()}".strip())
        return body

    def _ask(self, port: int, path: str) -> tuple[int, bytes]:
        return forward_request(self.cluster, self._pod, self._namespace, port, path)
