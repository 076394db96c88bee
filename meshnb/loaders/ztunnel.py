"""ztunnel's `/config_dump` as tables: workloads, services, policies, certificates and connections."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from meshnb.errors import FormatError
from meshnb.loaders.documents import Source, read_document, unreadable, values_of, what_is
from meshnb.model.frame import Frame, returns
from meshnb.model.tables.ztunnel import (
    ZTUNNEL_CERTIFICATE,
    ZTUNNEL_CONNECTIONS,
    ZTUNNEL_POLICY,
    ZTUNNEL_SERVICE,
    ZTUNNEL_WORKLOAD,
)

if TYPE_CHECKING:
    import pandas as pd

Record = dict[str, Any]


def read_ztunnel_dump(source: Source, *, name: str = "", proxy: str = "") -> ZtunnelDump:
    """Read what ztunnel answers to `/config_dump`, of any release.

    Args:
        source: path (`.gz` too), bytes, or the decoded document.
        name: how to name the document in errors; the path if empty.
        proxy: `POD.NAMESPACE` of the ztunnel.

    Raises:
        NotFound: no such file.
        FormatError: cut short, not JSON, or a document of another kind.

    Example:
        >>> dump = read_ztunnel_dump({"workloads": [{"name": "a", "namespace": "shop", "protocol": "HBONE"}]})
        >>> dump.workloads()[["namespace", "name", "protocol"]].values.tolist()
        [['shop', 'a', 'HBONE']]
    """
    data, name = read_document(source, name=name)
    try:
        document = msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise unreadable(error, data, file=name, own="a ztunnel config dump") from error
    lowered = _lowered(document)
    if not lowered.keys() & _SECTIONS:
        seen = "a config dump of Envoy" if "configs" in lowered else what_is(data) or "something else"
        hint = "read it with meshnb.read_config_dump" if "configs" in lowered else "give the /config_dump of a ztunnel"
        raise FormatError(f"this is {seen}, not a ztunnel config dump", file=name, position="byte 0", hint=hint)
    return ZtunnelDump(lowered, name=name, proxy=proxy)


def is_ztunnel_dump(data: bytes) -> bool:
    """Whether a document is the config dump of a ztunnel, not of an Envoy."""
    return b'"configs"' not in data[:1000] and what_is(data) == "a ztunnel config dump"


_SECTIONS = {"workloads", "services", "policies", "certificates", "workloadstate", "config"}


def _lowered(record: object) -> Record:
    """A record with its keys in lower case: their case changed between releases."""
    return {key.lower(): value for key, value in record.items()} if isinstance(record, dict) else {}


def records(section: object) -> list[Record]:
    """The records of a section, which is a list, or a map in older dumps."""
    values = section.values() if isinstance(section, dict) else section if isinstance(section, list) else ()
    return [_lowered(value) for value in values if isinstance(value, dict)]


def text_of(record: Record, *keys: str) -> str:
    """The first text found under these keys, or nothing."""
    return next((value for key in keys if isinstance(value := record.get(key), str)), "")


def strings(value: object) -> list[str]:
    """The texts of a list."""
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


class ZtunnelDump:
    """A ztunnel config dump. Made by `meshnb.read_ztunnel_dump`; tables are made when asked for."""

    def __init__(self, document: Record, *, name: str = "document", proxy: str = "") -> None:
        self.document = document
        self.name = name
        self.proxy = proxy

    def __repr__(self) -> str:
        return (
            f"<ZtunnelDump {self.name}: {len(self.workload_records)} workloads, {len(self.service_records)} services>"
        )

    @cached_property
    def workload_records(self) -> list[Record]:
        """Workloads as they stand."""
        return records(self.document.get("workloads"))

    @cached_property
    def service_records(self) -> list[Record]:
        """Services as they stand."""
        return records(self.document.get("services"))

    @cached_property
    def policy_records(self) -> list[Record]:
        """Authorization policies as they stand."""
        return records(self.document.get("policies"))

    @cached_property
    def waypoints(self) -> dict[str, str]:
        """Name of the service by each way a waypoint may be written: NETWORK/IP and NAMESPACE/HOST."""
        found: dict[str, str] = {}
        for service in self.service_records:
            name = text_of(service, "name")
            for key in (
                *strings(service.get("vips")),
                f"{text_of(service, 'namespace')}/{text_of(service, 'hostname')}",
            ):
                found.setdefault(key, name)
        return found

    @cached_property
    def names(self) -> dict[str, str]:
        """Name behind an IP address: host of the service with that first VIP, else `NAME.NAMESPACE` of the workload."""
        found = {}
        for workload in self.workload_records:
            for ip in strings(workload.get("workloadips"))[:1]:
                found[ip] = f"{text_of(workload, 'name')}.{text_of(workload, 'namespace')}"
        for service in self.service_records:
            for vip in strings(service.get("vips"))[:1]:
                found[vip.partition("/")[2]] = text_of(service, "hostname")
        return found

    def resolve(self, address: str) -> str:
        """`IP:PORT` with the name instead of the address, where it is known."""
        ip, _, port = address.rpartition(":")
        name = self.names.get(ip.strip("[]"))
        return f"{name}:{port}" if name else address

    @returns(ZTUNNEL_WORKLOAD)
    def workloads(self) -> pd.DataFrame:
        """The workloads, by namespace and name."""
        rows = [self._workload(record) for record in self.workload_records]
        return self._table(ZTUNNEL_WORKLOAD, sorted(rows, key=lambda row: (row["namespace"] or "", row["name"] or "")))

    def _workload(self, record: Record) -> Record:
        destination = waypoint_destination(record)
        return {
            "uid": text_of(record, "uid") or None,
            "namespace": text_of(record, "namespace") or None,
            "name": text_of(record, "name") or None,
            "addresses": strings(record.get("workloadips")),
            "hostname": text_of(record, "hostname") or None,
            "node": text_of(record, "node") or None,
            "waypoint": self.waypoints.get(destination) if destination is not None else None,
            "waypoint_destination": destination,
            "protocol": text_of(record, "protocol") or None,
            "status": text_of(record, "status") or None,
            "service_account": text_of(record, "serviceaccount") or None,
            "workload": text_of(record, "workloadname") or None,
            "workload_type": text_of(record, "workloadtype") or None,
            "canonical_service": text_of(record, "canonicalname") or None,
            "canonical_revision": text_of(record, "canonicalrevision") or None,
            "trust_domain": text_of(record, "trustdomain") or None,
            "network": text_of(record, "network") or None,
            "cluster_id": text_of(record, "clusterid") or None,
            "authorization_policies": strings(record.get("authorizationpolicies")) or None,
        }

    @returns(ZTUNNEL_SERVICE)
    def services(self) -> pd.DataFrame:
        """The services, by namespace, name and host."""
        rows = [self._service(record) for record in self.service_records]
        order = ("namespace", "service", "hostname")
        return self._table(ZTUNNEL_SERVICE, sorted(rows, key=lambda row: [row[name] or "" for name in order]))

    def _service(self, record: Record) -> Record:
        destination = waypoint_destination(record)
        healthy, total = self._health(record)
        ports = record.get("ports")
        return {
            "namespace": text_of(record, "namespace") or None,
            "service": text_of(record, "name") or None,
            "hostname": text_of(record, "hostname") or None,
            "vips": [vip.partition("/")[2] for vip in strings(record.get("vips"))],
            "waypoint": self.waypoints.get(destination) if destination is not None else None,
            "waypoint_destination": destination,
            "ports": msgspec.json.encode(ports).decode() if ports else None,
            "endpoints": total,
            "endpoints_healthy": healthy,
        }

    @cached_property
    def _healthy(self) -> set[str]:
        return {text_of(one, "uid") for one in self.workload_records if text_of(one, "status") == "Healthy"}

    def _health(self, service: Record) -> tuple[int, int]:
        endpoints = records(service.get("endpoints"))
        return sum(text_of(one, "workloaduid") in self._healthy for one in endpoints), len(endpoints)

    @returns(ZTUNNEL_POLICY)
    def policies(self) -> pd.DataFrame:
        """The authorization policies, by namespace and name."""
        rows = [
            {
                "namespace": text_of(record, "namespace") or None,
                "policy": text_of(record, "name") or None,
                "action": text_of(record, "action") or None,
                "scope": text_of(record, "scope") or None,
                "rules": msgspec.json.encode(record.get("rules") or record.get("groups") or []).decode(),
            }
            for record in self.policy_records
        ]
        return self._table(ZTUNNEL_POLICY, sorted(rows, key=lambda row: (row["namespace"] or "", row["policy"] or "")))

    @returns(ZTUNNEL_CERTIFICATE)
    def certificates(self, *, at: datetime | None = None) -> pd.DataFrame:
        """The certificates, in the order of the dump.

        Args:
            at: time for which `valid` and `days_left` are told; now if missing.
        """
        moment = at or datetime.now(UTC)
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        rows = [row for record in records(self.document.get("certificates")) for row in _certificates(record, moment)]
        return self._table(ZTUNNEL_CERTIFICATE, rows)

    @returns(ZTUNNEL_CONNECTIONS)
    def connections(self) -> pd.DataFrame:
        """The open connections, by workload."""
        rows = [row for state in self.states() for row in self._connections(state)]
        return self._table(ZTUNNEL_CONNECTIONS, rows)

    def states(self) -> list[Record]:
        """What ztunnel knows of the workloads of its node, by namespace and name."""
        found = records(self.document.get("workloadstate"))
        return sorted(found, key=lambda one: [text_of(_lowered(one.get("info")), key) for key in ("namespace", "name")])

    def _connections(self, state: Record) -> Iterator[Record]:
        info = _lowered(state.get("info"))
        namespace = text_of(info, "namespace")
        both = _lowered(state.get("connections"))
        for direction in ("Inbound", "Outbound"):
            for one in records(both.get(direction.lower())):
                destination = text_of(one, "actualdst", "dst")
                yield {
                    "workload": f"{text_of(info, 'name')}.{namespace}",
                    "namespace": namespace or None,
                    "direction": direction,
                    "source": text_of(one, "src") or None,
                    "destination": destination or None,
                    "destination_name": self.names.get(destination.rpartition(":")[0].strip("[]")),
                    "original_destination": text_of(one, "originaldst") or None,
                    "protocol": text_of(one, "protocol") or None,
                }

    def _table(self, frame: Frame, rows: list[Record]) -> pd.DataFrame:
        with values_of(self.name):
            return frame.rows([{"proxy": self.proxy or None, **row} for row in rows])


def waypoint_destination(record: Record) -> str | None:
    """The waypoint of a workload or service as written, `None` if it has none."""
    waypoint = _lowered(record.get("waypoint"))
    destination = waypoint.get("destination")
    if isinstance(destination, dict):
        inner = _lowered(destination)
        return f"{text_of(inner, 'namespace', 'network')}/{text_of(inner, 'hostname', 'address')}"
    return destination if isinstance(destination, str) else "" if waypoint else None


def _certificates(record: Record, at: datetime) -> Iterator[Record]:
    state = record.get("state")
    state = state if isinstance(state, str) else msgspec.json.encode(state).decode() if state else ""
    shared = {
        "identity": text_of(record, "identity") or None,
        "state": "Unavailable" if "Unavailable" in state else state or None,
        "state_text": state or None,
    }
    chain, roots = records(record.get("certchain")), records(record.get("rootcerts"))
    if not chain:
        yield {**shared, "valid": False}
        return
    for position, one in enumerate(chain):
        last = position == len(chain) - 1 and not roots
        yield {
            **shared,
            **_certificate(one, at),
            "type": "Leaf" if not position else "Root" if last else "Intermediate",
        }
    for one in roots:
        yield {**shared, **_certificate(one, at), "type": "Root"}


def _certificate(record: Record, at: datetime) -> Record:
    before, after = _time(text_of(record, "validfrom")), _time(text_of(record, "expirationtime"))
    serial = text_of(record, "serialnumber")
    return {
        "serial": f"{int(serial):x}" if serial.isascii() and serial.isdigit() and len(serial) < 100 else serial or None,
        "not_before": before,
        "not_after": after,
        "valid": before is not None and after is not None and before < at < after,
        "days_left": (after - at).total_seconds() / 86400 if after is not None else None,
    }


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
