"""Table of the authorization policies that proxies enforce."""

from __future__ import annotations

from meshnb.model.frame import Column, Frame
from meshnb.model.tables.envoy import PROXY, STATUS

AUTHZ = Frame(
    "authz",
    "One row per authorization rule in an RBAC filter of a listener's filter chain, in Envoy's order of filters.",
    (
        PROXY,
        Column("listener", "string", "Name of the listener; empty for some static ones."),
        Column("address", "string", "IP address or path; missing for an internal listener."),
        Column("port", "int64", "Port; 0 where there is none.", nullable=False),
        Column("direction", "string", "INBOUND, OUTBOUND or missing."),
        Column("chain", "string", "Name of the filter chain."),
        Column("position", "int64", "Order of the chain; the default chain comes last.", nullable=False),
        Column("default_chain", "bool", "Whether it is the default filter chain.", nullable=False),
        Column("match", "string", "What the chain matches, in istioctl's words; ALL for everything."),
        Column("filter", "string", "Name of the RBAC filter.", nullable=False),
        Column("layer", "string", "HTTP, or TCP for a network filter.", nullable=False),
        Column("mode", "string", "enforced, dry_run (counted, not enforced) or external (CUSTOM).", nullable=False),
        Column("action", "string", "DENY, ALLOW, LOG or CUSTOM; missing for a matcher tree."),
        Column("policy", "string", "AuthorizationPolicy; missing if the rule is not named in Istio's way."),
        Column("namespace", "string", "Namespace of it."),
        Column("rule", "int64", "Index of the rule in the policy."),
        Column(
            "policy_key",
            "string",
            "Name of the rule in the filter, as in rbac_access_denied_matched_policy[…]; missing where the filter has "
            "no rule: with action ALLOW it then denies everything.",
        ),
        Column("permissions", "json", "What may be done: one of these must match."),
        Column("principals", "json", "By whom: one of these must match."),
        Column("condition", "json", "CEL condition, where there is one."),
        Column("matcher", "json", "Matcher tree, where the filter has one instead of rules."),
        *STATUS,
    ),
)
