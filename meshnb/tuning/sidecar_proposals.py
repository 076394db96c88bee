"""Sidecars that name what workloads were seen to call, with what that leaves open."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meshnb.envoy.names import ClusterName
from meshnb.envoy.sidecar_scope import UNLIMITED, covers
from meshnb.model.frame import returns
from meshnb.model.tables.sidecars import SIDECAR_PROPOSALS
from meshnb.tuning.sidecar_changes import Config, dynamic_hosts, host_of, namespace_of
from meshnb.tuning.sidecar_what_if import Known, Observed, Proxy

if TYPE_CHECKING:
    import pandas as pd

# labels that change with every rollout, or that all pods of a mesh have
_FLEETING = ("pod-template-hash", "controller-revision-hash", "pod-template-generation", "security.istio.io/tlsMode")
_PREFERRED = (("app",), ("app.kubernetes.io/name",), ("app", "version"), ("app.kubernetes.io/name", "version"))
_PASSTHROUGH = "PassthroughCluster"


@returns(SIDECAR_PROPOSALS)
def proposals(known: Known, config_of: Callable[[str], Config | None], observed: Observed) -> pd.DataFrame:
    """A Sidecar for every workload, with the hosts its proxies were seen to call.

    Args:
        known: what is known of the mesh.
        config_of: what a proxy has; `None` without a config dump.
        observed: what is known of calls.
    """
    groups: dict[tuple[str, str], list[Proxy]] = {}
    for proxy in known.proxies:
        if proxy.kind not in UNLIMITED and proxy.workload:
            groups.setdefault((proxy.namespace, proxy.workload), []).append(proxy)
    spaces = {one.host: one.namespace for one in reversed(known.services or ())}
    return SIDECAR_PROPOSALS.rows(
        _proposal(key, group, known, {one.name: config_of(one.name) for one in group}, observed, spaces)
        for key, group in sorted(groups.items())
    )


def _proposal(
    key: tuple[str, str],
    group: Sequence[Proxy],
    known: Known,
    configs: Mapping[str, Config | None],
    observed: Observed,
    spaces: Mapping[str, str],
) -> dict[str, Any]:
    namespace, workload = key
    selector = selector_of(group, known.proxies)
    row: dict[str, Any] = {"namespace": namespace, "workload": workload}
    row["selector"] = json.dumps(selector) if selector else None
    told = [one for one in group if observed.source(one)[0] != "unknown"]
    if not told:
        return {**row, "caveats": [f"nothing is proposed: {observed.source(group[0])[1]}"]}
    found = _Seen(namespace, known.root, spaces)
    for proxy in told:
        found.add(proxy, configs[proxy.name], observed)
    for host in known.providers:
        found.provider(host, configs.values())
    caveats = _caveats(group, told, selector, found, observed)
    held = known.choose(group[0])
    if held.level == "workload" and held.sidecar and held.sidecar.name != workload:
        caveats.append(f"{held.sidecar} holds for it now, is older, and wins until it is deleted")
    extent = observed.extent
    own = None if extent is None else extent[extent.proxy.isin([one.name for one in told])]
    logged = own is not None and len(own) > 0
    return {
        **row,
        "hosts": found.hosts,
        "requests": found.requests,
        "first": own["first"].min() if logged and own is not None else None,
        "last": own["last"].max() if logged and own is not None else None,
        "caveats": caveats,
        "yaml": sidecar_yaml(workload, namespace, found.hosts, selector=selector),
    }


class _Seen:
    """The egress hosts that calls ask for.

    Args:
        namespace: of the workload.
        root: the root namespace.
        spaces: namespace of each service.
    """

    def __init__(self, namespace: str, root: str, spaces: Mapping[str, str]) -> None:
        self.namespace, self.spaces = namespace, spaces
        self.hosts = [f"{root}/*"]
        self.requests = 0
        self.called = False
        self.passed: dict[str, int] = {}

    def add(self, proxy: Proxy, config: Config | None, observed: Observed) -> None:
        """Add what one proxy was seen to call."""
        if observed.source(proxy)[0] == "metrics":
            rates = observed.rates_of(proxy)
            for host in rates.destination_service[rates.rate > 0].dropna().unique():
                self.called = True
                self._host(str(host), config)
            return
        rows = observed.calls
        for row in rows[rows.proxy == proxy.name].itertuples() if rows is not None else ():
            self.requests += row.requests
            self.called = True
            if isinstance(row.host, str):
                self._host(row.host, config)
                self._rules(row.cluster, config)
            elif row.cluster == _PASSTHROUGH:
                name = row.authority if isinstance(row.authority, str) else "TCP connections"
                self.passed[name] = self.passed.get(name, 0) + row.requests

    def _host(self, host: str, config: Config | None) -> None:
        own = {} if config is None else {str(r.fqdn): namespace_of(r) for r in config.outbound.itertuples()}
        space = self.spaces.get(host) or own.get(host)
        if space or (config is None and host not in (_PASSTHROUGH, "unknown")):
            self._entry(space or "*", host)
        else:  # no service the proxy has: a name of the outside, or what metrics say instead of one
            self.passed.setdefault(host, 0)

    def provider(self, host: str, configs: Iterable[Config | None]) -> None:
        """Add the service of an extensionProvider that a proxy has a cluster of: it calls it without any request."""
        for config in configs:
            if config is not None and (config.outbound.fqdn == host).any():
                self._host(host, config)

    def _rules(self, cluster: str, config: Config | None) -> None:
        """The VirtualServices whose rules lead to a cluster: without them the rules would be lost."""
        if config is None:
            return
        host = ClusterName.parse(cluster).fqdn
        rows = dynamic_hosts(config)
        rows = rows[rows.virtual_service.notna() & rows.cluster.str.endswith(f"|{host}").fillna(False)]
        for row in rows.itertuples():
            self._entry(str(row.virtual_service_namespace), host_of(str(row.virtual_host))[0])

    def _entry(self, space: str, host: str) -> None:
        taken = (text.partition("/") for text in self.hosts)
        if any(where in (space, "*") and covers(pattern, host) for where, _, pattern in taken):
            return
        text = f"{space}/{host}"
        if text not in self.hosts:
            self.hosts.append(text)


def _caveats(
    group: Sequence[Proxy], told: Sequence[Proxy], selector: Mapping[str, str], found: _Seen, observed: Observed
) -> list[str]:
    caveats = [] if found.called else ["no call was seen"]
    extent = observed.extent
    rows = None if extent is None else extent[extent.proxy.isin([one.name for one in told])]
    if rows is not None and len(rows):
        first, last = rows["first"].min(), rows["last"].max()
        seen = f"{first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC"
        caveats.append(f"rests on the log from {seen}; what is called at other times is missing")
    if any(observed.source(one)[0] == "metrics" for one in told):
        caveats.append("rests on rates of istio_requests_total; TCP connections are not among them")
    if len(told) < len(group):
        caveats.append(f"calls of {len(group) - len(told)} of {len(group)} pods are unknown")
    if not selector:
        caveats.append("no labels pick its pods alone: write the workloadSelector by hand")
    for name, count in sorted(found.passed.items()):
        times = f" ({count} times)" if count else ""
        caveats.append(f"{name}{times} went through PassthroughCluster: REGISTRY_ONLY needs a ServiceEntry for it")
    return caveats


def selector_of(group: Sequence[Proxy], proxies: Iterable[Proxy]) -> dict[str, str]:
    """The fewest labels that pick these pods and no others of their namespace; empty if none do.

    Args:
        group: the pods' proxies.
        proxies: all proxies.

    Example:
        >>> web = Proxy("web-1.shop", "shop", "web", {"app": "web", "pod-template-hash": "7d9"})
        >>> selector_of([web], [web, Proxy("api-1.shop", "shop", "api", {"app": "api"})])
        {'app': 'web'}
    """
    names = {one.name for one in group}
    others = [one for one in proxies if one.namespace == group[0].namespace and one.name not in names]
    common = dict(group[0].labels)
    for one in group[1:]:
        common = {name: value for name, value in common.items() if one.labels.get(name) == value}
    common = {name: value for name, value in common.items() if name not in _FLEETING}
    for keys in (*_PREFERRED, tuple(common)):
        picked = {name: common[name] for name in keys if name in common}
        if len(picked) == len(keys) and picked and not any(picked.items() <= one.labels.items() for one in others):
            return picked
    return {}


def sidecar_yaml(
    name: str,
    namespace: str,
    hosts: Sequence[str],
    *,
    selector: Mapping[str, str] | None = None,
    outbound_policy: str = "",
) -> str:
    """A Sidecar as YAML.

    Args:
        name: its name.
        namespace: its namespace.
        hosts: egress hosts, `NAMESPACE/DNS-NAME`.
        selector: labels of its workload; none for the whole namespace.
        outbound_policy: ALLOW_ANY or REGISTRY_ONLY; empty leaves it to MeshConfig.

    Example:
        >>> print(sidecar_yaml("web", "shop", ["istio-system/*"], selector={"app": "web"}))
        apiVersion: networking.istio.io/v1
        kind: Sidecar
        metadata:
          name: web
          namespace: shop
        spec:
          workloadSelector:
            labels:
              app: "web"
          egress:
            - hosts:
                - "istio-system/*"
    """
    lines = ["apiVersion: networking.istio.io/v1", "kind: Sidecar", "metadata:", f"  name: {name}"]
    lines += [f"  namespace: {namespace}", "spec:"]
    if selector:
        lines += ["  workloadSelector:", "    labels:"]
        lines += [f"      {key}: {json.dumps(value)}" for key, value in selector.items()]
    lines += ["  egress:", "    - hosts:", *(f"        - {json.dumps(host)}" for host in hosts)]
    if outbound_policy:
        lines += ["  outboundTrafficPolicy:", f"    mode: {outbound_policy}"]
    return "\n".join(lines)
