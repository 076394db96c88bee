"""Probes: from the spec of a pod, from the line kubectl describe prints, and the originals of rewritten ones."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meshnb.errors import FormatError
from meshnb.loaders.objects import SIDECAR, Object, metadata, section, sequence, to_json
from meshnb.loaders.shape import shaped
from meshnb.model.frame import returns
from meshnb.model.tables.components import PROBES

if TYPE_CHECKING:
    import pandas as pd

PROBERS = "ISTIO_KUBE_APP_PROBERS"
"""Where the injector keeps the probes it rewrote, as JSON in the environment of the proxy."""

_KINDS = (("readiness", "readyz"), ("liveness", "livez"), ("startup", "startupz"))
_TEXT = re.compile(
    r"(?:(?P<probe>Readiness|Liveness|Startup):\s+)?(?P<type>http-get|tcp-socket|exec|grpc)\s+(?P<target>.+?)\s+"
    r"delay=(?P<delay>\d+)s\s+timeout=(?P<timeout>\d+)s\s+period=(?P<period>\d+)s\s+"
    r"#success=(?P<success>\d+)\s+#failure=(?P<failure>\d+)"
)
_URL = re.compile(r"(?P<scheme>https?)://(?P<host>[^:/\]]*|\[[^\]]*\]):(?P<port>[\w-]+)(?P<path>/.*)?")


@returns(PROBES)
@shaped("pods")
def probes_table(objects: Sequence[Object], *, file: str = "") -> pd.DataFrame:
    """Probes of pods, one row each; other kinds are left out."""
    rows: list[dict[str, Any]] = []
    for pod in objects:
        if pod.get("kind") != "Pod":
            continue
        meta = metadata(pod, file=file)
        proxy = f"{meta['name']}.{meta.get('namespace', 'default')}"
        spec = section(pod, "spec", file, f"Pod {proxy}")
        containers = [
            *sequence(spec.get("containers"), file=file, where=f"Pod {proxy} spec.containers"),
            *(c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"),
        ]
        originals = app_probers(containers, file=file, where=f"Pod {proxy}")
        for container in containers:
            for probe, suffix in _KINDS:
                spec_of = container.get(f"{probe}Probe")
                if spec_of:
                    original = originals.get(f"/app-health/{container.get('name')}/{suffix}")
                    rows.append({"proxy": proxy, **_probe(container, probe, spec_of, original)})
    return PROBES.rows(rows)


def app_probers(containers: Sequence[Object], *, file: str = "", where: str = "") -> dict[str, Any]:
    """S. `PROBERS`: the probes the injector rewrote, by the path that stands in for each.

    Raises:
        FormatError: the environment holds something else.

    Example:
        >>> env = [{"name": PROBERS, "value": '{"/app-health/web/livez": {"httpGet": {"path": "/foo", "port": 8001}}}'}]
        >>> app_probers([{"name": "istio-proxy", "env": env}])["/app-health/web/livez"]["httpGet"]["port"]
        8001
    """
    proxy = next((c for c in containers if c.get("name") == SIDECAR), {})
    text = next((e.get("value") for e in proxy.get("env") or () if e.get("name") == PROBERS), None)
    if not text:
        return {}
    try:
        probers = json.loads(text)
    except ValueError as error:
        raise FormatError(f"{PROBERS} is not JSON: {error}", file=file, position=where) from error
    if not isinstance(probers, dict):
        raise FormatError(f"{PROBERS} must be an object", file=file, position=where)
    return probers


def _probe(container: Object, probe: str, spec: Object, original: Object | None) -> dict[str, Any]:
    kind, target = _target(spec)
    return {
        "container": container.get("name", ""),
        "probe": probe,
        "type": kind,
        **target,
        "delay_s": spec.get("initialDelaySeconds", 0),
        "timeout_s": spec.get("timeoutSeconds", 1),
        "period_s": spec.get("periodSeconds", 10),
        "success": spec.get("successThreshold", 1),
        "failure": spec.get("failureThreshold", 3),
        "rewritten": str(target.get("path") or "").startswith("/app-health/"),
        "original": to_json(original) if original is not None else None,
        # the injector keeps what to ask, not how often: that stays in the rewritten probe
        "original_text": probe_text({**spec, **_without_targets(spec), **original}) if original is not None else None,
    }


def _without_targets(spec: Object) -> dict[str, None]:
    return {name: None for name in ("httpGet", "tcpSocket", "exec", "grpc") if name in spec}


def _target(spec: Object) -> tuple[str, dict[str, Any]]:
    if http := spec.get("httpGet"):
        keys = ("scheme", "host", "port", "path")
        target = {key: str(http[key]) for key in keys if http.get(key) not in (None, "")}
        return "http-get", {"scheme": "HTTP", "path": "/", **target}
    if tcp := spec.get("tcpSocket"):
        return "tcp-socket", {"host": tcp.get("host") or None, "port": str(tcp.get("port", ""))}
    if grpc := spec.get("grpc"):
        return "grpc", {"port": str(grpc.get("port", "")), "path": grpc.get("service") or None}
    return "exec", {"path": " ".join((spec.get("exec") or {}).get("command") or ())}


def probe_text(spec: Mapping[str, Any]) -> str:
    """A probe as kubectl describe writes it.

    Example:
        >>> probe_text({"httpGet": {"path": "/ready", "port": 8080}, "timeoutSeconds": 5, "periodSeconds": 3})
        'http-get http://:8080/ready delay=0s timeout=5s period=3s #success=1 #failure=3'
    """
    kind, target = _target(spec)
    if kind == "http-get":
        where = f"{target['scheme'].lower()}://{target.get('host', '')}:{target.get('port', '')}{target['path']}"
    elif kind == "exec":
        where = f"[{target['path']}]"
    else:
        where = f"{target.get('host') or ''}:{target['port']}"
    return (
        f"{kind} {where} delay={spec.get('initialDelaySeconds', 0)}s timeout={spec.get('timeoutSeconds', 1)}s "
        f"period={spec.get('periodSeconds', 10)}s #success={spec.get('successThreshold', 1)} "
        f"#failure={spec.get('failureThreshold', 3)}"
    )


@returns(PROBES)
def read_probe_text(data: bytes | str, *, proxy: str = "", file: str = "") -> pd.DataFrame:
    """Probes from what `kubectl describe pod` printed; containers are read from the headings above them.

    Raises:
        FormatError: there is no probe in it.

    Example:
        >>> line = "Liveness: http-get http://:15021/healthz delay=1s timeout=3s period=2s #success=1 #failure=30"
        >>> read_probe_text(line)[["port", "path", "failure"]].values.tolist()
        [['15021', '/healthz', 30]]
    """
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    name = re.search(r"^Name:\s+(\S+)\s*$", text, re.MULTILINE)
    namespace = re.search(r"^Namespace:\s+(\S+)\s*$", text, re.MULTILINE)
    proxy = proxy or (f"{name[1]}.{namespace[1]}" if name and namespace else "")
    container, rows = "", []
    for line in text.splitlines():
        if heading := re.match(r"^ {2}(\S+):\s*$", line):
            container = heading[1]
        if match := _TEXT.search(line):
            rows.append({"proxy": proxy, "container": container, **_from_text(match)})
    if not rows:
        raise FormatError("no probe in it", file=file, hint="save it with: kubectl -n NAMESPACE describe pod POD")
    return PROBES.rows(rows)


def _from_text(match: re.Match[str]) -> dict[str, Any]:
    target: dict[str, Any] = {"path": match["target"].strip("[]") if match["type"] == "exec" else None}
    if url := _URL.fullmatch(match["target"]):
        target = {
            "scheme": url["scheme"].upper(),
            "host": url["host"] or None,
            "port": url["port"],
            "path": url["path"],
        }
    elif match["type"] != "exec":
        host, _, port = match["target"].rpartition(":")
        target = {"host": host or None, "port": port}
    return {
        "probe": (match["probe"] or "readiness").lower(),
        "type": match["type"],
        **target,
        **{name: int(match[name.removesuffix("_s")]) for name in ("delay_s", "timeout_s", "period_s")},
        "success": int(match["success"]),
        "failure": int(match["failure"]),
        "rewritten": str(target.get("path") or "").startswith("/app-health/"),
    }
