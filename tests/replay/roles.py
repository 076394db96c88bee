"""Kubernetes' authorization by roles, as far as a role that is shipped needs it."""

from __future__ import annotations

import yaml


class Roles:
    """What the roles of a YAML file allow whoever they are bound to.

    Args:
        text: ClusterRoles, Roles and their bindings; one that is not bound allows nothing.
    """

    def __init__(self, text: str) -> None:
        documents = list(yaml.safe_load_all(text))
        bound = {(d["roleRef"]["kind"], d["roleRef"]["name"]) for d in documents if d["kind"].endswith("Binding")}
        self.grants = [
            (group, resource, verb, frozenset(rule.get("resourceNames", ())), d["metadata"].get("namespace", ""))
            for d in documents
            if d["kind"] in ("ClusterRole", "Role") and (d["kind"], d["metadata"]["name"]) in bound
            for rule in d["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        ]
        self.used: set[tuple[str, str, str]] = set()

    def allows(self, verb: str, group: str, resource: str, *, namespace: str = "", name: str = "") -> bool:
        """Whether they allow it; what they do is counted as used."""
        for granted_group, granted, granted_verb, names, space in self.grants:
            if (granted_group, granted, granted_verb) != (group, resource, verb):
                continue
            if (names and name not in names) or (space and namespace != space):
                continue
            self.used.add((group, resource, verb))
            return True
        return False
