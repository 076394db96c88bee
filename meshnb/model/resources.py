"""The kinds of Kubernetes and Istio objects meshnb knows: how a snapshot names them and where the API serves them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from meshnb.errors import UsageError


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object.

    Args:
        kind: as in an object (`VirtualService`).
        plural: as in the API and in a snapshot (`kubernetes/virtualservices.json`).
        group: API group, empty for the core.
        versions: versions of the group that serve it, newest first.
        short: short names, as kubectl knows them.
        namespaced: whether its objects live in a namespace.
    """

    kind: str
    plural: str
    group: str = ""
    versions: tuple[str, ...] = ("v1",)
    short: tuple[str, ...] = ()
    namespaced: bool = True

    @property
    def document(self) -> str:
        """Where a snapshot keeps the List of them."""
        return f"kubernetes/{self.plural}.json"


_NETWORKING = ("v1", "v1beta1", "v1alpha3")
_SECURITY = ("v1", "v1beta1")
_ISTIO = "networking.istio.io"

RESOURCES: tuple[Resource, ...] = (
    Resource("Namespace", "namespaces", short=("ns",), namespaced=False),
    Resource("Node", "nodes", short=("no",), namespaced=False),
    Resource("Pod", "pods", short=("po",)),
    Resource("Service", "services", short=("svc",)),
    Resource("ServiceAccount", "serviceaccounts", short=("sa",)),
    Resource("ConfigMap", "configmaps", short=("cm",)),
    Resource("EndpointSlice", "endpointslices", "discovery.k8s.io"),
    Resource("Deployment", "deployments", "apps", short=("deploy",)),
    Resource("ReplicaSet", "replicasets", "apps", short=("rs",)),
    Resource("StatefulSet", "statefulsets", "apps", short=("sts",)),
    Resource("DaemonSet", "daemonsets", "apps", short=("ds",)),
    Resource("NetworkPolicy", "networkpolicies", "networking.k8s.io", short=("netpol",)),
    Resource(
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        "admissionregistration.k8s.io",
        namespaced=False,
    ),
    Resource(
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "apiextensions.k8s.io",
        short=("crd",),
        namespaced=False,
    ),
    Resource("VirtualService", "virtualservices", _ISTIO, _NETWORKING, ("vs",)),
    Resource("DestinationRule", "destinationrules", _ISTIO, _NETWORKING, ("dr",)),
    Resource("Gateway", "gateways", _ISTIO, _NETWORKING, ("gw",)),
    Resource("ServiceEntry", "serviceentries", _ISTIO, _NETWORKING, ("se",)),
    Resource("Sidecar", "sidecars", _ISTIO, _NETWORKING),
    Resource("WorkloadEntry", "workloadentries", _ISTIO, _NETWORKING, ("we",)),
    Resource("WorkloadGroup", "workloadgroups", _ISTIO, _NETWORKING, ("wg",)),
    Resource("EnvoyFilter", "envoyfilters", _ISTIO, ("v1alpha3",)),
    Resource("ProxyConfig", "proxyconfigs", _ISTIO, ("v1beta1",)),
    Resource("PeerAuthentication", "peerauthentications", "security.istio.io", _SECURITY, ("pa",)),
    Resource("RequestAuthentication", "requestauthentications", "security.istio.io", _SECURITY, ("ra",)),
    Resource("AuthorizationPolicy", "authorizationpolicies", "security.istio.io", _SECURITY, ("ap",)),
    Resource("Telemetry", "telemetries", "telemetry.istio.io", ("v1", "v1alpha1"), ("telemetry",)),
    Resource("WasmPlugin", "wasmplugins", "extensions.istio.io", ("v1alpha1",)),
    Resource("IstioOperator", "istiooperators", "install.istio.io", ("v1alpha1",), ("iop", "io")),
)
"""Secrets are left out on purpose: meshnb never reads them."""

_BY_NAME = {
    name.lower(): resource for resource in RESOURCES for name in (resource.kind, resource.plural, *resource.short)
}


def find(name: str) -> Resource:
    """The resource of a kind, a plural or a short name, in any case.

    Raises:
        UsageError: none is known by that name; names the nearest.

    Example:
        >>> find("vs").kind
        'VirtualService'
    """
    if resource := _BY_NAME.get(name.lower()):
        return resource
    near = difflib.get_close_matches(name.lower(), _BY_NAME, n=1)
    hint = f"did you mean {_BY_NAME[near[0]].kind}?" if near else f"kinds: {', '.join(r.kind for r in RESOURCES)}"
    raise UsageError(f"no kind of object {name!r}", hint=hint)
