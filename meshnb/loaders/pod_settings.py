"""Settings that stand in the spec of a pod: those of istiod, and what a proxy's environment tells istiod."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from meshnb.loaders.objects import SIDECAR, Object, metadata, section, sequence, to_json
from meshnb.loaders.probes import probe_text
from meshnb.loaders.shape import shaped
from meshnb.model.frame import returns
from meshnb.model.tables.components import ISTIODS, PROXY_METADATA

if TYPE_CHECKING:
    import pandas as pd

_TAG = re.compile(r":(\d+\.\d+[\w.-]*)(?:@|$)")
_FIELDS = {
    "metadata.name": ("metadata", "name"),
    "metadata.namespace": ("metadata", "namespace"),
    "spec.serviceAccountName": ("spec", "serviceAccountName"),
    "spec.nodeName": ("spec", "nodeName"),
    "status.podIP": ("status", "podIP"),
    "status.hostIP": ("status", "hostIP"),
}


@returns(ISTIODS)
@shaped("pods")
def istiods_table(objects: Sequence[Object], *, file: str = "") -> pd.DataFrame:
    """Pods of istiod, with arguments and environment; other pods and kinds are left out."""
    rows = []
    for pod in objects:
        meta, container = _container(pod, "discovery", file)
        labels = meta.get("labels") or {}
        if container is None or not (labels.get("app") == "istiod" or labels.get("istio") in ("pilot", "istiod")):
            continue
        env, image = environment(pod, container), container.get("image")
        args = [str(a) for a in container.get("args") or ()]
        tag = _TAG.search(image or "")
        ready: Object = next(
            (c for c in (pod.get("status") or {}).get("conditions") or () if c.get("type") == "Ready"), {}
        )
        rows.append(
            {
                "namespace": meta.get("namespace", "default"),
                "istiod": meta["name"],
                "ready": ready.get("status") == "True",
                "revision": env.get("REVISION") or labels.get("istio.io/rev"),
                "image": image,
                "version": tag[1] if tag else labels.get("app.kubernetes.io/version"),
                **_arguments(args),
                "readiness": probe_text(container["readinessProbe"]) if container.get("readinessProbe") else None,
                "cluster_id": env.get("CLUSTER_ID"),
                "jwt_policy": env.get("JWT_POLICY"),
                "cert_provider": env.get("PILOT_CERT_PROVIDER"),
                "istiod_addr": env.get("ISTIOD_ADDR"),
                "trace_sampling": _number(env.get("PILOT_TRACE_SAMPLING"), 1.0),
                "sniffing_inbound": _flag(env.get("PILOT_ENABLE_PROTOCOL_SNIFFING_FOR_INBOUND"), True),
                "sniffing_outbound": _flag(env.get("PILOT_ENABLE_PROTOCOL_SNIFFING_FOR_OUTBOUND"), True),
                "analysis": _flag(env.get("PILOT_ENABLE_ANALYSIS"), False),
                "debug_on_http": _flag(env.get("ENABLE_DEBUG_ON_HTTP"), True),
                "debug_auth": _flag(env.get("ENABLE_DEBUG_ENDPOINT_AUTH"), True),
                "args": args,
                "env": to_json(env),
            }
        )
    return ISTIODS.rows(rows)


def _arguments(args: Sequence[str]) -> dict[str, Any]:
    values: dict[str, str] = {}
    for number, argument in enumerate(args):
        name, equals, value = argument.partition("=")
        if name.startswith("--"):
            following = args[number + 1] if number + 1 < len(args) else ""
            values[name] = value if equals else "" if following.startswith("--") else following
    return {
        "log_level": values.get("--log_output_level"),
        "monitoring_addr": values.get("--monitoringAddr"),
        "domain": values.get("--domain"),
        "max_connection_age": values.get("--keepaliveMaxServerConnectionAge"),
        "plaintext_xds": values.get("--grpcAddr", ":15010") != "",
    }


@returns(PROXY_METADATA)
@shaped("pods")
def proxy_metadata_table(objects: Sequence[Object], *, file: str = "") -> pd.DataFrame:
    """What each proxy's environment tells istiod; pods without proxy and other kinds are left out."""
    rows = []
    for pod in objects:
        meta, container = _container(pod, SIDECAR, file)
        if container is None:
            continue
        env = environment(pod, container)
        rows.append(
            {
                "proxy": f"{meta['name']}.{meta.get('namespace', 'default')}",
                "workload": env.get("ISTIO_META_WORKLOAD_NAME"),
                "owner": env.get("ISTIO_META_OWNER"),
                "cluster_id": env.get("ISTIO_META_CLUSTER_ID"),
                "mesh_id": env.get("ISTIO_META_MESH_ID"),
                "network": env.get("ISTIO_META_NETWORK"),
                "node_name": env.get("ISTIO_META_NODE_NAME"),
                "interception_mode": env.get("ISTIO_META_INTERCEPTION_MODE"),
                "trust_domain": env.get("TRUST_DOMAIN"),
                "app_containers": [c for c in (env.get("ISTIO_META_APP_CONTAINERS") or "").split(",") if c],
                "pod_ports": _ports(env.get("ISTIO_META_POD_PORTS")),
                "dns_capture": _flag(env.get("ISTIO_META_DNS_CAPTURE"), False),
                "ca_address": env.get("CA_ADDR"),
                "env": to_json(env),
            }
        )
    return PROXY_METADATA.rows(rows)


def _ports(text: str | None) -> str:
    """The list of ports; the injector writes it with line breaks. What is no JSON is kept as a text."""
    try:
        return to_json(json.loads(text)) if text else "[]"
    except ValueError:
        return to_json(text)


def _container(pod: Object, name: str, file: str) -> tuple[Object, Object | None]:
    if pod.get("kind") != "Pod":
        return {}, None
    meta = metadata(pod, file=file)
    spec = section(pod, "spec", file, f"Pod {meta['name']}")
    containers = sequence(spec.get("containers"), file=file, where=f"Pod {meta['name']} spec.containers")
    every = [*containers, *(spec.get("initContainers") or ())]
    return meta, next((c for c in every if c.get("name") == name), None)


def environment(pod: Object, container: Object) -> dict[str, str | None]:
    """The environment of a container; a value taken from a field is read from the pod, another one is missing."""
    return dict(_variables(pod, container))


def _variables(pod: Object, container: Object) -> Iterator[tuple[str, str | None]]:
    for variable in container.get("env") or ():
        value = variable.get("value")
        field = ((variable.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath")
        if value is None and field in _FIELDS:
            part, name = _FIELDS[field]
            value = (pod.get(part) or {}).get(name)
        yield variable.get("name", ""), value


def _flag(text: str | None, default: bool) -> bool:
    return default if text is None else text.strip().lower() in ("1", "t", "true")


def _number(text: str | None, default: float) -> float:
    try:
        return float(text) if text is not None else default
    except ValueError:
        return default
