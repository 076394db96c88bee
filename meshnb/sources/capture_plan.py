"""What a capture asks for: which objects, which pods, which pages of each."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshnb.model import debug_endpoints
from meshnb.model.manifest import Document
from meshnb.model.resources import RESOURCES, Resource

ADMIN, AGENT, AGENT_DEBUG = 15000, 15020, 15004
MONITORING, DEBUG, CONTROLZ = 15014, 8080, 9876
LOG, COMMAND = 0, -1
"""What stands for a port where none is asked."""


@dataclass(frozen=True, slots=True)
class Page:
    """One document to be had from a pod.

    Args:
        document: where it goes in the snapshot.
        port: port that answers; `LOG` for a log, `COMMAND` for a command.
        path: path with query; of a log the container; of a command the command.
        method: HTTP method.
        other_ports: ports that answer the same, tried where the first is closed.
        fallback: command in the container that answers the same, where no port can be reached.
    """

    document: Document
    port: int
    path: str
    method: str = "GET"
    other_ports: tuple[int, ...] = ()
    fallback: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PodPlan:
    """The documents to be had from one pod."""

    name: str
    namespace: str
    container: str
    pages: tuple[Page, ...] = field(default=())


_PROXY_PAGES = (
    ("config_dump.json", "config_dump", "/config_dump?include_eds", "GET"),
    ("clusters.json", "clusters", "/clusters?format=json", "GET"),
    ("listeners.json", "listeners", "/listeners?format=json", "GET"),
    ("server_info.json", "server_info", "/server_info", "GET"),
    ("certs.json", "certs", "/certs", "GET"),
    ("stats.prom", "stats", "/stats/prometheus?usedonly", "GET"),
    # without parameters it lists the levels and changes none
    ("logging.txt", "logging", "/logging", "POST"),
    ("ready.txt", "ready", "/ready", "GET"),
)
_AGENT_PAGES = (
    ("ready.txt", "/healthz/ready"),
    ("stats.prom", "/stats/prometheus"),
    ("ndsz.json", "/debug/ndsz"),
)
DEBUG_PAGES = (
    "syncz",
    "adsz",
    "endpointShardz",
    "registryz",
    "configz",
    "authorizationz",
    "push_status",
    "mesh",
    "list",
    "config_distribution",
)
PER_PROXY_PAGES = ("edsz", "config_dump", "ndsz", "sidecarz")
_PPROF = (("heap", "/debug/pprof/heap"), ("goroutine", "/debug/pprof/goroutine"))
# signals are left out on purpose; metrics are gone from newer releases, and stand in metrics.prom anyway
_CONTROLZ = (
    ("scope", "/scopej/"),
    ("memory", "/memj/"),
    ("env", "/envj/"),
    ("process", "/procj/"),
    ("version", "/versionj/"),
    ("metrics", "/metricj/"),
)


_PROBERS = "ISTIO_KUBE_APP_PROBERS"


def resources(names: Sequence[str] = ()) -> tuple[Resource, ...]:
    """The kinds of objects to list; ConfigMaps are not among them, they are read by name."""
    return tuple(r for r in RESOURCES if r.kind != "ConfigMap" and (not names or r.plural in names))


def proxy_plan(
    pod: Mapping[str, Any], *, logs: bool, previous: bool = False, ports: bool = False, pprof: bool = False
) -> PodPlan:
    """What to ask of a pod with a proxy.

    Args:
        pod: the pod, as the API serves it.
        logs: with the logs of its containers.
        previous: also those of containers that were restarted.
        ports: with what it listens on, which needs exec.
        pprof: with profiles of the agent's memory and threads.
    """
    name, namespace = pod["metadata"]["name"], pod["metadata"].get("namespace", "default")
    proxy = f"{name}.{namespace}"
    pages = [
        Page(
            Document(f"envoy/{proxy}/{file}", kind, proxy=proxy, obtained=f"{method} {path}"),
            ADMIN,
            path,
            method,
            fallback=("pilot-agent", "request", method, path.lstrip("/")),
        )
        for file, kind, path, method in _PROXY_PAGES
    ]
    pages += [
        Page(Document(f"agent/{proxy}/{file}", "agent", proxy=proxy, obtained=f"GET :{AGENT}{path}"), AGENT, path)
        for file, path in _AGENT_PAGES
    ]
    pages += [
        Page(Document(f"agent/{proxy}/{file}", "agent", proxy=proxy, obtained=f"GET :{AGENT}{path}"), AGENT, path)
        for file, path in _probes(pod).items()
    ]
    if pprof:
        for topic, path in _PPROF:
            document = Document(f"agent/{proxy}/pprof.{topic}", "agent", proxy=proxy, obtained=f"GET :{AGENT}{path}")
            pages.append(Page(document, AGENT, path))
    if ports:
        document = Document(f"agent/{proxy}/ports.txt", "agent", proxy=proxy, obtained="ss -tnlp")
        pages.append(Page(document, COMMAND, "ss -tnlp"))
    for container, restarts in _containers(pod).items() if logs else ():
        kind = "proxy_log" if container == "istio-proxy" else "container_log"
        for suffix in ("", "-previous") if previous and restarts else ("",):
            path = f"logs/{proxy}/{container}{suffix}.log"
            pages.append(
                Page(Document(path, kind, proxy=proxy, obtained=f"log of {container}{suffix}"), LOG, container + suffix)
            )
    return PodPlan(name, namespace, "istio-proxy", tuple(pages))


def istiod_plan(
    pod: Mapping[str, Any], *, proxies: Iterable[str] = (), logs: bool = True, pprof: bool = False
) -> PodPlan:
    """What to ask of a pod of istiod.

    Args:
        pod: the pod.
        proxies: ask also what it would send these.
        logs: with its log.
        pprof: with profiles of its memory and threads.
    """
    name, namespace = pod["metadata"]["name"], pod["metadata"].get("namespace", "default")
    folder = f"istiod/{name}.{namespace}"
    release = next(
        (c.get("image", "") for c in pod["spec"].get("containers") or () if c.get("name") == "discovery"), ""
    )
    pages = [_debug(folder, page, f"/debug/{page}") for page in DEBUG_PAGES if _exists(page, release)]
    for proxy in proxies:
        for page in PER_PROXY_PAGES:
            query = f"/debug/{page}?proxyID={proxy}" + ("&include_eds=true" if page == "config_dump" else "")
            pages.append(_debug(folder, f"{page}.{proxy}", query, proxy=proxy))
    pages.append(
        Page(
            Document(f"{folder}/metrics.prom", "istiod_metrics", obtained="GET /metrics"),
            MONITORING,
            "/metrics",
            fallback=("pilot-discovery", "request", "GET", "/metrics"),
        )
    )
    for topic, path in _CONTROLZ:
        document = Document(f"{folder}/debug/controlz.{topic}.json", "istiod_debug", obtained=f"GET :{CONTROLZ}{path}")
        pages.append(Page(document, CONTROLZ, path))
    if pprof:
        pages += [
            Page(Document(f"{folder}/pprof.{topic}", "agent", obtained=f"GET {path}"), MONITORING, path)
            for topic, path in _PPROF
        ]
    if logs:
        document = Document(f"logs/{name}.{namespace}/discovery.log", "container_log", obtained="log of discovery")
        pages.append(Page(document, LOG, "discovery"))
    return PodPlan(name, namespace, "discovery", tuple(pages))


def _exists(page: str, release: str) -> bool:
    """Whether a release of istiod has a debug page; one that cannot be told counts as the newest."""
    known = debug_endpoints.find(page)
    return known is None or known.in_release(release)


def _probes(pod: Mapping[str, Any]) -> dict[str, str]:
    """Probes the injector rewrote: file → path the kubelet asks of the agent."""
    containers = (pod.get("spec") or {}).get("containers") or ()
    variables = [v for c in containers if c.get("name") == "istio-proxy" for v in c.get("env") or ()]
    text = next((v.get("value") for v in variables if v.get("name") == _PROBERS), None)
    try:
        paths = json.loads(text) if text else {}
    except ValueError:
        return {}
    return {f"app-health.{path.removeprefix('/app-health/').replace('/', '.')}.txt": path for path in sorted(paths)}


def _debug(folder: str, name: str, path: str, *, proxy: str = "") -> Page:
    document = Document(f"{folder}/debug/{name}.json", "istiod_debug", proxy=proxy, obtained=f"GET {path}")
    command = ("pilot-discovery", "request", "GET", path)
    return Page(document, MONITORING, path, other_ports=(DEBUG,), fallback=command)


def _containers(pod: Mapping[str, Any]) -> dict[str, int]:
    """Containers that run, with the number of their restarts."""
    status = pod.get("status") or {}
    listed = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    restarts = {item.get("name"): int(item.get("restartCount") or 0) for item in listed}
    spec = pod.get("spec") or {}
    names = [c.get("name") for c in spec.get("containers") or ()]
    names += [c.get("name") for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    return {name: restarts.get(name, 0) for name in names if name}


def slim(pod: Mapping[str, Any]) -> dict[str, Any]:
    """What planning needs of a pod; thousands of them are held while a capture runs.

    Example:
        >>> slim({"metadata": {"name": "a", "uid": "1"}, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}})
        {'metadata': {'name': 'a'}, 'spec': {}, 'status': {'phase': 'Running'}}
    """

    def some(part: Any, *keys: str) -> dict[str, Any]:
        return {key: part[key] for key in keys if key in part}

    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    slim_spec = {
        key: [
            {
                **some(container, "name", "image", "restartPolicy"),
                "env": [v for v in container.get("env") or () if v.get("name") == _PROBERS],
            }
            for container in spec[key]
        ]
        for key in ("containers", "initContainers")
        if spec.get(key)
    }
    slim_status = {
        key: [some(item, "name", "restartCount") for item in status[key]]
        for key in ("containerStatuses", "initContainerStatuses")
        if status.get(key)
    }
    meta = some(pod["metadata"], "name", "namespace", "labels", "ownerReferences")
    return {"metadata": meta, "spec": slim_spec, "status": {**some(status, "phase"), **slim_status}}


def has_proxy(pod: Mapping[str, Any]) -> bool:
    """Whether a pod runs with a proxy."""
    return (pod.get("status") or {}).get("phase") == "Running" and "istio-proxy" in _containers(pod)


def is_istiod(pod: Mapping[str, Any]) -> bool:
    """Whether a pod runs istiod."""
    labels = (pod.get("metadata") or {}).get("labels") or {}
    running = (pod.get("status") or {}).get("phase") == "Running"
    return running and labels.get("app") == "istiod" and "discovery" in _containers(pod)


def selects(pod: Mapping[str, Any], wanted: Sequence[str]) -> bool:
    """Whether a pod is of one of the workloads wanted, all if none is.

    A workload is the name of a pod, Deployment, StatefulSet or DaemonSet (`*` allowed), or a label (`app=catalog`).

    Example:
        >>> pod = {"metadata": {"name": "catalog-5d4f7c9b8-v1aaa", "labels": {"app": "catalog"}}}
        >>> selects(pod, ["app=catalog"]), selects(pod, ["deploy/catalog"]), selects(pod, ["webapp"])
        (True, True, False)
    """
    if not wanted:
        return True
    meta = pod.get("metadata") or {}
    labels, name = meta.get("labels") or {}, str(meta.get("name"))
    owner = next((o.get("name", "") for o in meta.get("ownerReferences") or ()), "")
    names = {name, owner, owner.removesuffix(f"-{labels.get('pod-template-hash', '')}"), name.rsplit("-", 2)[0]}
    for item in wanted:
        key, equals, value = item.partition("=")
        if equals and labels.get(key) == value:
            return True
        if not equals and any(fnmatch.fnmatchcase(n, item.rpartition("/")[2]) for n in names if n):
            return True
    return False
