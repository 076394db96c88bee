"""RBAC rules, as far as what is known of a request decides them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_network

from meshnb.envoy.explain.connection_manager import Reply
from meshnb.envoy.explain.fields import Message, child, flag, has, items, number, text, value
from meshnb.envoy.explain.filter_chain import parse_ip
from meshnb.envoy.explain.headers import Headers
from meshnb.envoy.explain.match import HeaderMatcher, StringMatcher
from meshnb.envoy.explain.path import without_query
from meshnb.envoy.explain.verdict import Miss, Unknown
from meshnb.errors import FormatError

Truth = bool | Unknown


@dataclass(frozen=True, slots=True)
class RbacView:
    """What RBAC rules look at; `Unknown` where it is not given."""

    headers: Headers
    address: str | Unknown
    port: int
    source: str | Unknown
    principal: str | None
    server_name: str
    tls: bool


def rbac_reply(config: Message, view: RbacView) -> Reply | Unknown | None:
    """What an RBAC filter does: the 403 it answers, nothing, or what would have to be known."""
    rules = child(config, "rules")
    if has(config, "matcher"):
        return Unknown("a matcher tree")
    if not has(config, "rules"):
        return None
    action = text(rules, "action", "ALLOW")
    if action == "LOG":
        return None
    policies = child(rules, "policies")
    unknown: Unknown | None = None
    # Envoy goes through the policies in the order of their names and takes the first that matches.
    for name in sorted(policies):
        policy = child(policies, name)
        if has(policy, "condition") or has(policy, "checked_condition"):
            return Unknown(f"policy {name} has a CEL condition")
        truth = _all(
            (
                _any(items(policy, "permissions"), lambda rule: _permission(rule, view)),
                _any(items(policy, "principals"), lambda rule: _principal(rule, view)),
            )
        )
        if isinstance(truth, Unknown):
            unknown = unknown or Unknown(f"policy {name}: {truth}")
        elif truth:
            if unknown is not None:
                return unknown
            return None if action == "ALLOW" else _denied(name)
    if unknown is not None:
        return unknown
    return _denied("none") if action == "ALLOW" else None


def _denied(policy: str) -> Reply:
    why = f"policy {policy} denies it" if policy != "none" else "no policy allows it"
    return Reply(403, f"rbac_access_denied_matched_policy[{policy}]", f"RBAC: {why}")


def _any(rules: Iterable[Message], test: Callable[[Message], Truth]) -> Truth:
    unknown: Unknown | None = None
    for rule in rules:
        found = test(rule)
        if found is True:
            return True
        if isinstance(found, Unknown):
            unknown = unknown or found
    return unknown or False


def _all(truths: Iterable[Truth]) -> Truth:
    unknown: Unknown | None = None
    for found in truths:
        if found is False:
            return False
        if isinstance(found, Unknown):
            unknown = unknown or found
    return unknown or True


def _not(found: Truth) -> Truth:
    return found if isinstance(found, Unknown) else not found


def _combined(rule: Message, test: Callable[[Message], Truth]) -> Truth | None:
    """Rules that permissions and principals share."""
    for key, inner in (("and_rules", "rules"), ("and_ids", "ids")):
        if has(rule, key):
            return _all(test(part) for part in items(child(rule, key), inner))
    for key, inner in (("or_rules", "rules"), ("or_ids", "ids")):
        if has(rule, key):
            return _any(items(child(rule, key), inner), test)
    for key in ("not_rule", "not_id"):
        if has(rule, key):
            return _not(test(child(rule, key)))
    if has(rule, "any"):
        return flag(rule, "any")
    return None


def _permission(rule: Message, view: RbacView) -> Truth:
    combined = _combined(rule, lambda part: _permission(part, view))
    if combined is not None:
        return combined
    if has(rule, "header"):
        return _header(child(rule, "header"), view)
    if has(rule, "url_path"):
        return _url_path(child(rule, "url_path"), view)
    if has(rule, "destination_ip"):
        return _in_range(child(rule, "destination_ip"), view.address)
    if has(rule, "destination_port"):
        return number(rule, "destination_port") == view.port
    if has(rule, "destination_port_range"):
        ports = child(rule, "destination_port_range")
        return number(ports, "start") <= view.port < number(ports, "end")
    if has(rule, "requested_server_name"):
        return StringMatcher.of(child(rule, "requested_server_name")).test(view.server_name)
    return _not_followed(rule)


def _principal(rule: Message, view: RbacView) -> Truth:
    combined = _combined(rule, lambda part: _principal(part, view))
    if combined is not None:
        return combined
    if has(rule, "authenticated"):
        return _authenticated(child(rule, "authenticated"), view)
    for name in ("direct_remote_ip", "source_ip"):
        if has(rule, name):
            return _in_range(child(rule, name), view.source)
    if has(rule, "header"):
        return _header(child(rule, "header"), view)
    if has(rule, "url_path"):
        return _url_path(child(rule, "url_path"), view)
    return _not_followed(rule)


def _not_followed(rule: Message) -> Unknown:
    return Unknown(f"{next(iter(rule), 'an empty rule')} is not given")


def _header(config: Message, view: RbacView) -> Truth:
    found = HeaderMatcher(config).verdict(view.headers)
    return found if isinstance(found, Unknown) else not isinstance(found, Miss)


def _url_path(config: Message, view: RbacView) -> Truth:
    path = view.headers.first(":path")
    return path is not None and StringMatcher.of(child(config, "path")).test(without_query(path))


def _in_range(config: Message, address: str | Unknown) -> Truth:
    if isinstance(address, Unknown):
        return address
    try:
        network = ip_network(f"{text(config, 'address_prefix')}/{number(config, 'prefix_len')}", strict=False)
    except ValueError as error:
        raise FormatError(str(error), position="address_prefix") from error
    found = parse_ip(address)
    return found.version == network.version and found in network


def _authenticated(config: Message, view: RbacView) -> Truth:
    if not view.tls:
        return False
    if view.principal is None:
        return Unknown("the client's certificate is not given")
    if value(config, "principal_name") is None:
        return bool(view.principal)
    return StringMatcher.of(child(config, "principal_name")).test(view.principal)
