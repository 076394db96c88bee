"""What `istioctl proxy-config … -o json` and `-o yaml` print: messages as they are, with proto3 JSON names."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from meshnb.loaders.clusters import read_cluster
from meshnb.loaders.clusters_admin import ClusterStatus
from meshnb.loaders.config_dump import ConfigDump
from meshnb.loaders.endpoints import read_assignment
from meshnb.loaders.istioctl_page import host_wanted
from meshnb.loaders.istioctl_style import Filters, cluster_wanted, endpoint_wanted, listener_wanted
from meshnb.loaders.istioctl_text import cluster_key
from meshnb.loaders.listeners import read_listener
from meshnb.loaders.routes import read_routes
from meshnb.loaders.sections import Resource

_FIELD = re.compile(r"[a-z][a-z0-9_]*")
# fields that hold a Struct or a map of plain values: their keys are data
_DATA = {"filterMetadata", "keyValues", "jsonFormat"}
_MAPS = {"typedExtensionProtocolOptions", "typedPerFilterConfig", "typedFilterMetadata"}


def messages(dump: ConfigDump, table: str, filters: Filters) -> Any:
    """The messages of a table that the filters leave, with proto3 JSON names."""
    if table in ("bootstrap", "secrets", "ecds"):
        return _sections(dump, table)
    found = [one for one in dump.resources(table) if one.state == "active" and one.size]
    if table == "endpoints":
        return _assignments(found, filters)
    return [camel_json(_plain(one)) for one in found if _wanted(one, table, filters)]


def page_messages(document: dict[str, Any], clusters: list[ClusterStatus], filters: Filters) -> Any:
    """The clusters of a `/clusters` page of which the filters leave an endpoint; whole, as istioctl does."""
    raw = document.get("cluster_statuses", document.get("clusterStatuses", []))
    return [
        camel_json(plain)
        for plain, cluster in zip(raw, clusters, strict=True)
        if any(host_wanted(host, cluster.name, filters) for host in cluster.host_statuses)
    ]


def as_text(value: Any, output: str) -> str:
    """The value as `json` or `yaml`, as istioctl lays them out."""
    if output == "json":
        return json.dumps(value, indent=4, ensure_ascii=False) + "\n"
    import yaml

    return yaml.safe_dump(value, default_flow_style=False, allow_unicode=True, width=2**31)


def _plain(resource: Resource) -> Any:
    return msgspec.json.decode(resource.raw)


def _wanted(resource: Resource, table: str, filters: Filters) -> bool:
    if table == "clusters":
        return cluster_wanted(read_cluster(resource.raw), filters)
    if table == "listeners":
        return listener_wanted(read_listener(resource.raw), filters)
    return filters.name in ("", read_routes(resource.raw).name)


def _sections(dump: ConfigDump, table: str) -> Any:
    """The whole section; those of ECDS become one."""
    joined: dict[str, Any] = {}
    for section in dump.sections(table):
        for key, value in camel_json(section).items():
            if key == "ecdsFilters" and key in joined:
                joined[key] += value
            else:
                joined[key] = value
    joined.pop("@type", None)
    return joined


def _assignments(found: list[Resource], filters: Filters) -> list[Any]:
    typed = [(read_assignment(one.raw), one) for one in found]
    result = []
    for assignment, resource in sorted(typed, key=lambda pair: cluster_key(pair[0].cluster_name)):
        plain, left = camel_json(_plain(resource)), 0
        plain.pop("@type", None)
        for group, groups in zip(assignment.endpoints, plain.get("endpoints", []), strict=True):
            keep = [endpoint_wanted(one, assignment.cluster_name, filters) for one in group.lb_endpoints]
            kept = [one for one, wanted in zip(groups.get("lbEndpoints", []), keep, strict=True) if wanted]
            if "lbEndpoints" in groups:
                groups["lbEndpoints"] = kept
            if not kept:
                groups.pop("lbEndpoints", None)
            left += len(kept)
        if left:
            result.append(plain)
    return result


def camel_json(value: Any, *, field: str = "") -> Any:
    """A message with proto3 JSON names; keys that are data stay as they are, in order."""
    if isinstance(value, list):
        return [camel_json(one, field=field) for one in value]
    if not isinstance(value, dict):
        return value
    # the metadata of a node or a build is a Struct, that of everything else a message
    if field in _DATA or (field == "metadata" and not value.keys() & {"filter_metadata", "filterMetadata"}):
        return _ordered(value)
    if field in _MAPS:
        return {key: camel_json(value[key]) for key in sorted(value)}
    renamed = {_camel(key) if _FIELD.fullmatch(key) else key: one for key, one in value.items()}
    return {key: camel_json(one, field=key) for key, one in renamed.items()}


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value)}
    return [_ordered(one) for one in value] if isinstance(value, list) else value


def _camel(key: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), key)
