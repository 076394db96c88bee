"""Envoy's `/config_dump` as tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from meshnb.errors import FormatError
from meshnb.loaders.authz import authz_rows
from meshnb.loaders.bootstrap import bootstrap_row, proxy_name
from meshnb.loaders.clusters import cluster_row
from meshnb.loaders.documents import (
    Source,
    collector_paused,
    hint_for,
    offset_of,
    read_document,
    unreadable,
    values_of,
    what_is,
)
from meshnb.loaders.ecds import ecds_row
from meshnb.loaders.endpoints import COLUMNS, endpoint_rows
from meshnb.loaders.listener_logs import logger_rows
from meshnb.loaders.listeners import listener_rows
from meshnb.loaders.proto import Message
from meshnb.loaders.routes import route_rows
from meshnb.loaders.secrets import secret_rows
from meshnb.loaders.sections import ENTRIES, KINDS, Resource, Section, read_section, resources, section_of_entry
from meshnb.loaders.sizes import size_rows
from meshnb.model.frame import Frame, returns, to_pandas
from meshnb.model.tables.access_loggers import ACCESS_LOGGERS
from meshnb.model.tables.authz import AUTHZ
from meshnb.model.tables.envoy import BOOTSTRAP, CLUSTERS, ECDS, ENDPOINTS, LISTENERS, ROUTES, SECRETS, SIZES

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_TYPE_FIRST = re.compile(rb'\{\s*"@type"\s*:\s*"type\.googleapis\.com/envoy\.admin\.v\w+\.(\w+)"')
M = TypeVar("M")
BROKEN = (msgspec.MsgspecError, ValueError, TypeError, RecursionError, OverflowError)
"""What decoders raise on text that is not what it should be."""


class _Document(Message):
    """The whole document: sections, or one section alone."""

    configs: list[msgspec.Raw] | None = None
    type: str = msgspec.field(name="@type", default="")


def read_config_dump(source: Source, *, name: str = "", proxy: str = "") -> ConfigDump:
    """Read what Envoy answers to `/config_dump`, or what istiod expects a proxy to have.

    Both key styles are read, sections are found by `@type` wherever they stand, and a section saved alone will do, or
    what `?resource=` answers.

    Args:
        source: path (`.gz` too), bytes, or the decoded document.
        name: how to name the document in errors; the path if empty.
        proxy: `POD.NAMESPACE` it comes from; taken from the bootstrap section if empty.

    Raises:
        NotFound: no such file.
        FormatError: cut short, not JSON, or a document of another kind; names the byte.

    Example:
        >>> dump = read_config_dump({"configs": [{
        ...     "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
        ...     "static_clusters": [{"cluster": {"name": "outbound|80||catalog.shop.svc.cluster.local"}}],
        ... }]})
        >>> dump.clusters()[["fqdn", "port", "type"]].values.tolist()
        [['catalog.shop.svc.cluster.local', 80, 'STATIC']]
    """
    data, name = read_document(source, name=name)
    return ConfigDump(data, name=name, proxy=proxy)


class ConfigDump:
    """A config dump. Made by `meshnb.read_config_dump`; tables are made when asked for.

    Args:
        data: the document.
        name: how to name it in errors.
        proxy: `POD.NAMESPACE` it comes from; taken from the bootstrap section if empty.
    """

    def __init__(self, data: bytes, *, name: str = "document", proxy: str = "") -> None:
        self.data = data
        self.name = name
        self.notes: list[str] = []
        """What a reader must know: sections that occur twice or that are not read."""
        self._sections: dict[int, Section] = {}
        self._entries: dict[int, str] = {}
        self._raw = self._split()
        self._used: dict[str, list[msgspec.Raw]] = self._by_kind()
        self.proxy = proxy or self._own_name()

    def __repr__(self) -> str:
        return f"<ConfigDump {self.name}: {', '.join(self.kinds)}; {len(self.data):,} bytes>"

    @property
    def kinds(self) -> list[str]:
        """The sections it has, such as `bootstrap`, `clusters` and `routes`."""
        return list(self._used)

    def to_dict(self) -> dict[str, Any]:
        """The decoded document."""
        decoded: dict[str, Any] = msgspec.json.decode(self.data)
        return decoded

    def resources(self, kind: str) -> Iterator[Resource]:
        """The resources of one section as they stand, with the state they are in; dynamic ones first.

        Args:
            kind: one of `kinds`.

        Raises:
            FormatError: the section is not what its type says.
        """
        for raw in self._used.get(kind, ()):
            yield from resources(kind, self._section(kind, raw))

    def read(self, kind: str, reader: Callable[[msgspec.Raw], M], *, dynamic: bool | None = None) -> list[M]:
        """The resources in use of one section, read as messages.

        Args:
            kind: one of `kinds`.
            reader: makes a message of the raw text.
            dynamic: only those that came over xDS, or only the others.

        Raises:
            FormatError: one cannot be read; names it and the byte.
        """
        used = (one for one in self.resources(kind) if one.state == "active" and one.size)
        asked = (one for one in used if dynamic in (None, one.dynamic))
        return [self._guard(kind, one, lambda resource: reader(resource.raw)) for one in asked]

    def decode(self, resource: Resource) -> Any:
        """A resource as plain Python values.

        Raises:
            FormatError: it is not JSON; names it and the byte.
        """
        return self._guard("resource", resource, lambda one: msgspec.json.decode(one.raw))

    def sections(self, kind: str) -> list[dict[str, Any]]:
        """The decoded sections of one kind, of those that count.

        Args:
            kind: one of `kinds`.
        """
        return [msgspec.json.decode(raw) for raw in self._used.get(kind, ())]

    @returns(LISTENERS)
    def listeners(self) -> pd.DataFrame:
        """The listeners with their filter chains.

        Raises:
            FormatError: a listener cannot be read; names it and the byte.
        """
        return to_pandas(self.arrow("listeners"))

    @returns(ROUTES)
    def routes(self) -> pd.DataFrame:
        """The routes, one row per weighted destination.

        Raises:
            FormatError: a route configuration cannot be read; names it and the byte.
        """
        return to_pandas(self.arrow("routes"))

    @returns(CLUSTERS)
    def clusters(self) -> pd.DataFrame:
        """The clusters.

        Raises:
            FormatError: a cluster cannot be read; names it and the byte.
        """
        return to_pandas(self.arrow("clusters"))

    @returns(ENDPOINTS)
    def endpoints(self) -> pd.DataFrame:
        """The endpoints; none if the dump was taken without `?include_eds`.

        Raises:
            FormatError: a load assignment cannot be read; names it and the byte.
        """
        return to_pandas(self.arrow("endpoints"))

    @returns(SECRETS)
    def secrets(self, *, at: datetime | None = None) -> pd.DataFrame:
        """The certificates.

        Args:
            at: time for which `valid` and `days_left` are told; now if missing.

        Raises:
            FormatError: a secret cannot be read; names it and the byte.
        """
        return self._table(SECRETS, self._each("secrets", lambda resource: secret_rows(resource, at=at)))

    @returns(ECDS)
    def ecds(self) -> pd.DataFrame:
        """The extension configurations that came on their own.

        Raises:
            FormatError: one cannot be read; names it and the byte.
        """
        return self._table(ECDS, self._each("ecds", lambda resource: (ecds_row(resource),)))

    @returns(AUTHZ)
    def authz(self) -> pd.DataFrame:
        """The authorization rules that the listeners enforce, in the order of filters.

        Raises:
            FormatError: a listener or its RBAC filter cannot be read; names it and the byte.
        """
        return self._table(AUTHZ, self._each("listeners", authz_rows))

    @returns(ACCESS_LOGGERS)
    def access_loggers(self) -> pd.DataFrame:
        """What the listeners log, where to and in which format.

        Raises:
            FormatError: a listener or its access logger cannot be read; names it and the byte.
        """
        return self._table(ACCESS_LOGGERS, self._each("listeners", logger_rows))

    @returns(BOOTSTRAP)
    def bootstrap(self) -> pd.DataFrame:
        """Who the proxy is and which versions it runs; no row if the dump has no bootstrap section.

        Raises:
            FormatError: the section is not what its type says.
        """
        rows = []
        for raw in self._used.get("bootstrap", ()):
            section = self._section("bootstrap", raw)
            try:
                rows.append(bootstrap_row(section))
            except BROKEN as error:
                raise self._error(error, section.bootstrap, "bootstrap") from error
        return self._table(BOOTSTRAP, rows)

    @returns(SIZES)
    def sizes(self) -> pd.DataFrame:
        """The exact bytes and lines of every resource, largest first, and of what surrounds them.

        The bytes add up to the document. Without endpoints it has `bytes_without_endpoints`.

        Raises:
            FormatError: a section is not what its type says.
        """
        sections = [(kind, raw, self._section(kind, raw)) for kind, raw in self._raw]
        return self._table(SIZES, size_rows(self.data, sections))

    @property
    def bytes(self) -> int:
        """Size of the document."""
        return len(self.data)

    @property
    def bytes_without_endpoints(self) -> int:
        """Size it would have without `?include_eds`: less the endpoint sections and the commas before them."""
        size, before = len(self.data), 0
        for kind, raw in self._raw:
            start = offset_of(raw, self.data)
            end = start + len(memoryview(raw))
            if kind == "endpoints":
                size -= end - (before or start)
            before = end
        return size

    def _split(self) -> list[tuple[str, msgspec.Raw]]:
        try:
            document = msgspec.json.decode(self.data, type=_Document)
        except BROKEN as error:
            raise unreadable(error, self.data, file=self.name) from error
        if document.configs is None:
            if not document.type.endswith("ConfigDump"):
                seen = what_is(self.data)
                message = (
                    f"this is {seen}, not a config dump of Envoy" if seen else "not a config dump: it has no `configs`"
                )
                raise FormatError(
                    message,
                    file=self.name,
                    position="byte 0",
                    hint=hint_for(seen) or "give the answer of /config_dump?include_eds",
                )
            document.configs = [msgspec.json.decode(self.data, type=msgspec.Raw)]
        return [(self._kind(raw), raw) for raw in document.configs]

    def _kind(self, raw: msgspec.Raw) -> str:
        # Envoy prints the type first, which saves reading a section of many megabytes just for it
        first = _TYPE_FIRST.match(memoryview(raw)[:200])
        if first is not None and (known := KINDS.get(first[1].decode())):
            return known
        try:
            type_ = msgspec.json.decode(raw, type=_Document).type
        except BROKEN as error:
            raise self._error(error, raw, "section") from error
        name = type_.rpartition(".")[2]
        if name in ENTRIES:
            self._entries[id(raw)] = name
            return ENTRIES[name][0]
        return KINDS.get(name, type_)

    def _by_kind(self) -> dict[str, list[msgspec.Raw]]:
        """The sections that count: the last of each type, as for istioctl, but every one of ECDS."""
        found: dict[str, list[msgspec.Raw]] = {}
        for kind, raw in self._raw:
            found.setdefault(kind, []).append(raw)
        for kind, raws in found.items():
            if kind not in KINDS.values():
                self.notes.append(f"section {kind or 'without @type'} is not known and not read")
            elif kind != "ecds" and len(raws) > 1 and not all(id(raw) in self._entries for raw in raws):
                self.notes.append(f"section {kind} occurs {len(raws)} times; the last one counts")
                found[kind] = raws[-1:]
        return found

    def _section(self, kind: str, raw: msgspec.Raw) -> Section:
        found = self._sections.get(id(raw))
        if found is None:
            try:
                if id(raw) in self._entries:
                    found = section_of_entry(self._entries[id(raw)], raw)
                else:
                    found = read_section(raw) if kind in KINDS.values() else Section(type=kind)
            except BROKEN as error:
                raise self._error(error, raw, f"section {kind}") from error
            self._sections[id(raw)] = found
        return found

    def _own_name(self) -> str:
        raws = self._used.get("bootstrap", ())
        return proxy_name(self._section("bootstrap", raws[-1])) if raws else ""

    def _each(self, kind: str, make: Callable[[Resource], Iterable[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
        for resource in self.resources(kind):
            yield from self._guard(kind, resource, lambda one: list(make(one)))

    def _guard(self, kind: str, resource: Resource, make: Callable[[Resource], M]) -> M:
        try:
            return make(resource)
        except BROKEN as error:
            raise self._error(error, resource.raw, f"{kind.removesuffix('s')} {resource.name}".strip()) from error

    def _error(self, error: Exception, raw: msgspec.Raw, what: str) -> FormatError:
        return unreadable(error, self.data, file=self.name, base=offset_of(raw, self.data), what=what)

    def arrow(self, table: str) -> pa.Table:
        """One of the four large tables as Arrow, for many dumps to be put together.

        Args:
            table: `listeners`, `routes`, `clusters` or `endpoints`.

        Raises:
            FormatError: a resource cannot be read; names it and the byte.
        """
        if table == "listeners":
            return self._arrow(LISTENERS, self._each(table, listener_rows))
        if table == "routes":
            return self._arrow(ROUTES, self._each(table, route_rows))
        if table == "clusters":
            return self._arrow(CLUSTERS, self._each(table, lambda resource: (cluster_row(resource),)))
        return self._endpoints()

    @collector_paused()
    def _endpoints(self) -> pa.Table:
        made = (self._guard("endpoints", one, endpoint_rows) for one in self.resources("endpoints"))
        rows = [row for part in made for row in part]
        columns = dict(zip(COLUMNS, zip(*rows, strict=True) if rows else ([] for _ in COLUMNS), strict=True))
        with values_of(self.name):
            return ENDPOINTS.arrow({"proxy": [self.proxy or None] * len(rows), **columns})

    def _table(self, frame: Frame, rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
        return to_pandas(self._arrow(frame, rows))

    @collector_paused()
    def _arrow(self, frame: Frame, rows: Iterable[dict[str, Any]]) -> pa.Table:
        rows = list(rows)
        names = tuple(rows[0]) if rows else ()
        if rows and all(tuple(row) == names for row in rows):
            columns: dict[str, Any] = dict(zip(names, zip(*(row.values() for row in rows), strict=True), strict=True))
        else:
            columns = {name: [row.get(name) for row in rows] for name in frame.column_names}
        with values_of(self.name):
            return frame.arrow({**columns, "proxy": [self.proxy or None] * len(rows)})
