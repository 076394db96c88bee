"""Compare explanations with a real Envoy: many configurations in one process, many requests each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import explain_oracle as oracle
from explain_generator import Generator

from meshnb.envoy.explain import Config, Explanation, Outcome, Request, explain, unreachable_routes

GONE = ["gone-a", "gone-b"]


@dataclass
class Result:
    """What a comparison found."""

    requests: int = 0
    configurations: int = 0
    undecided: int = 0
    unreachable: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    mismatches: list[dict[str, Any]] = field(default_factory=list)

    def __add__(self, other: Result) -> Result:
        return Result(
            self.requests + other.requests,
            self.configurations + other.configurations,
            self.undecided + other.undecided,
            self.unreachable + other.unreachable,
            self.kinds + other.kinds,
            self.mismatches + other.mismatches,
        )


def upstreams(echo_port: int) -> list[dict]:
    """Clusters: three that answer, one without hosts, one whose only host is unhealthy."""
    endpoints = [{"lb_endpoints": [oracle.lb_endpoint(echo_port)]}]
    sick = [{"lb_endpoints": [oracle.lb_endpoint(echo_port, health_status="UNHEALTHY")]}]
    no_panic = {"common_lb_config": {"healthy_panic_threshold": {"value": 0}}}
    return [
        *(oracle.static_cluster(f"up-{i}", endpoints) for i in range(3)),
        oracle.static_cluster("empty", []),
        oracle.static_cluster("sick", sick, **no_panic),
        oracle.static_cluster("panic", sick),
    ]


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def echo_listener(port: int) -> dict:
    """Answers every request 200, as an upstream."""
    host = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]}
    upgrades = [{"upgrade_type": "CONNECT"}, {"upgrade_type": "websocket"}]
    connect = {"match": {"connect_matcher": {}}, "direct_response": {"status": 200}}
    host["routes"].insert(0, connect)
    entry = oracle.manager({"virtual_hosts": [host]}, "/dev/null", upgrade_configs=upgrades)
    return oracle.listener("echo", [entry], port=port)


def compare_routes(seed: int, *, configurations: int, requests: int) -> Result:
    """Random route configurations, each behind its own listener of one Envoy."""
    generator = Generator(seed, clusters=["up-0", "up-1", "up-2", "empty", "sick", "panic", *GONE])
    configs = [{**generator.route_config(), "name": f"routes-{i}"} for i in range(configurations)]
    echo = free_port()
    listeners = [
        oracle.listener(f"listener-{i}", [oracle.manager(config, "@LOG@", **generator.manager_options())])
        for i, config in enumerate(configs)
    ]
    layers = [{"name": "static", "static_layer": {"on": 100, "off": 0, "re2.max_program_size.error_level": 9999}}]
    result = Result(configurations=configurations)
    with oracle.Oracle([*listeners, echo_listener(echo)], upstreams(echo), layers=layers) as envoy:
        ports = envoy.ports()
        indexed = Config(envoy.dump)
        sent: dict[int, tuple[Request, Explanation, int]] = {}
        for index, config in enumerate(configs):
            port = ports[f"listener-{index}"]
            client = oracle.Client(port)
            for number in range(requests):
                request = generator.request(config, port)
                case = index * requests + number
                asked = Request(**{**_fields(request), "listener": f"listener-{index}"})
                # The dump shows port 0, the one configured: the connection's port is told.
                found = explain_at(indexed, asked, port)
                if request.method == "CONNECT":
                    client.close()
                raw = oracle.http_request(request, case)
                if request.method == "CONNECT":
                    raw = raw.replace(b"CONNECT / ", f"CONNECT {request.authority} ".encode(), 1)
                status = client.send(raw, head=request.method in ("HEAD", "CONNECT"))
                if request.method == "CONNECT":
                    client.close()
                sent[case] = (request, found, status)
            client.close()
        logged = {int(line["case"]): line for line in envoy.close() if line.get("case")}
    hidden = unreachable(indexed)
    result.unreachable = len(hidden)
    for case, (request, found, status) in sent.items():
        taken = (logged.get(case) or {}).get("route")
        if (case // requests, taken) in hidden:
            result.mismatches.append({"case": case, "took a route reported unreachable": taken})
        before = len(result.mismatches)
        _judge(result, case, request, found, status, logged.get(case))
        for mismatch in result.mismatches[before:]:
            mismatch["configuration"] = configs[case // requests]
    return result


def unreachable(config: Config) -> set[tuple[int, str]]:
    """Routes said to be unreachable, by number of the configuration and name of the route."""
    found = unreachable_routes(config)
    rows = zip(found.route_config, found.route, strict=True)
    return {(int(table.partition("-")[2]), route.split('"')[1]) for table, route in rows if table.startswith("routes-")}


def explain_at(config: Config, request: Request, port: int) -> Explanation:
    """Explain with the listener named and the port the operating system gave it."""
    for item in config.listeners:
        if item.name == request.listener:
            item.addresses = [("127.0.0.1", port)]
    return explain(config, request)


def _fields(request: Request) -> dict[str, Any]:
    return {name: getattr(request, name) for name in request.__dataclass_fields__}


def _judge(
    result: Result, case: int, request: Request, found: Explanation, status: int, line: dict[str, Any] | None
) -> None:
    result.requests += 1
    if found.undecided or any(outcome.probability is None for outcome in found.outcomes):
        result.undecided += 1
        return
    outcome = found.outcome
    result.kinds[outcome.kind if outcome.response_code_details != "cluster_not_found" else "cluster_not_found"] += 1
    if len(found.outcomes) > 1:
        result.kinds["by chance"] += 1
    if line is None:
        result.mismatches.append({"case": case, "request": str(request), "status": status, "expected": str(outcome)})
        return
    # By chance, any of the outcomes may have happened.
    differences = [difference(one, request, line) for one in found.outcomes if one.probability]
    if all(differences):
        result.mismatches.append(
            {
                "case": case,
                "request": f"{request} {request.headers}",
                "differ": differences[0],
                "route": [s.chosen for s in found.steps if s.stage in ("virtual host", "route")],
            }
        )


def difference(outcome: Outcome, request: Request, line: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Fields of a log line that differ from what an outcome predicts: predicted and logged."""
    expected: dict[str, Any] = {
        "code": 200 if outcome.response_code is None else outcome.response_code,
        "flags": outcome.response_flags,
        "details": outcome.response_code_details or "via_upstream",
        "route": outcome.route,
        "location": outcome.location,
    }
    if outcome.kind == "cluster" and outcome.response_flags != "NC":
        expected["cluster"] = outcome.cluster
    if outcome.response_code is None:
        expected |= {"path": outcome.path, "authority": outcome.authority}
        expected["timeout"] = str(round((outcome.timeout or 0) * 1000) or "")
        # What the upstream makes of a rewritten path is not Envoy's decision.
        del expected["code"]
        if request.method == "CONNECT" or dict(request.headers).get("upgrade"):
            # The upstream refuses the tunnel or the client closes it at once, which Envoy logs in several ways.
            del expected["flags"], expected["details"]
    if outcome.response_code_details == "path_normalization_failed":
        # Refused before routing; Envoy may log a route that it looks up for the answer.
        del expected["route"]
    if request.tcp:
        # There is no HTTP: neither status nor details.
        expected = {name: expected[name] for name in ("flags", "cluster") if name in expected}
    actual = {name: line[name] or "" for name in expected}
    actual["flags"] = line["flags"] or "-"
    actual = {name: actual[name] for name in expected}
    return {name: (expected[name], actual[name]) for name in expected if expected[name] != actual[name]}
