"""Filters, local replies and TCP proxies against a real Envoy: one Envoy, a listener for each story."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter

import explain_oracle as oracle
import pytest
from explain_differential import difference, echo_listener, free_port, upstreams

from meshnb.envoy.explain import Config, Explanation, Request, explain

pytestmark = pytest.mark.lab

FILTER = f"{oracle.TYPES}extensions.filters.http."
FAULT, RBAC = f"{FILTER}fault.v3.HTTPFault", f"{FILTER}rbac.v3."
ALL = {"name": "all", "match": {"prefix": "/"}, "route": {"cluster": "up-0"}}


def http(name: str, filters: list[dict], routes: list[dict], host: dict | None = None, **options: object) -> dict:
    table = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes, **(host or {})}]}
    return oracle.listener(name, [oracle.manager(table, "@LOG@", http_filters=filters, **options)])


def fault(**config: object) -> dict:
    return {"name": "fault", "typed_config": {"@type": FAULT, **config}}


def abort(code: int, percent: int = 100) -> dict:
    return {"abort": {"http_status": code, "percentage": {"numerator": percent}}}


def rbac(action: str, **policies: dict) -> dict:
    rules = {"action": action, "policies": policies}
    return {"name": "rbac", "typed_config": {"@type": f"{RBAC}RBAC", "rules": rules}}


def policy(permission: dict, principal: dict | None = None) -> dict:
    return {"permissions": [permission], "principals": [principal or {"any": True}]}


def header(name: str, exact: str) -> dict:
    return {"header": {"name": name, "string_match": {"exact": exact}}}


def tcp(name: str, **config: object) -> dict:
    typed = {"@type": f"{oracle.TYPES}extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "tcp", **config}
    proxy = {"name": "tcp", "typed_config": {**typed, "access_log": [oracle.access_log("@LOG@")]}}
    return oracle.listener(name, [proxy])


EITHER = {"or_rules": {"rules": [header("x-a", "1"), header("x-b", "2")]}}
PATH_RULE = {"url_path": {"path": {"prefix": "/admin"}}}
LISTENERS = [
    http("fault", [fault(**abort(418))], [ALL]),
    http("fault-header", [fault(**abort(418), headers=[{"name": "x-a", "string_match": {"exact": "1"}}])], [ALL]),
    http("fault-cluster", [fault(**abort(418), upstream_cluster="up-1")], [ALL]),
    http("fault-none", [fault(**abort(418, 0))], [ALL]),
    http(
        "fault-route",
        [fault()],
        [
            {**ALL, "match": {"path": "/f"}, "typed_per_filter_config": {"fault": {"@type": FAULT, **abort(429)}}},
            {
                **ALL,
                "name": "off",
                "match": {"path": "/off"},
                "typed_per_filter_config": {
                    "fault": {"@type": f"{oracle.TYPES}config.route.v3.FilterConfig", "disabled": True}
                },
            },
            ALL,
        ],
        {"typed_per_filter_config": {"fault": {"@type": FAULT, **abort(431)}}},
    ),
    http(
        "off-until-asked",
        [{**fault(**abort(418)), "disabled": True}],
        [{**ALL, "match": {"path": "/f"}, "typed_per_filter_config": {"fault": {"@type": FAULT, **abort(429)}}}, ALL],
    ),
    http("deny", [rbac("DENY", b=policy(header("x-a", "1")), a=policy(PATH_RULE))], [ALL]),
    http("allow", [rbac("ALLOW", a=policy(PATH_RULE, header("x-a", "1")))], [ALL]),
    http("allow-not", [rbac("ALLOW", a=policy({"not_rule": PATH_RULE}))], [ALL]),
    http(
        "rules",
        [
            rbac(
                "ALLOW",
                a=policy(
                    {"and_rules": {"rules": [PATH_RULE, EITHER]}},
                    {"or_ids": {"ids": [{"direct_remote_ip": {"address_prefix": "127.0.0.0", "prefix_len": 8}}]}},
                ),
                tls=policy({"any": True}, {"authenticated": {}}),
            )
        ],
        [ALL],
    ),
    http(
        "cors",
        [{"name": "cors", "typed_config": {"@type": f"{FILTER}cors.v3.Cors"}}],
        [ALL],
        {
            "typed_per_filter_config": {
                "cors": {
                    "@type": f"{FILTER}cors.v3.CorsPolicy",
                    "allow_origin_string_match": [{"suffix": ".example"}],
                    "allow_methods": "GET",
                }
            }
        },
    ),
    http("no-route", [fault(**abort(418))], [{**ALL, "match": {"prefix": "/x"}}]),
    http("upgrade-no", [], [ALL]),
    http("upgrade-manager", [], [ALL], upgrade_configs=[{"upgrade_type": "websocket"}]),
    http("upgrade-route", [], [{**ALL, "route": {"cluster": "up-0", "upgrade_configs": [
        {"upgrade_type": "websocket", "enabled": False}]}}], upgrade_configs=[{"upgrade_type": "websocket"}]),
    tcp("tcp", cluster="up-0"),
    tcp("tcp-gone", cluster="gone"),
    tcp("tcp-empty", cluster="empty"),
]  # fmt: skip

UPGRADE = (("connection", "Upgrade"), ("upgrade", "websocket"))
ORIGIN = ("origin", "http://a.example")
ASKS = ("access-control-request-method", "GET")
CASES = [
    ("fault", Request("a")),
    ("fault", Request("a", headers=(("content-type", "application/grpc"),))),
    ("fault-header", Request("a")),
    ("fault-header", Request("a", headers=(("x-a", "1"),))),
    ("fault-cluster", Request("a")),
    ("fault-none", Request("a")),
    ("fault-route", Request("a", "/f")),
    ("fault-route", Request("a", "/off")),
    ("fault-route", Request("a", "/other")),
    ("off-until-asked", Request("a", "/f")),
    ("off-until-asked", Request("a", "/")),
    ("deny", Request("a", "/admin/x")),
    ("deny", Request("a", "/", headers=(("x-a", "1"),))),
    ("deny", Request("a", "/admin", headers=(("x-a", "1"),))),
    ("deny", Request("a", "/")),
    ("allow", Request("a", "/admin")),
    ("allow", Request("a", "/admin", headers=(("x-a", "1"),))),
    ("allow", Request("a", "/", headers=(("x-a", "1"),))),
    ("allow-not", Request("a", "/admin?x")),
    ("allow-not", Request("a", "/adm")),
    ("rules", Request("a", "/admin", headers=(("x-b", "2"),), source="127.0.0.1")),
    ("rules", Request("a", "/admin", headers=(("x-b", "3"),), source="127.0.0.1")),
    ("cors", Request("a", method="OPTIONS", headers=(ORIGIN, ASKS))),
    ("cors", Request("a", method="OPTIONS", headers=(("origin", "http://b.other"), ASKS))),
    ("cors", Request("a", method="OPTIONS", headers=(ORIGIN,))),
    ("cors", Request("a", headers=(ORIGIN, ASKS))),
    ("no-route", Request("a", "/y")),
    ("upgrade-no", Request("a", headers=UPGRADE)),
    ("upgrade-manager", Request("a", headers=UPGRADE)),
    ("upgrade-manager", Request("a", headers=(UPGRADE[0], ("upgrade", "other")))),
    ("upgrade-route", Request("a", headers=UPGRADE)),
    ("upgrade-no", Request("a", method="OPTIONS", path="*")),
    ("upgrade-no", Request("", headers=())),
    ("upgrade-no", Request("a", "/#x")),
    ("upgrade-no", Request("a", "/é")),
]


@pytest.fixture(scope="module")
def judged() -> list[tuple[str, Request, Explanation, dict | None]]:
    """Every case with its explanation and what Envoy logged."""
    echo = free_port()
    with oracle.Oracle([*LISTENERS, echo_listener(echo)], upstreams(echo)) as envoy:
        ports, config = envoy.ports(), Config(envoy.dump)
        found = []
        for case, (name, request) in enumerate(CASES):
            asked = Request(**{n: getattr(request, n) for n in request.__dataclass_fields__} | {"listener": name})
            client = oracle.Client(ports[name])
            raw = oracle.http_request(request, case)
            client.send(raw if request.authority else raw.replace(b"Host: \r\n", b""), head=request.headers == UPGRADE)
            client.close()
            found.append((name, request, explain(config, asked)))
        for name in ("tcp", "tcp-gone", "tcp-empty"):
            address = ("127.0.0.1", ports[name])
            with contextlib.suppress(ConnectionError), socket.create_connection(address, timeout=10) as tunnel:
                tunnel.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                while tunnel.recv(4096):
                    pass
            found.append((name, Request("", tcp=True), explain(config, Request("", tcp=True, listener=name))))
        lines = envoy.close()
    by_case = {int(line["case"]): line for line in lines if line["case"]}
    by_port = {line["port"]: line for line in lines if not line["case"]}
    return [
        (name, request, explanation, by_case.get(index) or by_port.get(str(ports[name])) or by_port.get(ports[name]))
        for index, (name, request, explanation) in enumerate(found)
    ]


@pytest.mark.parametrize("case", range(len(CASES) + 3))
def test_the_end_of_a_request_is_what_envoy_logs(judged, case):
    name, request, found, line = judged[case]
    assert line is not None, f"{name} {request}: nothing logged"
    assert not found.undecided
    assert not difference(found.outcome, request, line), f"{name} {request}\n{found}\n{line}"


def test_one_random_number_decides_fractions_and_weights():
    """Envoy draws one number for a request, so a fraction of 20 % leaves weights of 50 and 50 only their first half."""
    weights = {"weighted_clusters": {"clusters": [{"name": f"gone-{i}", "weight": 50} for i in range(2)]}}
    fraction = {"default_value": {"numerator": 20, "denominator": "HUNDRED"}}
    routes = [
        {"name": "some", "match": {"prefix": "/", "runtime_fraction": fraction}, "route": weights},
        {"name": "rest", "match": {"prefix": "/"}, "route": weights},
    ]
    # An attempt to log the cluster of a request that finds none: the status tells the clusters apart.
    with oracle.Oracle([http("by-chance", [], routes)], [oracle.static_cluster("gone-0", [])]) as envoy:
        port, config = envoy.ports()["by-chance"], Config(envoy.dump)
        client = oracle.Client(port)
        for case in range(4000):
            client.send(oracle.http_request(Request("a"), case))
        client.close()
        found = explain(config, Request("a", listener="by-chance"))
        seen = Counter((line["route"], {"UH": "gone-0", "NC": "gone-1"}[line["flags"]]) for line in envoy.close())
    predicted = {(outcome.route, outcome.cluster): outcome.probability for outcome in found.outcomes}
    assert predicted == {("some", "gone-0"): 0.2, ("rest", "gone-0"): 0.3, ("rest", "gone-1"): 0.5}
    assert set(seen) == set(predicted)
    for key, probability in predicted.items():
        # Five standard deviations.
        assert abs(seen[key] / 4000 - probability) < 5 * (probability * (1 - probability) / 4000) ** 0.5
