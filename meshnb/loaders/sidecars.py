"""Istio's Sidecar objects as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from meshnb.envoy.sidecar_objects import sidecar_of
from meshnb.loaders.objects import Object, metadata, section, sequence, to_json
from meshnb.loaders.shape import shaped
from meshnb.model.frame import returns
from meshnb.model.tables.sidecars import SIDECARS

if TYPE_CHECKING:
    import pandas as pd


@returns(SIDECARS)
@shaped("Sidecar objects")
def sidecars_table(objects: Sequence[Object], *, file: str = "") -> pd.DataFrame:
    """Sidecar objects, one row each; other kinds are left out.

    Raises:
        FormatError: a Sidecar that is not shaped like one.

    Example:
        >>> spec = {"egress": [{"hosts": ["./*", "istio-system/*"]}]}
        >>> found = sidecars_table([{"kind": "Sidecar", "metadata": {"name": "default"}, "spec": spec}])
        >>> list(found.egress_hosts[0])
        ['./*', 'istio-system/*']
    """
    rows = []
    for thing in objects:
        if thing.get("kind") != "Sidecar":
            continue
        meta = metadata(thing, file=file)
        where = f"Sidecar {meta.get('namespace', 'default')}/{meta['name']}"
        spec = section(thing, "spec", file, where)
        for name in ("egress", "ingress"):
            sequence(spec.get(name), file=file, where=f"{where} spec.{name}")
        one = sidecar_of(thing)
        rows.append(
            {
                "namespace": one.namespace,
                "sidecar": one.name,
                "selector": None if one.selector is None else to_json(one.selector),
                "egress_hosts": [host for listener in one.egress for host in listener.hosts],
                "egress_ports": [str(listener.port) for listener in one.egress if listener.port],
                "ingress_ports": [str(port) for port in one.ingress],
                "outbound_policy": one.policy or None,
                "spec": to_json(spec),
                "created": one.created,
            }
        )
    return SIDECARS.rows(rows)
