"""What a Sidecar object leaves a proxy to see, as istiod tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from meshnb.errors import FormatError
from meshnb.loaders.istiod_debug import decode
from meshnb.loaders.shape import shaped
from meshnb.model.frame import returns
from meshnb.model.tables.istiod import SIDECAR_SCOPES

if TYPE_CHECKING:
    import pandas as pd

_POLICY = {0: "REGISTRY_ONLY", 1: "ALLOW_ANY"}


@returns(SIDECAR_SCOPES)
@shaped("sidecarz")
def read_sidecarz(data: bytes | str, *, istiod: str = "", proxy: str = "", file: str = "") -> pd.DataFrame:
    """Services a proxy sees: `/debug/sidecarz?proxyID=…`.

    Releases before 1.13 tell no services there: then there is no row.

    Raises:
        FormatError: not sidecarz.

    Example:
        >>> scope = '{"name": "default", "namespace": "shop", "services": [{"hostname": "a.shop.svc.cluster.local"}]}'
        >>> read_sidecarz(scope, proxy="web.shop").host.tolist()
        ['a.shop.svc.cluster.local']
    """
    document = decode(data, file=file, what="sidecarz")
    if not isinstance(document, Mapping):
        raise FormatError("not sidecarz: an object expected", file=file)
    policy = document.get("outboundTrafficPolicy")
    # protobuf leaves out a mode that is its default; an absent policy says nothing
    mode = policy.get("mode", 0) if isinstance(policy, Mapping) else None
    common = {
        "istiod": istiod or None,
        "proxy": proxy or None,
        # without an object of a user istiod makes a scope of its own, which has no spec
        "sidecar": document.get("name") if document.get("sidecar") else None,
        "namespace": document.get("namespace") or None,
        "outbound_policy": _POLICY.get(mode, str(mode)) if mode is not None else None,
    }
    rows = []
    for service in document.get("services") or ():
        attributes = service.get("Attributes") or {}
        host = service.get("hostname") or service.get("Hostname") or ""
        rows.append({**common, "host": host, "service_namespace": attributes.get("Namespace") or None})
    return SIDECAR_SCOPES.rows(rows)
