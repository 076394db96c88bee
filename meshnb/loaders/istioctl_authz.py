"""The table of `istioctl x authz check`, its defects included.

It looks at the filter chains of listeners that came over xDS, without the default chain. A filter that has only shadow
rules, as every CUSTOM policy gives, counts as one that allows nothing. `ConfigDump.authz` has neither defect.
"""

from __future__ import annotations

from collections.abc import Iterator

from meshnb.loaders.authz import EXTERNAL, Rbac, action_of, policies_of, policy_of, rbac_filters, read_rbac
from meshnb.loaders.config_dump import ConfigDump
from meshnb.loaders.istioctl_text import aligned
from meshnb.loaders.listeners import read_listener

_NOTHING = "_anonymous_match_nothing_"


def authz_text(dump: ConfigDump) -> str:
    """`x authz check`; nothing at all for a proxy without listeners from the control plane."""
    listeners = dump.read("listeners", read_listener, dynamic=True)
    if not listeners:
        return ""
    found: dict[str, set[str]] = {}
    rules: dict[str, set[str]] = {}
    for listener in listeners:
        for chain in listener.filter_chains:
            for _, filter_ in rbac_filters(chain):
                for action, name, rule in _policies(read_rbac.maybe(filter_.any_config) or Rbac()):
                    found.setdefault(action, set()).add(name)
                    rules.setdefault(name, set()).add(rule)  # whatever the action is
    rows = [
        [action, name, len(rules[name])]
        for action in ("DENY", "ALLOW", "LOG", "CUSTOM")
        for name in sorted(found.get(action, ()))
    ]
    return aligned(["ACTION", "AuthorizationPolicy", "RULES"], rows, padding=3)


def _policies(rbac: Rbac) -> Iterator[tuple[str, str, str]]:
    """Action, name and rule of each rule."""
    policies = policies_of(rbac.rules)
    if not policies:
        yield action_of(rbac.rules), _NOTHING, "0"
    for key in policies:
        yield action_of(rbac.rules), *_name(key)
    for key in policies_of(rbac.shadow_rules):
        if key.startswith(EXTERNAL):
            yield "CUSTOM", *_name(key)


def _name(key: str) -> tuple[str, str]:
    namespace, name, rule = policy_of(key) or ("", "", "")
    return f"{name}.{namespace}" if name else "", rule
