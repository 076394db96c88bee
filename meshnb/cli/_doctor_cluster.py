"""What the doctor asks of a cluster: istiod, releases, Prometheus, and every verb a capture needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshnb.errors import MeshnbError, MissingExtra, NotFound

if TYPE_CHECKING:
    import pandas as pd

    from meshnb.sources.kubernetes import Cluster


@dataclass(frozen=True, slots=True)
class Line:
    """What was looked at.

    Args:
        name: what.
        state: `ok`, `absent` (a part you may do without) or `broken`.
        said: what was seen.
        todo: what to do; empty if all is well.
    """

    name: str
    state: str
    said: str
    todo: str = ""


def look(name: str, check: Callable[[], Line]) -> Line:
    """What a check says; an error of meshnb is what is broken, a missing extra is merely absent."""
    try:
        return check()
    except MissingExtra as error:
        return Line(name, "absent", error.message, error.hint)
    except MeshnbError as error:
        return Line(name, "broken", error.message, error.hint or "see the message")
    except Exception as error:  # a doctor that falls ill helps nobody: say it and go on
        return Line(name, "broken", f"{type(error).__name__}: {error}", "see the message")


def cluster_lines(context: str, namespaces: list[str], istio_namespace: str) -> list[Line]:
    """The cluster, and every verb a capture needs; what is refused is absent, not broken: a capture does without."""
    from meshnb.sources.access import review
    from meshnb.sources.kubernetes import Cluster

    def reach() -> Line:
        return Line("cluster", "ok", f"answers, Kubernetes {Cluster.connect(context).version()}")

    first = look("cluster", reach)
    if first.state != "ok":
        return [first]
    cluster = Cluster.connect(context)
    lines = [
        first,
        look("istiod", lambda: _istiod(cluster, istio_namespace)),
        look("proxies", lambda: _proxies(cluster, namespaces, istio_namespace)),
        look("metrics", lambda: _mesh_metrics(cluster, istio_namespace)),
    ]
    for access in review(cluster, namespaces=namespaces, istio_namespace=istio_namespace):
        refused = f"refused: {access.refused}" if access.refused else "allowed"
        state = "absent" if access.refused else "ok"
        lines.append(Line(access.what, state, refused, access.without if access.refused else ""))
    return lines


def _pods(cluster: Cluster, namespace: str) -> list[Mapping[str, Any]]:
    from meshnb.loaders.objects import decode_objects
    from meshnb.model.resources import find

    return [pod for page in cluster.pages(find("pods"), namespace=namespace) for pod in decode_objects(page)]


def _istiods(cluster: Cluster, namespace: str) -> pd.DataFrame:
    from meshnb.loaders.pod_settings import istiods_table

    return istiods_table(_pods(cluster, namespace))


def _istiod(cluster: Cluster, namespace: str) -> Line:
    """Pods of istiod, whether they are ready, and of which release."""
    found = _istiods(cluster, namespace)
    if found.empty:
        return Line("istiod", "absent", f"no pod of istiod in {namespace}", "say where it runs with --istio-namespace")
    releases = ", ".join(sorted(set(found["version"].dropna()))) or "of an unknown release"
    said = f"{int(found['ready'].sum())} of {len(found)} pods ready, Istio {releases}"
    if not found["ready"].all():
        return Line("istiod", "broken", said, f"kubectl -n {namespace} describe pod -l app=istiod")
    return Line("istiod", "ok", said)


def _proxies(cluster: Cluster, namespaces: list[str], istio_namespace: str) -> Line:
    """Releases of the proxies, by their images, against those of istiod."""
    from meshnb.checks.sync_members import lag
    from meshnb.loaders.objects import pods_table

    spaces = sorted({*namespaces, istio_namespace}) if namespaces else [""]
    pods = pods_table([pod for space in spaces for pod in _pods(cluster, space)])
    images = pods[pods.has_sidecar].proxy_image.dropna()
    if images.empty:
        return Line("proxies", "absent", "no pod with a proxy", "is injection on: kubectl get ns -L istio-injection")
    counts = (
        images.str.extract(r":v?(?P<release>\d[\w.-]*)(?:@|$)")["release"]
        .fillna("unknown release")
        .value_counts()
        .sort_index()
    )
    told = ", ".join(f"{release} ({count})" for release, count in counts.items())
    planes = sorted(set(_istiods(cluster, istio_namespace)["version"].dropna()))
    said = f"{len(images)} of them: {told}; istiod {', '.join(planes) or 'of an unknown release'}"
    # a proxy fits if it fits one of the istiods: revisions live side by side while the mesh is upgraded
    gaps = {
        release: [gap for plane in planes if (gap := lag(str(release), plane)) is not None] for release in counts.index
    }
    ahead = [str(release) for release, found in gaps.items() if found and max(found) < 0]
    behind = [str(release) for release, found in gaps.items() if found and min(abs(gap) for gap in found) > 1]
    if ahead:
        return Line("proxies", "broken", f"{said}; {', '.join(ahead)} are ahead of istiod", "upgrade istiod first")
    if behind:
        said += f"; {', '.join(behind)} are more than one minor release behind"
        return Line("proxies", "broken", said, "restart their workloads: kubectl rollout restart deployment")
    if not any(gaps.values()):
        return Line("proxies", "absent", said, "compare them by hand: istioctl version")
    return Line("proxies", "ok", f"{said}: they fit")


def _mesh_metrics(cluster: Cluster, istio_namespace: str) -> Line:
    """Whether a capture with --with prometheus would find one."""
    from meshnb.sources.mesh_prometheus import mesh_prometheus

    said: list[str] = []
    try:
        with mesh_prometheus(cluster, istio_namespace=istio_namespace, progress=said.append):
            pass
    except NotFound as error:
        return Line("metrics", "absent", error.message, error.hint)
    if "does not scrape" in said[0]:
        return Line("metrics", "absent", f"{said[0]}", "have it scrape istiod, port 15014")
    return Line("metrics", "ok", f"{said[0]} answers and scrapes istiod")


def metrics(url: str) -> Line:
    """Whether a Prometheus answers, of which version, and whether it has metrics of istiod."""
    from contextlib import closing

    from meshnb.sources.prometheus import PrometheusApi

    api = PrometheusApi(url, timeout=10.0, retries=1)
    with closing(api.session):
        number = json.loads(api.ask("status/buildinfo")).get("data", {}).get("version", "of an unknown version")
        scrapes = json.loads(api.query("count(pilot_xds)")).get("data", {}).get("result")
    if not scrapes:
        return Line("metrics", "absent", f"Prometheus {number} answers, without pilot_xds", "does it scrape istiod?")
    return Line("metrics", "ok", f"Prometheus {number} answers and scrapes istiod")
