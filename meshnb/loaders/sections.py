"""The outer layers of a config dump: sections by `@type`, and in each the resources with their state."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from meshnb.loaders.proto import EMPTY, Message, Reader

KINDS = {
    "BootstrapConfigDump": "bootstrap",
    "ClustersConfigDump": "clusters",
    "EndpointsConfigDump": "endpoints",
    "ListenersConfigDump": "listeners",
    "RoutesConfigDump": "routes",
    "ScopedRoutesConfigDump": "scoped_routes",
    "SecretsConfigDump": "secrets",
    "EcdsConfigDump": "ecds",
}
"""Type of a section (`envoy.admin.v3.…`) and the name we give it."""


class ErrorState(Message):
    """`admin.v3.UpdateFailureState`: the newest version, which Envoy refused."""

    failed_configuration: msgspec.Raw = EMPTY
    last_update_attempt: datetime | None = None
    details: str = ""
    version_info: str = ""


class Entry(Message):
    """One resource of a section, in the words of all the kinds (`DynamicCluster`, `DynamicListenerState` …)."""

    name: str = ""
    version_info: str = ""
    last_updated: datetime | None = None
    client_status: str | int = ""
    error_state: ErrorState | None = None
    cluster: msgspec.Raw = EMPTY
    listener: msgspec.Raw = EMPTY
    route_config: msgspec.Raw = EMPTY
    endpoint_config: msgspec.Raw = EMPTY
    secret: msgspec.Raw = EMPTY
    ecds_filter: msgspec.Raw = EMPTY
    scoped_route_configs: msgspec.Raw = EMPTY


class ListenerEntry(Entry):
    """`DynamicListener`: up to three states of one listener."""

    active_state: Entry | None = None
    warming_state: Entry | None = None
    draining_state: Entry | None = None


class Section(Message):
    """Any section of a config dump."""

    type: str = msgspec.field(name="@type", default="")
    version_info: str = ""
    bootstrap: msgspec.Raw = EMPTY
    last_updated: datetime | None = None
    static_clusters: list[Entry] = []
    dynamic_active_clusters: list[Entry] = []
    dynamic_warming_clusters: list[Entry] = []
    static_listeners: list[Entry] = []
    dynamic_listeners: list[ListenerEntry] = []
    static_route_configs: list[Entry] = []
    dynamic_route_configs: list[Entry] = []
    static_endpoint_configs: list[Entry] = []
    dynamic_endpoint_configs: list[Entry] = []
    static_secrets: list[Entry] = []
    dynamic_active_secrets: list[Entry] = []
    dynamic_warming_secrets: list[Entry] = []
    ecds_filters: list[Entry] = []
    inline_scoped_route_configs: list[Entry] = []
    dynamic_scoped_route_configs: list[Entry] = []


# section field -> (state, came over xDS); dynamic ones first, as istioctl prints them
_LISTS = {
    "clusters": {
        "dynamic_active_clusters": ("active", True),
        "dynamic_warming_clusters": ("warming", True),
        "static_clusters": ("active", False),
    },
    "listeners": {"dynamic_listeners": ("", True), "static_listeners": ("active", False)},
    "routes": {"dynamic_route_configs": ("active", True), "static_route_configs": ("active", False)},
    "endpoints": {"dynamic_endpoint_configs": ("active", True), "static_endpoint_configs": ("active", False)},
    "secrets": {
        "dynamic_warming_secrets": ("warming", True),
        "dynamic_active_secrets": ("active", True),
        "static_secrets": ("active", False),
    },
    "ecds": {"ecds_filters": ("active", True)},
    "scoped_routes": {
        "dynamic_scoped_route_configs": ("active", True),
        "inline_scoped_route_configs": ("active", False),
    },
}
_FIELDS = {
    "clusters": "cluster",
    "listeners": "listener",
    "routes": "route_config",
    "endpoints": "endpoint_config",
    "secrets": "secret",
    "ecds": "ecds_filter",
    "scoped_routes": "scoped_route_configs",
}

# type of an entry -> the list of a section it is from; a warming resource is not told from an active one
ENTRIES = {
    "StaticCluster": ("clusters", "static_clusters"),
    "DynamicCluster": ("clusters", "dynamic_active_clusters"),
    "StaticListener": ("listeners", "static_listeners"),
    "DynamicListener": ("listeners", "dynamic_listeners"),
    "StaticRouteConfig": ("routes", "static_route_configs"),
    "DynamicRouteConfig": ("routes", "dynamic_route_configs"),
    "StaticEndpointConfig": ("endpoints", "static_endpoint_configs"),
    "DynamicEndpointConfig": ("endpoints", "dynamic_endpoint_configs"),
    "StaticSecret": ("secrets", "static_secrets"),
    "DynamicSecret": ("secrets", "dynamic_active_secrets"),
    "EcdsFilterConfig": ("ecds", "ecds_filters"),
}
"""What `/config_dump?resource=FIELD` answers with: the entries of one list, each as if it were a section."""

read_section = Reader(Section)
_read_entry = Reader(Entry)
_read_listener_entry = Reader(ListenerEntry)


def section_of_entry(type_: str, raw: msgspec.Raw) -> Section:
    """A section that holds one entry.

    Raises:
        msgspec.MsgspecError, ValueError, RecursionError: it is not one.
    """
    entry = _read_listener_entry(raw) if type_ == "DynamicListener" else _read_entry(raw)
    section = Section(type=type_)
    setattr(section, ENTRIES[type_][1], [entry])
    return section


class Resource(msgspec.Struct, frozen=True, gc=False):
    """A resource of a section with the state it is in.

    Args:
        raw: the resource as it stands in the document; empty if only a rejection is known of it.
        name: name given beside it, often empty.
        state: active, warming, draining or rejected.
        dynamic: whether it came over xDS.
        version_info: its version.
        last_updated: when Envoy took it.
        error_state: why the newest version was refused.
        client_status: ACKED, NACKED …
    """

    raw: msgspec.Raw
    name: str
    state: str
    dynamic: bool
    version_info: str
    last_updated: datetime | None
    error_state: str | None
    client_status: str | None

    @property
    def size(self) -> int:
        """Bytes in the document."""
        return len(memoryview(self.raw))

    @property
    def status(self) -> dict[str, Any]:
        """The columns `meshnb.model.tables.envoy.STATUS`."""
        return {
            "state": self.state,
            "dynamic": self.dynamic,
            "version_info": self.version_info or None,
            "last_updated": self.last_updated,
            "error_state": self.error_state,
            "client_status": self.client_status,
        }


def resources(kind: str, section: Section) -> Iterator[Resource]:
    """The resources of a section in order, dynamic ones first.

    An entry that holds nothing but a rejected version comes out as `rejected`, with that version.
    """
    field = _FIELDS[kind]
    for name, (state, dynamic) in _LISTS[kind].items():
        for entry in getattr(section, name):
            if isinstance(entry, ListenerEntry):
                yield from _listener_states(entry)
            else:
                yield _resource(entry, entry, getattr(entry, field), state, dynamic=dynamic)


def _listener_states(entry: ListenerEntry) -> Iterator[Resource]:
    states = {"active": entry.active_state, "warming": entry.warming_state, "draining": entry.draining_state}
    known = {state: value for state, value in states.items() if value is not None}
    for state, value in known.items():
        yield _resource(entry, value, value.listener, state, dynamic=True)
    if not known:
        yield _resource(entry, entry, EMPTY, "rejected", dynamic=True)


def _resource(entry: Entry, state: Entry, raw: msgspec.Raw, name: str, *, dynamic: bool) -> Resource:
    error = entry.error_state
    if not len(memoryview(raw)) and error is not None:
        raw, name = error.failed_configuration, "rejected"
    rejected = name == "rejected" and error is not None
    return Resource(
        raw=raw,
        name=entry.name,
        state=name,
        dynamic=dynamic,
        version_info=error.version_info if rejected and error else state.version_info,
        last_updated=error.last_update_attempt if rejected and error else state.last_updated,
        error_state=error.details or "rejected, no details given" if error is not None else None,
        client_status=str(entry.client_status) or None,
    )


def refused_beside(kind: str, section: Section) -> Iterator[tuple[str, msgspec.Raw]]:
    """Name and text of the versions Envoy refused while another one of that name is in use."""
    field = _FIELDS[kind]
    for name in _LISTS[kind]:
        for entry in getattr(section, name):
            error = entry.error_state
            if error is None or not len(memoryview(error.failed_configuration)):
                continue
            used = [getattr(entry, field)]
            if isinstance(entry, ListenerEntry):
                used = [s.listener for s in (entry.active_state, entry.warming_state, entry.draining_state) if s]
            if any(len(memoryview(raw)) for raw in used):
                yield entry.name, error.failed_configuration
