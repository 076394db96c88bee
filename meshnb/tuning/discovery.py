"""Which namespaces istiod looks at: discoverySelectors against labels, and what would change with others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meshnb.envoy.sidecar_scope import ROOT_NAMESPACE
from meshnb.errors import UsageError
from meshnb.model.frame import returns
from meshnb.model.tables.sidecars import DISCOVERY

if TYPE_CHECKING:
    import pandas as pd

_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_FIELDS = ("matchLabels", "matchExpressions")
_SHAPE = "matchLabels: {KEY: VALUE}, matchExpressions: [{key: KEY, operator: In, values: [VALUE]}]"
SAVES = "saves pushes and proxies' memory; istiod watches the namespace all the same (istio/istio#41658)"


def selected(selectors: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> bool:
    """Whether istiod looks at a namespace: one selector must fit with all its conditions; without any it looks at all.

    Args:
        selectors: MeshConfig's discoverySelectors.
        labels: of the namespace.

    Raises:
        UsageError: a selector that Kubernetes would not take.

    Example:
        >>> exclude = [{"matchExpressions": [{"key": "istio-exclude", "operator": "NotIn", "values": ["true"]}]}]
        >>> selected(exclude, {}), selected(exclude, {"istio-exclude": "true"})
        (True, False)
    """
    return not selectors or any(_fits(one, labels) for one in selectors)


def _fits(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    wanted, conditions = selector.get("matchLabels") or {}, selector.get("matchExpressions") or []
    shaped = isinstance(wanted, Mapping) and isinstance(conditions, list | tuple)
    if not shaped or not all(isinstance(one, Mapping) for one in conditions) or set(selector) - set(_FIELDS):
        raise UsageError(f"no selector: {str(selector)[:200]}", hint=_SHAPE)
    named = all(labels.get(key) == value for key, value in wanted.items())
    return named and all(_holds(one, labels) for one in conditions)


def _holds(condition: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, operator = str(condition.get("key", "")), condition.get("operator")
    values = condition.get("values") or []
    if operator not in _OPERATORS:
        raise UsageError(f"no operator {operator!r} in a selector", hint=", ".join(_OPERATORS))
    if not key or not isinstance(values, list | tuple):
        raise UsageError(f"no condition: {str(dict(condition))[:200]}", hint=_SHAPE)
    if operator in ("Exists", "DoesNotExist"):
        return (key in labels) is (operator == "Exists")
    # a label that is not there is in no list
    return (labels.get(key) in values) is (operator == "In")


def selectors_of(text: str) -> list[Mapping[str, Any]]:
    r"""The selectors of YAML: a MeshConfig, an IstioOperator, Helm values, or the bare list.

    Raises:
        UsageError: no selectors in it.

    Example:
        >>> selectors_of("meshConfig:\n  discoverySelectors:\n    - matchLabels: {istio-discovery: enabled}")
        [{'matchLabels': {'istio-discovery': 'enabled'}}]
    """
    import yaml

    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UsageError(f"the selectors are no YAML: {error}") from error
    for key in ("spec", "meshConfig", "discoverySelectors"):
        if isinstance(value, Mapping) and key in value:
            value = value[key]
    return checked(value)


def checked(selectors: Any) -> list[Mapping[str, Any]]:
    """Selectors that are shaped as Kubernetes has them.

    Raises:
        UsageError: no list of selectors.
    """
    if not isinstance(selectors, list | tuple) or not all(isinstance(one, Mapping) for one in selectors):
        raise UsageError("no discoverySelectors in it", hint=f"a list of selectors: {_SHAPE}")
    return list(selectors)


@returns(DISCOVERY)
def discovery(
    namespaces: pd.DataFrame,
    *,
    now: Sequence[Mapping[str, Any]] | None,
    then: Sequence[Mapping[str, Any]],
    labels: Mapping[str, Mapping[str, str | None]],
    endpoints: pd.DataFrame | None,
    calls: Mapping[str, tuple[int, Any]] | None,
    root: str = ROOT_NAMESPACE,
) -> pd.DataFrame:
    """Namespaces with what would leave every proxy, those that change first.

    Args:
        namespaces: table `namespaces`.
        now: the selectors in force; `None` if they are not known.
        then: the selectors to try.
        labels: labels to try, by namespace; `None` takes a label away.
        endpoints: rows of `endpoints` with the column `service_namespace`; `None` without config dumps.
        calls: calls to each namespace and the last of them; `None` without access logs.
        root: the root namespace.

    Raises:
        UsageError: labels of a namespace that is not there, or that are none.
    """
    if missing := sorted(set(labels) - set(namespaces.namespace)):
        known = ", ".join(sorted(namespaces.namespace)[:20])
        raise UsageError(f"no namespace {', '.join(missing)}", hint=f"namespaces: {known}")
    if wrong := [space for space, tried in labels.items() if not isinstance(tried, Mapping)]:
        raise UsageError(f"the labels of {wrong[0]} are no mapping", hint="labels={NAMESPACE: {LABEL: VALUE}}")
    rows = []
    for row in namespaces.itertuples():
        held = json.loads(row.labels)
        tried = {**held, **labels.get(row.namespace, {})}
        tried = {name: value for name, value in tried.items() if value is not None}
        before = None if now is None else selected(now, held)
        after = selected(then, tried)
        change = _change(before is not False, after)
        theirs = None if endpoints is None else endpoints[(endpoints.service_namespace == row.namespace).fillna(False)]
        seen = None if calls is None else calls.get(row.namespace, (0, None))
        rows.append(
            {
                "namespace": row.namespace,
                "labels": json.dumps(tried, separators=(",", ":")),
                "now": before,
                "then": after,
                "change": change,
                "services": row.services,
                "endpoints": row.endpoints,
                "pods_with_proxy": row.with_proxy,
                "proxies_with_them": None if theirs is None else int(theirs.proxy.nunique()),
                "proxy_endpoints": None if theirs is None else int(theirs.endpoint.notna().sum()),
                "calls": None if seen is None else seen[0],
                "last_call": None if seen is None else seen[1],
                "notes": _notes(row, change, seen, root, known=now is not None),
            }
        )
    order = {"leaves": 0, "joins": 1, "stays": 2, "stays out": 3}
    rows.sort(key=lambda row: (order[row["change"]], row["namespace"]))
    return DISCOVERY.rows(rows)


def _change(before: bool, after: bool) -> str:
    if before == after:
        return "stays" if after else "stays out"
    return "joins" if after else "leaves"


def _notes(row: Any, change: str, seen: tuple[int, Any] | None, root: str, *, known: bool) -> list[str]:
    notes = (
        [] if known else ["MeshConfig was not captured, or is unreadable: all namespaces are taken for looked at now"]
    )
    if change != "leaves":
        return notes
    notes.append(SAVES)
    if row.namespace == root:
        notes.append("the root namespace: istiod would no longer see gateways' Services and mesh-wide objects in it")
    if row.with_proxy:
        notes.append(
            f"{row.with_proxy} pods with a proxy are in it: their Services leave the mesh, and what selects them"
        )
    if seen is None:
        notes.append("whether it is called is unknown: no access log was captured")
    elif seen[0]:
        notes.append(f"{seen[0]} calls to it were seen: they would no longer find a service")
    return notes
