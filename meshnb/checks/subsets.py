"""The DestinationRule that would define missing subsets, from the labels of the pods behind a service."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from meshnb.model.finding import Fix

if TYPE_CHECKING:
    import pandas as pd


def labels_for(subset: str, pods: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The label that picks a subset's pods, found by its name.

    A subset is usually named after a label's value (`v1`) or after label and value (`version-v1`). Both are tried on
    the labels the pods really have, the most telling form first; nothing is invented.

    Args:
        subset: name of the subset.
        pods: labels of each pod behind the service.

    Returns:
        One label, or none if no pod has a label that fits.

    Example:
        >>> labels_for("version-v1", [{"app": "catalog", "version": "v1"}, {"app": "catalog", "version": "v2"}])
        {'version': 'v1'}
        >>> labels_for("canary", [{"app": "catalog", "version": "v1"}])
        {}
    """
    pairs = sorted({pair for labels in pods for pair in labels.items()})
    forms: tuple[Callable[[str, str], bool], ...] = (
        lambda key, value: subset == f"{key}-{value}",
        lambda key, value: key.rpartition("/")[2] == "version" and subset == value,
        lambda key, value: subset == value,
        lambda key, value: key.rpartition("/")[2] == "version" and subset.endswith(f"-{value}"),
    )
    for fits in forms:
        for key, value in pairs:
            if fits(key, value):
                return {key: value}
    return {}


def define_subsets(
    host: str,
    subsets: Sequence[str],
    *,
    services: pd.DataFrame | None,
    pods: pd.DataFrame | None,
    destination_rules: pd.DataFrame | None,
) -> tuple[Fix, ...]:
    """What defines the subsets of a host: a new DestinationRule, or a patch of the one there is.

    Args:
        host: full name of the service.
        subsets: subsets that are missing.
        services: table `services`, for the selector.
        pods: table `pods`, for the labels.
        destination_rules: table `destination_rules`.

    Returns:
        One fix; its note says what could not be derived. Empty if no pod tells any of the labels.
    """
    name, _, rest = host.partition(".")
    namespace = rest.partition(".")[0]
    behind = _labels_behind(host, services, pods)
    found = {subset: labels_for(subset, behind) for subset in subsets}
    derived = [{"name": subset, "labels": labels} for subset, labels in found.items() if labels]
    unknown = [subset for subset, labels in found.items() if not labels]
    if not derived:
        return ()
    note = f"No label of a running pod fits subset {', '.join(unknown)}: name its labels by hand." if unknown else ""
    existing = _existing(host, destination_rules)
    if existing:
        patch: list[dict[str, Any]] = [{"op": "add", "path": "/spec/subsets", "value": derived}]
        if existing["has_subsets"]:
            patch = [{"op": "add", "path": "/spec/subsets/-", "value": subset} for subset in derived]
        command = (
            f"kubectl -n {existing['namespace']} patch destinationrule {existing['name']} --type json "
            f"-p '{json.dumps(patch)}'"
        )
        return (Fix(command, kind="command", note=note),)
    rule: dict[str, Any] = {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "DestinationRule",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"host": host, "subsets": derived},
    }
    return (Fix(yaml.safe_dump(rule, sort_keys=False), note=note),)


def _labels_behind(host: str, services: pd.DataFrame | None, pods: pd.DataFrame | None) -> list[dict[str, str]]:
    """Labels of the pods a service selects; of all pods of the namespace if the service is not known."""
    if pods is None:
        return []
    namespace = host.split(".")[1] if "." in host else ""
    labels = [json.loads(text) for text in pods.labels[pods.namespace == namespace]]
    if services is None:
        return labels
    selectors = [json.loads(text) for text in services.selector[services.host == host]]
    if not selectors or not selectors[0]:
        return []
    return [pod for pod in labels if selectors[0].items() <= pod.items()]


def _existing(host: str, destination_rules: pd.DataFrame | None) -> dict[str, Any]:
    if destination_rules is None:
        return {}
    rules = destination_rules[destination_rules.host == host]
    if rules.empty:
        return {}
    first = rules.iloc[0]
    same = rules[(rules.namespace == first["namespace"]) & (rules.destination_rule == first["destination_rule"])]
    return {
        "namespace": first["namespace"],
        "name": first["destination_rule"],
        "has_subsets": bool(same.subset.notna().any()),
    }
