"""istioctl's tables of one document: which function prints what."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

import msgspec

from meshnb.errors import FormatError, MeshnbError, UsageError
from meshnb.loaders.clusters_admin import cluster_statuses
from meshnb.loaders.config_dump import BROKEN, ConfigDump, read_config_dump
from meshnb.loaders.documents import Source, read_document, what_is
from meshnb.loaders.istioctl_authz import authz_text
from meshnb.loaders.istioctl_json import as_text, messages, page_messages
from meshnb.loaders.istioctl_legacy import TEXTS_1_6
from meshnb.loaders.istioctl_page import page_text
from meshnb.loaders.istioctl_style import TEXTS, Filters, Style, all_text
from meshnb.loaders.istioctl_ztunnel import ZTUNNEL_TEXTS, ZtunnelStyle, ztunnel_all_text
from meshnb.loaders.ztunnel import read_ztunnel_dump

STYLES = ("istioctl", "istioctl-1.6")
"""Releases whose tables are printed: of today, and of 1.6."""

TABLES = (*TEXTS, "all", "authz", *ZTUNNEL_TEXTS, "ztunnel_all")
"""Tables that istioctl prints."""

FILTERS = tuple(dict.fromkeys(one.name for kind in (Filters, ZtunnelStyle) for one in fields(kind)))
"""Names of all filters."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to print.

    Args:
        filters: values by name, of `FILTERS`.
        style: one of `STYLES`.
        output: `short`, `json` or `yaml`.
        verbose: the longer table of listeners and routes.
        with_headers: a heading over each table of `all`.
        at: time at which certificates must be valid; now if missing.
    """

    filters: dict[str, str | int]
    style: str = "istioctl"
    output: str = "short"
    verbose: bool = True
    with_headers: bool = False
    at: datetime | None = None


def istioctl_text(table: str, source: Source, options: Options) -> str:
    """What istioctl prints for a document.

    Args:
        table: one of `TABLES`; `endpoints` of a `/clusters` page is its own table.
        source: path, bytes or decoded document.
        options: how to print.

    Raises:
        NotFound: no such file, or the document has nothing of that table.
        FormatError: not the document the table is made from.
        UsageError: no such table or output, or a filter that the table does not have.
    """
    if table not in TABLES:
        raise UsageError(f"istioctl has no table {table!r}", hint=f"tables: {', '.join(TABLES)}")
    if table.startswith("ztunnel_"):
        return _ztunnel(table, source, options)
    filters = Filters(**_only(options.filters, Filters, table))  # type: ignore[arg-type]
    data, name = read_document(source)
    try:
        if table == "endpoints" and what_is(data) == "a /clusters page (JSON)":
            return _page(data, name, filters, options)
        return _dump(table, read_config_dump(data, name=name), filters, options)
    except MeshnbError:
        raise
    except BROKEN as error:
        # a part of a resource that only this table looks into
        raise FormatError(
            f"table {table}: {error}", file=name, hint="meshnb.read_config_dump names the byte"
        ) from error


def _page(data: bytes, name: str, filters: Filters, options: Options) -> str:
    clusters = cluster_statuses(data, name=name)
    if options.output == "short":
        return page_text(clusters, filters)
    return as_text(page_messages(msgspec.json.decode(data), clusters, filters), options.output)


def _dump(table: str, dump: ConfigDump, filters: Filters, options: Options) -> str:
    if table == "authz":
        return _authz(dump, options)
    if options.output != "short":
        if table == "all":
            raise UsageError("the table all is printed as text only", hint="leave -o out")
        return as_text(messages(dump, table, filters), options.output)
    return _short(table, dump, Style(filters, verbose=options.verbose, at=options.at), options)


def _short(table: str, dump: ConfigDump, style: Style, options: Options) -> str:
    if options.style == "istioctl-1.6":
        if table not in TEXTS_1_6:
            raise UsageError(f"the style istioctl-1.6 has no table {table!r}", hint=f"tables: {', '.join(TEXTS_1_6)}")
        return TEXTS_1_6[table](dump, style)
    return all_text(dump, style, with_headers=options.with_headers) if table == "all" else TEXTS[table](dump, style)


def _ztunnel(table: str, source: Source, options: Options) -> str:
    if options.output != "short" or options.style != "istioctl":
        raise UsageError(f"the table {table} is printed as text only", hint="leave -o out")
    known = _only(options.filters, ZtunnelStyle, table)
    style = ZtunnelStyle(**known, verbose=options.verbose, at=options.at)  # type: ignore[arg-type]
    dump = read_ztunnel_dump(source)
    if table == "ztunnel_all":
        return ztunnel_all_text(dump, style, with_headers=options.with_headers)
    return ZTUNNEL_TEXTS[table](dump, style)


def _authz(dump: ConfigDump, options: Options) -> str:
    if options.output != "short" or options.style != "istioctl" or options.filters:
        raise UsageError("the table authz is printed whole and as text only", hint="leave filters and -o out")
    return authz_text(dump)


def _only(given: dict[str, str | int], kind: type, table: str) -> dict[str, str | int]:
    known = {one.name for one in fields(kind)}
    foreign = sorted(set(given) - known)
    if foreign:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in foreign)
        raise UsageError(f"the table {table} has no filter {flags}", hint=f"filters: {', '.join(sorted(known))}")
    return dict(given)
