"""Authorization rules of a config dump: the RBAC filters of its listeners, of HTTP and of TCP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from meshnb.loaders.listeners import (
    HCM,
    FilterChain,
    FilterChainMatch,
    Listener,
    chain_match_text,
    read_chain_match,
    read_hcm,
    read_listener,
)
from meshnb.loaders.proto import EMPTY, Address, Message, NamedConfig, Reader, text, texts
from meshnb.loaders.sections import Resource

RBAC_HTTP = "envoy.filters.http.rbac"
RBAC_TCP = "envoy.filters.network.rbac"
EXTERNAL = "istio-ext-authz"
"""How the name of a rule begins that an external authorizer decides (action CUSTOM)."""

_KEY = re.compile(r"ns\[(.+)\]-policy\[(.+)\]-rule\[(.+)\]")
_ACTIONS = {0: "ALLOW", 1: "DENY", 2: "LOG"}


class Rules(Message):
    """`config.rbac.v3.RBAC`; its policies stay raw, by name."""

    action: str | int = "ALLOW"
    policies: msgspec.Raw = EMPTY


class Rbac(Message):
    """`filters.http.rbac.v3.RBAC`, and that of the network filter."""

    rules: Rules | None = None
    shadow_rules: Rules | None = None
    matcher: msgspec.Raw = EMPTY
    shadow_matcher: msgspec.Raw = EMPTY


class Policy(Message):
    """`config.rbac.v3.Policy`."""

    permissions: list[msgspec.Raw] = []
    principals: list[msgspec.Raw] = []
    condition: msgspec.Raw = EMPTY
    checked_condition: msgspec.Raw = EMPTY


read_rbac = Reader(Rbac)
_read_policy = Reader(Policy)


def policy_of(key: str) -> tuple[str, str, str] | None:
    """Namespace, name and index of the rule in the name of a rule; `None` if Istio did not name it.

    Example:
        >>> policy_of("ns[shop]-policy[allow-get]-rule[0]")
        ('shop', 'allow-get', '0')
    """
    found = _KEY.search(key)
    return (found[1], found[2], found[3]) if found is not None else None


def rbac_filters(chain: FilterChain) -> Iterator[tuple[str, NamedConfig]]:
    """The RBAC filters of a chain in order, each with its layer, HTTP or TCP."""
    for one in chain.filters:
        if one.name == RBAC_TCP:
            yield "TCP", one
        elif one.name in HCM and (hcm := read_hcm.maybe(one.any_config)) is not None:
            yield from (("HTTP", inner) for inner in hcm.http_filters if inner.name == RBAC_HTTP)


def policies_of(rules: Rules | None) -> dict[str, msgspec.Raw]:
    """The policies by name, in the order of their names, in which Envoy looks at them.

    Raises:
        msgspec.MsgspecError: they are not a map.
    """
    if rules is None or rules.policies is EMPTY:
        return {}
    given = msgspec.json.decode(rules.policies, type=dict[str, msgspec.Raw] | None) or {}
    return dict(sorted(given.items()))


def action_of(rules: Rules | None) -> str:
    """ALLOW, DENY or LOG."""
    if rules is None:
        return "ALLOW"
    return rules.action if isinstance(rules.action, str) else _ACTIONS.get(rules.action, str(rules.action))


def authz_rows(resource: Resource) -> Iterator[dict[str, Any]]:
    """The rows of one listener, see `meshnb.model.tables.authz.AUTHZ`.

    Raises:
        msgspec.MsgspecError, ValueError: not a listener, or an RBAC filter that is none.
    """
    listener = read_listener(resource.raw) if resource.size else Listener()
    address = listener.address or Address()
    chains = [(chain, False) for chain in listener.filter_chains]
    chains += [(listener.default_filter_chain, True)] if listener.default_filter_chain is not None else []
    for position, (chain, default) in enumerate(chains):
        for layer, filter_ in rbac_filters(chain):
            match = chain.filter_chain_match
            shared = {
                "listener": listener.name or resource.name,
                "address": address.host,
                "port": address.port,
                "direction": str(listener.traffic_direction) or None,
                "chain": chain.name or None,
                "position": position,
                "default_chain": default,
                "match": chain_match_text(read_chain_match(match) if match is not EMPTY else FilterChainMatch()),
                "filter": filter_.name,
                "layer": layer,
                **resource.status,
            }
            for row in _filter_rows(filter_):
                yield {**shared, **row}


def _filter_rows(filter_: NamedConfig) -> Iterator[dict[str, Any]]:
    rbac = read_rbac(filter_.any_config) if filter_.any_config is not EMPTY else Rbac()
    for mode, rules, matcher in (
        ("enforced", rbac.rules, rbac.matcher),
        ("dry_run", rbac.shadow_rules, rbac.shadow_matcher),
    ):
        if matcher is not EMPTY:  # Envoy then leaves the rules out
            yield {"mode": mode, "matcher": text(matcher)}
        elif rules is not None:
            policies = policies_of(rules)
            if not policies:
                yield {"mode": mode, "action": action_of(rules)}
            for key, raw in policies.items():
                yield _rule(mode, action_of(rules), key, _read_policy(raw))


def _rule(mode: str, action: str, key: str, policy: Policy) -> dict[str, Any]:
    # Istio puts the rules of CUSTOM policies among the shadow rules; what they match goes to the external authorizer
    external = mode == "dry_run" and key.startswith(EXTERNAL)
    namespace, name, rule = policy_of(key) or (None, None, "")
    return {
        "mode": "external" if external else mode,
        "action": "CUSTOM" if external else action,
        "policy": name,
        "namespace": namespace,
        "rule": int(rule) if rule.isascii() and rule.isdigit() and len(rule) < 10 else None,
        "policy_key": key,
        "permissions": texts(policy.permissions),
        "principals": texts(policy.principals),
        "condition": text(policy.condition) or text(policy.checked_condition),
    }
