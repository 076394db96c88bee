"""Which Sidecar object holds for a proxy, and what it lets the proxy know, by istiod's rules.

One Sidecar holds for a proxy: of its namespace one whose selector fits, else one without a selector, else the root
namespace's one without a selector; of several the oldest. Gateways and waypoints have none. What counts is what istiod
does (`pilot/pkg/model/sidecar.go`): Istio's reference says that what a Sidecar leaves out is inherited from the more
general one, but istiod imports everything instead (istio/istio#59376).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

ROOT_NAMESPACE = "istio-system"
ALLOW_ANY, REGISTRY_ONLY = "ALLOW_ANY", "REGISTRY_ONLY"
CATCH_ALL = {ALLOW_ANY: "PassthroughCluster", REGISTRY_ONLY: "BlackHoleCluster"}
"""Outbound policy -> the cluster that gets what no service is known for."""
UNLIMITED = ("router", "waypoint", "ztunnel")
"""Types of proxies that no Sidecar holds for."""

Key = tuple[str, str]
"""Namespace and name of an object."""
_NEWEST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Egress:
    """One egress listener of a Sidecar.

    Args:
        hosts: what it imports, `NAMESPACE/DNS-NAME`.
        port: port it is for; 0 for all that no other listener names.
        protocol: protocol of the port.
        bind: address or socket it binds to.
    """

    hosts: tuple[str, ...]
    port: int = 0
    protocol: str = ""
    bind: str = ""

    @property
    def only_port(self) -> int:
        """The only port of services it imports; 0 for all: a forward proxy serves every port."""
        return 0 if self.protocol.upper() == "HTTP_PROXY" else self.port

    def imported(self, namespace: str) -> Iterator[tuple[str, str, str]]:
        """Namespace, name and text of each host that is well formed, `.` being the namespace of the proxy."""
        for text in self.hosts:
            if text.count("/") == 1:
                space, _, name = text.partition("/")
                yield namespace if space == "." else space, name.lower(), text


EVERYTHING = Egress(("*/*",))
"""What holds without egress."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A Sidecar object.

    Args:
        namespace: its namespace.
        name: its name.
        selector: labels of the workloads; `None` without a workloadSelector, `{}` for an empty one.
        egress: its egress listeners; empty if it names none.
        ingress: ports of its ingress listeners; empty: those of the pod's Services.
        policy: ALLOW_ANY or REGISTRY_ONLY; empty: what MeshConfig says.
        created: when it was made; `None` for one that is not there yet, which is younger than all others.
    """

    namespace: str
    name: str
    selector: Mapping[str, str] | None = None
    egress: tuple[Egress, ...] = ()
    ingress: tuple[int, ...] = ()
    policy: str = ""
    created: datetime | None = None

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.namespace, self.name

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Service:
    """A service istiod knows, of Kubernetes or of a ServiceEntry.

    Args:
        host: full name.
        namespace: where its object lies.
        ports: its ports; empty if they are not known.
        export_to: namespaces that see it: `*`, `.`, `~` or names.
        kubernetes: whether it is a Service of Kubernetes.
    """

    host: str
    namespace: str
    ports: tuple[int, ...] = ()
    export_to: tuple[str, ...] = ("*",)
    kubernetes: bool = True


@dataclass(frozen=True, slots=True)
class Rules:
    """A VirtualService that is bound to sidecars (gateway `mesh`), with its delegates.

    Args:
        namespace: its namespace.
        name: its name.
        hosts: full names it is for.
        destinations: full names it leads to, with the ports it names; 0 stands for all.
        export_to: namespaces that see it.
    """

    namespace: str
    name: str
    hosts: tuple[str, ...]
    destinations: Mapping[str, frozenset[int]] = field(default_factory=dict)
    export_to: tuple[str, ...] = ("*",)

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.namespace, self.name


@dataclass(frozen=True, slots=True)
class Choice:
    """The Sidecar that holds for a proxy.

    Args:
        sidecar: the object; `None` if none does.
        level: workload, namespace, mesh, none, or gateway.
        why: the reason in words.
        others: Sidecars of the same level that fit as well and lose.
    """

    sidecar: Sidecar | None
    level: str
    why: str
    others: tuple[Sidecar, ...] = ()


@dataclass(frozen=True, slots=True)
class Visible:
    """A service a proxy knows.

    Args:
        service: the service.
        ports: ports of it that it knows; empty for all.
        by: the egress host, or the VirtualService, that brings it in.
    """

    service: Service
    ports: frozenset[int]
    by: str

    def has(self, port: int) -> bool:
        """Whether a port is known."""
        return not self.ports or port in self.ports


@dataclass(frozen=True, slots=True)
class Scope:
    """What a proxy may know.

    Args:
        policy: what becomes of traffic to anything else: ALLOW_ANY or REGISTRY_ONLY.
        services: services by full name.
        rules: VirtualServices by namespace and name.
    """

    policy: str
    services: Mapping[str, Visible]
    rules: Mapping[Key, Rules]

    def knows(self, host: str, port: int) -> bool:
        """Whether a service's port is known."""
        found = self.services.get(host)
        return found is not None and found.has(port)

    def routes(self, host: str) -> bool:
        """Whether a VirtualService in scope is for a host."""
        return any(host in rules.hosts for rules in self.rules.values())

    @property
    def catch_all(self) -> str:
        """The cluster that gets everything else."""
        return CATCH_ALL.get(self.policy, "")


def covers(pattern: str, host: str) -> bool:
    """Whether every name a host stands for is one of a pattern.

    Example:
        >>> covers("*.shop.svc.cluster.local", "web.shop.svc.cluster.local"), covers("a.com", "*.com")
        (True, False)
    """
    if pattern.startswith("*"):
        return len(host) >= len(pattern) and host.removeprefix("*").endswith(pattern[1:])
    return pattern == host


def overlaps(one: str, other: str) -> bool:
    """Whether two hosts have a name in common.

    Example:
        >>> overlaps("*.com", "a.com"), overlaps("a.com", "*.com"), overlaps("a.com", "b.com")
        (True, True, False)
    """
    return covers(one, other) or covers(other, one)


def exported(export_to: Sequence[str], owner: str, namespace: str) -> bool:
    """Whether an object of a namespace can be seen in another.

    Example:
        >>> exported(["."], "shop", "shop"), exported(["."], "shop", "web"), exported(["web", "~"], "shop", "web")
        (True, False, False)
    """
    if not export_to or "*" in export_to:
        return True
    return "~" not in export_to and (namespace in export_to or (owner == namespace and "." in export_to))


def choose(
    sidecars: Iterable[Sidecar],
    *,
    namespace: str,
    labels: Mapping[str, str],
    kind: str = "sidecar",
    root: str = ROOT_NAMESPACE,
) -> Choice:
    """The Sidecar that holds for a proxy, and why.

    Args:
        sidecars: all of the mesh.
        namespace: of the proxy.
        labels: of its pod.
        kind: sidecar, router, waypoint or ztunnel.
        root: the root namespace.

    Example:
        >>> found = choose([Sidecar("shop", "all"), Sidecar("shop", "web", {"app": "web"})], namespace="shop",
        ...                labels={"app": "web"})
        >>> found.sidecar.name, found.level
        ('web', 'workload')
    """
    if kind in UNLIMITED:
        return Choice(None, "gateway", f"a {kind} is not limited by Sidecars")
    known = sorted(sidecars, key=lambda one: (one.created or _NEWEST, one.name, one.namespace))
    levels = (
        ("workload", namespace, "its selector fits the pod's labels"),
        ("namespace", namespace, f"no selector fits, and it holds for all of {namespace}"),
        ("mesh", root, f"{namespace} has none that fits, and it is the root namespace's"),
    )
    for level, space, why in levels:
        here = [one for one in known if one.namespace == space]
        if level == "workload":
            fits = [s for s in here if s.selector is not None and s.selector.items() <= labels.items()]
        else:
            fits = [s for s in here if s.selector is None]
        if fits:
            more = f"; the oldest of {len(fits)}" if len(fits) > 1 else ""
            return Choice(fits[0], level, why + more, tuple(fits[1:]))
    return Choice(None, "none", "no Sidecar holds for it: it knows every exported service")


def scope(
    sidecar: Sidecar | None,
    *,
    namespace: str,
    services: Iterable[Service],
    rules: Iterable[Rules] = (),
    policy: str = ALLOW_ANY,
) -> Scope:
    """What a proxy of a namespace may know under a Sidecar.

    Services come in by the egress hosts, and as destinations of VirtualServices that come in by them. A service that is
    named comes with all its ports, a destination with those the VirtualService names.

    Args:
        sidecar: the one that holds; `None` if none does.
        namespace: of the proxy.
        services: all of the mesh, oldest first.
        rules: VirtualServices bound to sidecars.
        policy: MeshConfig's outbound policy.

    Example:
        >>> shop = [Service("a.shop.svc.cluster.local", "shop"), Service("b.other.svc.cluster.local", "other")]
        >>> own = Sidecar("shop", "default", egress=(Egress(("./*",)),))
        >>> sorted(scope(own, namespace="shop", services=shop).services)
        ['a.shop.svc.cluster.local']
    """
    listeners = (sidecar.egress if sidecar else ()) or (EVERYTHING,)
    seen = [one for one in services if exported(one.export_to, one.namespace, namespace)]
    named: dict[str, list[Service]] = {}
    for service in seen:
        named.setdefault(service.host, []).append(service)
    bound = [one for one in rules if exported(one.export_to, one.namespace, namespace)]
    found: dict[str, Visible] = {}
    led: dict[Key, Rules] = {}
    for egress in listeners:
        hosts: dict[str, list[tuple[str, str]]] = {}
        for space, name, text in egress.imported(namespace):
            hosts.setdefault(space, []).append((name, text))
        for service, by in _selected(seen, hosts, namespace):
            _add(found, service, egress.only_port, frozenset(), by)
        for one in bound:
            if not _imports_rules(one, hosts):
                continue
            led[one.key] = one
            for host, ports in one.destinations.items():
                if (led_to := _destination(named.get(host, ()), namespace)) is not None:
                    whole = frozenset() if 0 in ports else ports
                    _add(found, led_to, egress.only_port, whole, f"VirtualService {one.namespace}/{one.name}")
    return Scope((sidecar.policy if sidecar else "") or policy, found, led)


def _selected(
    services: Iterable[Service], hosts: Mapping[str, list[tuple[str, str]]], namespace: str
) -> Iterator[tuple[Service, str]]:
    """Services a listener names; of several of one name the one of the proxy's namespace, else Kubernetes' own."""
    picked: dict[str, tuple[Service, str]] = {}
    for service in services:
        entries = (*hosts.get(service.namespace, ()), *hosts.get("*", ()))
        by = next((text for pattern, text in entries if covers(pattern, service.host)), "")
        if not by:
            continue
        before = picked.get(service.host, (None, ""))[0]
        own = service.namespace == namespace and (before is None or before.namespace != namespace)
        better = service.kubernetes and before is not None and not before.kubernetes and before.namespace != namespace
        if before is None or own or better:
            picked[service.host] = service, by
    yield from picked.values()


def _imports_rules(rules: Rules, hosts: Mapping[str, list[tuple[str, str]]]) -> bool:
    patterns = [name for name, _ in (*hosts.get(rules.namespace, ()), *hosts.get("*", ()))]
    return any(overlaps(pattern, host) for pattern in patterns for host in rules.hosts)


def _destination(named: Sequence[Service], namespace: str) -> Service | None:
    """The service a VirtualService leads to: that of the proxy's namespace, else of the first in the alphabet."""
    return min(named, key=lambda one: (one.namespace != namespace, one.namespace), default=None)


def _add(found: dict[str, Visible], service: Service, only_port: int, ports: frozenset[int], by: str) -> None:
    """Add a service, or more ports of one that is there."""
    wanted = frozenset({only_port}) if only_port else ports
    if wanted and service.ports:
        wanted &= frozenset(service.ports)
        if not wanted:
            return
    before = found.get(service.host)
    if before is None:
        found[service.host] = Visible(service, wanted, by)
    elif before.service.namespace == service.namespace and before.ports:
        found[service.host] = Visible(before.service, before.ports | wanted if wanted else frozenset(), before.by)
