"""What runs where: the pods of the lab, their loopback addresses, and the folder that holds a lab's state."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshnb.errors import LabError, UsageError

SUBNET = "127.0.40"
"""First three numbers of the addresses of the default lab."""

TRUST_DOMAIN = "cluster.local"
CLUSTER_ID = "lab"
ADMIN_PORT, STATS_PORT = 15000, 15090
GATEWAY_PORT, APP_PORT, OUTBOUND_PORT = 8080, 3000, 15001
XDS_PORT, MONITOR_PORT, PROMETHEUS_PORT = 15010, 15014, 9090
CONTROL_PLANE_POD = "lab-controlplane-5f6d7c8b9-cp001"
CONTAINER_LABELS = {"container": "discovery", "namespace": "istio-system", "pod": "istiod-lab"}
"""The control plane as the kubelet would label it; queries for istiod look for pods named `istiod-…`."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod: an Envoy and, behind a sidecar, an app.

    Args:
        name: pod name.
        namespace: its namespace.
        workload: Deployment it belongs to.
        app: label `app`.
        version: label `version`.
        host: last number of its address.
        labels: further labels.
    """

    name: str
    namespace: str
    workload: str
    app: str
    version: str
    host: int
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def proxy(self) -> str:
        """`POD.NAMESPACE`, as proxies are named everywhere."""
        return f"{self.name}.{self.namespace}"

    @property
    def is_gateway(self) -> bool:
        """Whether it is the ingress gateway, which has no app."""
        return self.app == "istio-ingressgateway"

    @property
    def service_account(self) -> str:
        """Service account, which makes its identity."""
        return "istio-ingressgateway-service-account" if self.is_gateway else self.app

    @property
    def identity(self) -> str:
        """SPIFFE identity in its certificate."""
        return f"spiffe://{TRUST_DOMAIN}/ns/{self.namespace}/sa/{self.service_account}"

    @property
    def all_labels(self) -> dict[str, str]:
        """All labels of the pod."""
        return {"app": self.app, "version": self.version, **self.labels}


PODS = (
    Pod(
        "istio-ingressgateway-7d9f8c6b5-lab01",
        "istio-system",
        "istio-ingressgateway",
        "istio-ingressgateway",
        "v1",
        10,
        {"istio": "ingressgateway"},
    ),
    Pod("catalog-5d4f7c9b8-v1aaa", "istioinaction", "catalog", "catalog", "v1", 11),
    Pod("catalog-v2-6c8d9f7b6-aaaa1", "istioinaction", "catalog-v2", "catalog", "v2", 12),
    Pod("catalog-v2-6c8d9f7b6-bbbb2", "istioinaction", "catalog-v2", "catalog", "v2", 13),
    Pod("webapp-8dc87795f-web01", "istioinaction", "webapp", "webapp", "v1", 14),
)
"""Pods of the lab: the gateway, catalog v1 once and v2 twice, webapp."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One lab: its addresses and options.

    Args:
        subnet: first three numbers of its addresses; must start with `127.`.
        log_format: `json` or `text`, the encoding of the access log.
        stats: `istio` keeps the metrics a mesh keeps by default, `all` keeps everything Envoy counts.
        envoy: path of the Envoy binary.
        envoy_version: its version.
        prometheus: path of Prometheus, empty if there is none.
        debounce_after_s: `PILOT_DEBOUNCE_AFTER` of the control plane: quiet time before a push.
        debounce_max_s: `PILOT_DEBOUNCE_MAX`: longest wait.
        eds_debounce: `PILOT_ENABLE_EDS_DEBOUNCE`: whether changes of endpoints alone wait too.
        push_throttle: `PILOT_PUSH_THROTTLE`: proxies served at once.

    Raises:
        UsageError: a subnet outside loopback, an unknown option, a negative time, a throttle below 1.
    """

    subnet: str = SUBNET
    log_format: str = "json"
    stats: str = "istio"
    envoy: str = ""
    envoy_version: str = ""
    prometheus: str = ""
    debounce_after_s: float = 0.1
    debounce_max_s: float = 10.0
    eds_debounce: bool = True
    push_throttle: int = 100

    def __post_init__(self) -> None:
        numbers = self.subnet.split(".") if re.fullmatch(r"127\.\d{1,3}\.\d{1,3}", self.subnet) else []
        if not numbers or any(int(number) > 255 for number in numbers):
            raise UsageError(f"{self.subnet!r} is no loopback subnet", hint="three numbers such as 127.0.40")
        if self.log_format not in ("json", "text"):
            raise UsageError(f"log format {self.log_format!r}", hint="json or text")
        if self.stats not in ("istio", "all"):
            raise UsageError(f"stats {self.stats!r}", hint="istio or all")
        if not (0 <= self.debounce_after_s <= 60 and 0 <= self.debounce_max_s <= 60):
            raise UsageError("a debounce time is 0 to 60 seconds", hint="Istio's own: 0.1 and 10")
        if self.push_throttle < 1:
            raise UsageError(f"push throttle {self.push_throttle}", hint="1 or more; Istio's own was 100")

    def address(self, host: int) -> str:
        """An address of the lab."""
        return f"{self.subnet}.{host}"

    def ip(self, pod: Pod) -> str:
        """Address of a pod, where its Envoy listens."""
        return self.address(pod.host)

    def app_ip(self, pod: Pod) -> str:
        """Address of the app behind a sidecar; in a cluster it would be reached inside the pod."""
        return self.address(pod.host + 100)

    @property
    def control_plane(self) -> str:
        """Address of the control plane."""
        return self.address(2)

    @property
    def prometheus_address(self) -> str:
        """Address of Prometheus."""
        return self.address(3)

    @property
    def client(self) -> str:
        """Address the traffic comes from."""
        return self.address(200)

    @property
    def gateway(self) -> str:
        """Address of the ingress gateway."""
        return self.ip(PODS[0])

    def listening(self) -> Iterator[tuple[str, int, str]]:
        """Every address, port and who binds it."""
        yield self.control_plane, XDS_PORT, "control plane, xDS"
        yield self.control_plane, MONITOR_PORT, "control plane, /debug and /metrics"
        for pod in PODS:
            yield self.ip(pod), ADMIN_PORT, f"{pod.proxy}, Envoy admin"
            yield self.ip(pod), STATS_PORT, f"{pod.proxy}, Envoy metrics"
            yield self.ip(pod), GATEWAY_PORT if pod.is_gateway else APP_PORT, f"{pod.proxy}, inbound"
            if not pod.is_gateway:
                yield self.ip(pod), OUTBOUND_PORT, f"{pod.proxy}, outbound"
                yield self.app_ip(pod), APP_PORT, f"{pod.proxy}, app"
        if self.prometheus:
            yield self.prometheus_address, PROMETHEUS_PORT, "Prometheus"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """From the lab's folder."""
        return cls(**json.loads(text))


def find_pod(name: str) -> Pod:
    """A pod by its name or `POD.NAMESPACE`.

    Raises:
        LabError: no such pod.
    """
    for pod in PODS:
        if name in (pod.name, pod.proxy):
            return pod
    raise LabError(f"the lab has no pod {name!r}", hint=f"pods: {', '.join(pod.name for pod in PODS)}")


def cache() -> Path:
    """Where meshnb keeps what can be made again: `$XDG_CACHE_HOME/meshnb`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "meshnb"


@dataclass(frozen=True, slots=True)
class LabHome:
    """The folder with all state of one lab."""

    root: Path

    @classmethod
    def of(cls, home: str | Path | None = None, *, subnet: str = SUBNET) -> LabHome:
        """The folder of a lab.

        Args:
            home: the folder; by default `$MESHNB_LAB_HOME`, else one per subnet in the cache.
            subnet: the lab's subnet.
        """
        given = home or os.environ.get("MESHNB_LAB_HOME")
        return cls(Path(given).expanduser().absolute() if given else cache() / "lab" / subnet)

    @property
    def plan(self) -> Path:
        """The `Plan`."""
        return self.root / "plan.json"

    @property
    def wanted(self) -> Path:
        """Which processes should run, and with which certificates; the supervisor and the control plane follow it."""
        return self.root / "wanted.json"

    @property
    def state(self) -> Path:
        """Which processes run: written by the supervisor."""
        return self.root / "state.json"

    @property
    def objects(self) -> Path:
        """Istio and Kubernetes objects of the control plane."""
        return self.root / "objects.json"

    @property
    def marks(self) -> Path:
        """Sizes of the logs at the last change, so that a capture can begin there."""
        return self.root / "marks.json"

    @property
    def pki(self) -> Path:
        """Certificates and keys of the lab's own CA."""
        return self.root / "pki"

    @property
    def logs(self) -> Path:
        """Logs of all processes."""
        return self.root / "logs"

    def log(self, process: str) -> Path:
        """Log of one process."""
        return self.logs / f"{process.replace(':', '-')}.log"

    def load_plan(self) -> Plan:
        """The plan of the lab in this folder.

        Raises:
            LabError: there is no lab.
        """
        try:
            return Plan.from_json(self.plan.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise LabError(f"no lab in {self.root}", hint="start one: meshnb lab up") from None
        except (ValueError, TypeError) as error:
            raise LabError(f"{self.plan} is damaged: {error}", hint="meshnb lab down, then up") from error

    def read(self, path: Path) -> dict[str, Any]:
        """A JSON file of the lab; empty if it is not there."""
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return data

    def write(self, path: Path, data: object, *, indent: int | None = 1) -> None:
        """Write a JSON file so that a reader never sees half of it; without `indent` in a tenth of the time."""
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.write_text(json.dumps(data, indent=indent), encoding="utf-8")
        part.replace(path)
