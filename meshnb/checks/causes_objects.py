"""The objects of a captured mesh, as what repairs a cause looks for them: whole, by kind, name, host and route."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshnb.envoy.names import full_host
from meshnb.model.finding import Subject

if TYPE_CHECKING:
    import pandas as pd

Object = dict[str, Any]
Found = Iterator[tuple[Object | None, str]]
"""Objects changed so that they repair a failure, `None` where nothing was to change, and what to mind."""

PROXY_CONTAINER = "istio-proxy"
_KEPT = ("name", "namespace", "labels", "annotations")


@dataclass(frozen=True, slots=True)
class Failure:
    """What failed.

    Args:
        cause: name of the cause.
        subject: the object it is about.
        host: full name of the service called; empty if none was.
        authority: host asked for.
        path: path asked for.
        code: status that most callers got; 0 for none.
        details: most frequent `response_code_details`.
        subsets: subsets of the service whose requests fail; an empty name is the whole service.
        failing: pods of the service at which requests fail for this cause.
    """

    cause: str
    subject: Subject
    host: str = ""
    authority: str = ""
    path: str = ""
    code: int = 0
    details: str = ""
    subsets: tuple[str, ...] = ("",)
    failing: frozenset[Subject] = frozenset()


class Objects:
    """The objects by kind; each is handed out as a copy, to be changed."""

    def __init__(self, objects: pd.DataFrame) -> None:
        self._objects = objects

    def of(self, kind: str) -> list[Object]:
        """All objects of a kind."""
        rows = self._objects[self._objects.kind == kind]
        return [json.loads(text) for text in rows.object]

    def named(self, subject: Subject) -> Object | None:
        """One object."""
        return next((one for one in self.of(subject.kind) if name_of(one) == (subject.namespace, subject.name)), None)

    def rules(self, host: str) -> list[Object]:
        """DestinationRules of a service, wherever their host is written short."""
        return [one for one in self.of("DestinationRule") if host_in(one["spec"]["host"], one) == host]

    def routes(self, failure: Failure) -> list[Object]:
        """VirtualServices that a request for the authority, or to the host, may have taken."""
        if failure.subject.kind == "VirtualService":
            named = self.named(failure.subject)
            return [named] if named is not None else []
        bare = failure.authority.partition(":")[0]
        return [one for one in self.of("VirtualService") if bare in (one["spec"].get("hosts") or ())]

    def service(self, host: str) -> Object | None:
        """The Service of a full name."""
        name, _, rest = host.partition(".")
        return self.named(Subject("Service", name, rest.partition(".")[0]))

    def replicas(self, host: str, subset: str = "") -> list[Object]:
        """The pods behind a service, or behind one of its subsets, that are ready."""
        service = self.service(host)
        labels = dict((service or {"spec": {}})["spec"].get("selector") or {})
        if not labels or service is None:
            return []
        if subset:
            defined = [one for rule in self.rules(host) for one in rule["spec"].get("subsets") or ()]
            mine = next((one for one in defined if one["name"] == subset), None)
            if mine is None:
                return []
            labels |= mine.get("labels") or {}
        namespace = name_of(service)[0]
        pods = [pod for pod in self.of("Pod") if name_of(pod)[0] == namespace]
        return [pod for pod in pods if labels.items() <= labels_of(pod).items() and _is_ready(pod)]


def name_of(thing: Mapping[str, Any]) -> tuple[str, str]:
    """Namespace and name."""
    return str(thing["metadata"].get("namespace", "")), str(thing["metadata"]["name"])


def labels_of(thing: Mapping[str, Any]) -> dict[str, str]:
    """Labels."""
    return thing["metadata"].get("labels") or {}


def host_in(host: str, owner: Mapping[str, Any]) -> str:
    """The full name of a host that an object may write short."""
    return full_host(host, owner["metadata"].get("namespace", "default"))


def has_sidecar(pod: Mapping[str, Any]) -> bool:
    """Whether a pod has a proxy of the mesh."""
    spec = pod.get("spec") or {}
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return any(one.get("name") == PROXY_CONTAINER for one in containers)


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def policies(rule: Object) -> list[Object]:
    """The traffic policies of a DestinationRule: of the host, and of subsets that have their own."""
    spec = rule["spec"]
    given = [spec.get("trafficPolicy"), *(subset.get("trafficPolicy") for subset in spec.get("subsets") or ())]
    return [policy for policy in given if policy]


def as_yaml(thing: Object) -> str:
    """What one would have written: without what the API server added."""
    import yaml

    meta = {key: copy.copy(value) for key, value in thing["metadata"].items() if key in _KEPT and value}
    meta.get("annotations", {}).pop("kubectl.kubernetes.io/last-applied-configuration", None)
    meta = {key: value for key, value in meta.items() if value}
    shown = {"apiVersion": thing["apiVersion"], "kind": thing["kind"], "metadata": meta, "spec": thing["spec"]}
    return str(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=120))
