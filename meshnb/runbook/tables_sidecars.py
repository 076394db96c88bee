"""Tables of a `Mesh` about Sidecar objects: what they say, for whom they hold, what was called."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from meshnb.checks.sidecars import problems, sidecars_of
from meshnb.checks.states import in_use
from meshnb.envoy.sidecar_objects import objects_of, rules_of, services_of, strict_namespaces
from meshnb.envoy.sidecar_scope import ALLOW_ANY, REGISTRY_ONLY, ROOT_NAMESPACE, UNLIMITED, Scope, exported
from meshnb.errors import UsageError
from meshnb.loaders.mesh_config import mesh_config_table
from meshnb.loaders.sidecars import sidecars_table
from meshnb.loaders.virtual_host_sizes import virtual_host_sizes
from meshnb.model.frame import returns
from meshnb.model.tables import sidecars as tables
from meshnb.runbook.base import Needs
from meshnb.runbook.tables_envoy import EnvoyTables
from meshnb.runbook.tables_istiod import IstiodTables
from meshnb.runbook.tables_logs import LogTables
from meshnb.runbook.tables_objects import ObjectTables
from meshnb.tuning.discovery import checked, selected
from meshnb.tuning.sidecar_changes import Config
from meshnb.tuning.sidecar_what_if import Known, Observed, Proxy

if TYPE_CHECKING:
    import pandas as pd

    from meshnb.model.finding import Finding

CHECKS = ("MNB0110", "MNB0111", "MNB0112", "MNB0113", "MNB0114")
_READABLE = ("file", "stdout", "stderr")


class SidecarTables(EnvoyTables, LogTables, ObjectTables, IstiodTables):
    """Sidecar objects, and what proxies may know under them."""

    TABLES: ClassVar[Mapping[str, Needs]] = {
        "sidecars": Needs("kubernetes", "kubernetes/sidecars."),
        "sidecar_proxies": Needs("kubernetes", "kubernetes/sidecars."),
        "visible_services": Needs("kubernetes", "kubernetes/sidecars."),
        "observed_calls": Needs("proxy_log"),
        "log_extent": Needs("proxy_log"),
        "virtual_host_sizes": Needs("config_dump"),
    }

    def absent(self, table: str) -> str:
        """Why a table cannot be made; which Sidecar holds for whom needs to know the proxies."""
        why = super().absent(table)
        if why or table not in ("sidecar_proxies", "visible_services"):
            return why
        if self.absent("pods") and self.absent("bootstrap"):
            return self.absent("pods")
        return self.absent("services") if table == "visible_services" else ""

    @returns(tables.SIDECARS)
    def sidecars(self) -> pd.DataFrame:
        """Sidecar objects, with what is wrong with them and for how many proxies they hold.

        Example:
            >>> import meshnb
            >>> meshnb.open("demo").absent("sidecars")
            'demo holds no sidecars'
        """
        import pandas as pd

        frame = self._from("sidecars", tables.SIDECARS, sidecars_table)
        if frame.empty:
            return frame
        wrong = problems(WithSidecars(self, frame).findings())
        keys = list(zip(frame.namespace, frame.sidecar, strict=True))
        known = self._mesh_known(sidecars_of(frame))
        held = [known.choose(one).sidecar for one in known.proxies]
        counts = {key: sum(1 for one in held if one is not None and one.key == key) for key in keys}
        is_known = bool(known.proxies)
        frame["proxies"] = pd.array(
            [counts[key] if is_known else None for key in keys], dtype=tables.SIDECARS.empty().proxies.dtype
        )
        return tables.SIDECARS.conform(frame.assign(problems=[wrong.get(key, []) for key in keys]))

    @returns(tables.SIDECAR_PROXIES)
    def sidecar_proxies(self) -> pd.DataFrame:
        """Which Sidecar holds for each proxy, why, and what istiod says of it; empty where that is not known."""
        if self.absent("sidecar_proxies"):
            return tables.SIDECAR_PROXIES.empty()
        known = self._known
        rows = []
        told = None if self.absent("sidecar_scopes") else self.sidecar_scopes()
        for proxy in known.proxies:
            choice = known.choose(proxy)
            limit = None if proxy.kind in UNLIMITED else self._scope_of(proxy)
            rows.append(
                {
                    "proxy": proxy.name,
                    "namespace": proxy.namespace,
                    "workload": proxy.workload or None,
                    "sidecar": str(choice.sidecar) if choice.sidecar else None,
                    "level": choice.level,
                    "why": choice.why,
                    "others": [str(one) for one in choice.others],
                    "outbound_policy": (limit.policy or None) if limit else None,
                    "services": len(limit.services) if limit and known.services is not None else None,
                    "of_services": self._exported(proxy.namespace),
                    "istiod": _agrees(told, proxy.name, choice.sidecar.name if choice.sidecar else None, limit),
                }
            )
        return tables.SIDECAR_PROXIES.rows(rows)

    @returns(tables.VISIBLE_SERVICES)
    def visible_services(self, proxy: str = "") -> pd.DataFrame:
        """Services each proxy may know, by the objects; what istiod says of it is in `mesh.sidecar_scopes()`.

        Args:
            proxy: only of this proxy (`POD.NAMESPACE`).
        """
        columns: dict[str, list[Any]] = {name: [] for name in tables.VISIBLE_SERVICES.column_names}
        proxies = () if self.absent("visible_services") else self._known.proxies
        for one in proxies:
            if one.kind in UNLIMITED or proxy not in ("", one.name):
                continue
            known = sorted(self._scope_of(one).services.items())
            columns["proxy"] += [one.name] * len(known)
            columns["host"] += [host for host, _ in known]
            columns["service_namespace"] += [visible.service.namespace for _, visible in known]
            columns["ports"] += [[str(port) for port in sorted(visible.ports)] for _, visible in known]
            columns["by"] += [visible.by for _, visible in known]
        return tables.VISIBLE_SERVICES.build(columns)

    @returns(tables.OBSERVED_CALLS)
    def observed_calls(self) -> pd.DataFrame:
        """Calls workloads made, as their own proxies logged them.

        Example:
            >>> import meshnb
            >>> int(meshnb.open("demo").observed_calls().requests.sum())
            120
        """
        from meshnb.checks.observed_calls import observed_calls

        if ("observed_calls", "") not in self._made:
            self._made["observed_calls", ""] = observed_calls(self.scan("access_log"))
        return self._made["observed_calls", ""].copy(deep=False)

    @returns(tables.LOG_EXTENT)
    def log_extent(self) -> pd.DataFrame:
        """From when to when the access log of each proxy reaches."""
        from meshnb.checks.observed_calls import log_extent

        if ("log_extent", "") not in self._made:
            self._made["log_extent", ""] = log_extent(self.scan("access_log"))
        return self._made["log_extent", ""].copy(deep=False)

    @returns(tables.VIRTUAL_HOST_SIZES)
    def virtual_host_sizes(self, *, proxy: str = "") -> pd.DataFrame:
        """The exact bytes of every virtual host that came over RDS."""
        return self._of_dump("virtual_host_sizes", tables.VIRTUAL_HOST_SIZES, virtual_host_sizes, proxy)

    @cached_property
    def _settings(self) -> Mapping[str, Any]:
        """MeshConfig in force at the first istiod, else as ConfigMap `istio` has it; empty if neither is known."""
        frame = None if self.absent("mesh_config") else self.mesh_config()
        if (frame is None or frame.empty) and not self.absent("objects"):
            maps = self.objects()
            maps = maps[(maps.kind == "ConfigMap") & (maps.name == "istio")]
            frame = mesh_config_table(objects_of(maps.object), file=self.snapshot.name)
        if frame is None or frame.empty:
            return {}
        first = frame[frame.source == frame.source.iloc[0]]
        return {row.setting: json.loads(row.value) for row in first.itertuples()}

    @property
    def _mesh_policy(self) -> str:
        """MeshConfig's outbound policy; Istio's default is ALLOW_ANY, but a mode that is left out is the other one."""
        if not self._settings:
            return ""
        if mode := self._settings.get("outboundTrafficPolicy.mode"):
            return mode if mode in (ALLOW_ANY, REGISTRY_ONLY) else ""
        return REGISTRY_ONLY if "outboundTrafficPolicy" in self._settings else ALLOW_ANY

    @cached_property
    def _known(self) -> Known:
        absent = self.absent("sidecars")
        frame = None if absent else self._from("sidecars", tables.SIDECARS, sidecars_table)
        return self._mesh_known(None if frame is None else sidecars_of(frame))

    def _mesh_known(self, sidecars: list[Any] | None) -> Known:
        kinds = ("Service", "ServiceEntry", "VirtualService", "PeerAuthentication")
        frame = None if self.absent("objects") else self.objects()
        things = [] if frame is None else objects_of(frame.object[frame.kind.isin(kinds)])
        export = self._settings.get("defaultServiceExportTo") or ("*",)
        rule_export = self._settings.get("defaultVirtualServiceExportTo") or ("*",)
        root = str(self._settings.get("rootNamespace") or ROOT_NAMESPACE)
        hidden = self._hidden_namespaces()
        kept = {one.path.partition(".")[0] for one in self.snapshot.documents("kubernetes")}
        told = "kubernetes/peerauthentications" in kept or any(one["kind"] == "PeerAuthentication" for one in things)
        services = [one for one in services_of(things, default_export=export) if one.namespace not in hidden]
        rules = [one for one in rules_of(things, default_export=rule_export) if one.namespace not in hidden]
        return Known(
            proxies=self._proxies_known,
            sidecars=sidecars,
            services=None if self.absent("services") else services,
            rules=None if self.absent("virtual_services") else rules,
            policy=self._mesh_policy,
            root=root,
            strict=strict_namespaces(things, {one.namespace for one in services}, root=root) if told else None,
            providers=self._providers,
        )

    @property
    def _providers(self) -> dict[str, str]:
        """Services that proxies call for tracing, logs or authorization: host -> name of the extensionProvider."""
        found = {}
        for one in self._settings.get("extensionProviders") or ():
            for given in one.values() if isinstance(one, Mapping) else ():
                if isinstance(given, Mapping) and isinstance(host := given.get("service"), str):
                    found[host.rpartition("/")[2]] = str(one.get("name"))
        return found

    def _hidden_namespaces(self) -> set[str]:
        """Namespaces istiod does not look at."""
        if not self._selectors or self.absent("objects"):
            return set()
        spaces = self.objects("Namespace")
        return {row.name for row in spaces.itertuples() if not selected(self._selectors, json.loads(row.labels))}

    @cached_property
    def _selectors(self) -> list[Any] | None:
        """MeshConfig's discoverySelectors; `None` if it is not known, or istiod would not take them."""
        if not self._settings:
            return None
        try:
            held = checked(self._settings.get("discoverySelectors") or [])
            selected(held, {})
        except UsageError:
            return None
        return held

    @cached_property
    def _proxies_known(self) -> list[Proxy]:
        """Proxies by their pods and bootstraps; what a proxy runs as it says itself, else its container."""
        pods, dumps = ({}, {})
        if not self.absent("pods"):
            frame = self.pods()
            frame = frame[frame.has_sidecar & ~frame.phase.isin(["Succeeded", "Failed"])]
            pods = {row.proxy: row for row in frame.itertuples()}
        if not self.absent("bootstrap"):
            dumps = {row.proxy: row for row in self.bootstrap().itertuples() if isinstance(row.proxy, str)}
        found = []
        for name in sorted({*pods, *dumps}):
            pod, dump = pods.get(name), dumps.get(name)
            node = dump.node_id if dump is not None and isinstance(dump.node_id, str) else ""
            kind = node.partition("~")[0] if "~" in node else (pod.proxy_type if pod is not None else "sidecar")
            source: Any = pod if pod is not None else dump
            workload = source.workload if isinstance(source.workload, str) else ""
            labels = json.loads(source.labels) if isinstance(source.labels, str) else {}
            found.append(Proxy(name, name.rpartition(".")[2], workload, labels, kind or "sidecar"))
        return found

    def _scope_of(self, proxy: Proxy) -> Scope:
        choice = self._known.choose(proxy)
        key = ("scope", proxy.namespace, choice.sidecar.key if choice.sidecar else None)
        cache: dict[object, Any] = self._scopes
        if key not in cache:
            known = self._known
            cache[key] = known.scope(proxy, choice, services=known.services or (), rules=known.rules or ())
        found: Scope = cache[key]
        return found

    @cached_property
    def _scopes(self) -> dict[object, Any]:
        return {}

    def _exported(self, namespace: str) -> int | None:
        services = self._known.services
        if services is None:
            return None
        return len({one.host for one in services if exported(one.export_to, one.namespace, namespace)})

    @cached_property
    def _config_of(self) -> Callable[[str], Config | None]:
        """What each proxy has, cut out of the tables once."""
        if self.absent("clusters"):
            return lambda proxy: None
        frames = {
            "clusters": in_use(self.clusters()),
            "routes": in_use(self.routes()),
            "listeners": in_use(self.listeners()),
            "endpoints": self.endpoints(),
            "sizes": self.sizes(),
            "virtual_hosts": self.virtual_host_sizes(),
        }
        parts = {name: dict(list(frame.groupby("proxy"))) for name, frame in frames.items()}

        def config(proxy: str) -> Config | None:
            if proxy not in parts["sizes"]:
                return None
            return Config(**{name: parts[name].get(proxy, frame.iloc[:0]) for name, frame in frames.items()})

        return config

    def _observed(self, rates: pd.DataFrame | None) -> Observed:
        silent: set[str] = set()
        if not self.absent("access_loggers"):
            rows = in_use(self.access_loggers())
            rows = rows[(rows.direction == "OUTBOUND").fillna(False) & rows.dynamic.fillna(False)]
            heard = set(rows.proxy[rows.type.isin(_READABLE) & (rows.place != "listener")])
            silent = set(rows.proxy.dropna()) - heard
        absent = bool(self.absent("access_log"))
        return Observed(
            calls=None if absent else self.observed_calls(),
            extent=None if absent else self.log_extent(),
            rates=rates,
            silent=frozenset(silent),
            logs=frozenset(document.proxy for document in self.documents("access_log") if document.proxy),
        )


class WithSidecars:
    """The tables of a mesh with other Sidecars, for their checks.

    Args:
        mesh: the mesh.
        sidecars: the Sidecars, without the columns that the checks fill.
    """

    def __init__(self, mesh: SidecarTables, sidecars: pd.DataFrame) -> None:
        self.mesh, self.sidecars = mesh, sidecars

    def absent(self, name: str) -> str:
        """As of the mesh; Sidecars are there."""
        return "" if name == "sidecars" else self.mesh.absent(name)

    def gaps(self, name: str) -> Sequence[str]:
        """As of the mesh."""
        return self.mesh.gaps(name)

    def table(self, name: str) -> Any:
        """As of the mesh, but for its Sidecars."""
        return self.sidecars if name == "sidecars" else getattr(self.mesh, name)()

    def scan(self, name: str) -> Any:
        """As of the mesh."""
        return self.mesh.scan(name)

    def findings(self) -> list[Finding]:
        """What the checks say."""
        from meshnb.checks import registry

        return [one for code in CHECKS for one in registry.run(registry.find(code), self)]


def _agrees(told: pd.DataFrame | None, proxy: str, sidecar: str | None, limit: Scope | None) -> str | None:
    """Whether istiod's own scope is the one made here; `None` where it was not captured."""
    rows = None if told is None else told[told.proxy == proxy]
    if rows is None or rows.empty or limit is None:
        return None
    first = rows.sidecar.iloc[0]
    theirs = first if isinstance(first, str) else None
    hosts, own = set(rows.host), set(limit.services)
    parts = []
    if theirs != sidecar:
        parts.append(f"istiod uses {theirs or 'no Sidecar'}, here {sidecar or 'none'}")
    for what, names in (("istiod alone knows", hosts - own), ("not at istiod", own - hosts)):
        if names:
            shown = ", ".join(sorted(names)[:3])
            parts.append(f"{what} {len(names)}: {shown}{' …' if len(names) > 3 else ''}")
    return "; ".join(parts) or "agrees"
