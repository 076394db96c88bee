"""Which endpoints a cluster uses: priorities, health, panic, subsets, against a real Envoy."""

from __future__ import annotations

import random
from typing import Any

import explain_oracle as oracle
from explain_differential import Result, free_port

from meshnb.envoy.explain import Config, Request, explain

STATES = ["HEALTHY", "HEALTHY", "UNKNOWN", "UNHEALTHY", "UNHEALTHY", "DEGRADED", "DRAINING", "TIMEOUT"]


class ClusterGenerator:
    """Makes clusters with a few hosts of every health, and routes to them by name."""

    def __init__(self, seed: int, echo: int) -> None:
        self.random = random.Random(seed)
        self.echo = echo

    def cluster(self, name: str, index: int) -> dict[str, Any]:
        pick = self.random
        endpoints, host = [], 0
        for priority in range(pick.choice([1, 1, 1, 2, 3])):
            hosts = []
            for _ in range(pick.randint(0 if priority == 0 else 1, 5)):
                host += 1
                labels = {"version": pick.choice(["v1", "v2"]), "zone": pick.choice(["a", "b"])}
                hosts.append(
                    oracle.lb_endpoint(
                        self.echo,
                        f"127.{index // 200 + 1}.{index % 200 + 1}.{host}",
                        health_status=pick.choice(STATES),
                        metadata={"filter_metadata": {"envoy.lb": labels}},
                    )
                )
            endpoints.append({"priority": priority, "locality": {"zone": f"z{priority}"}, "lb_endpoints": hosts})
        found = oracle.static_cluster(
            name, endpoints, lb_policy=pick.choice(["ROUND_ROBIN", "RANDOM", "LEAST_REQUEST"])
        )
        threshold = pick.choice([None, 0, 0, 30, 50, 70, 100])
        if threshold is not None:
            found["common_lb_config"] = {"healthy_panic_threshold": {"value": threshold}}
        if pick.random() < 0.2:
            found["load_assignment"]["policy"] = {"overprovisioning_factor": pick.choice([100, 140, 200])}
        if pick.random() < 0.4:
            found["lb_subset_config"] = self.subsets()
        return found

    def subsets(self) -> dict[str, Any]:
        pick = self.random.choice
        selectors = [{"keys": keys} for keys in self.random.sample([["version"], ["zone"], ["version", "zone"]], k=2)]
        if self.random.random() < 0.3:
            selectors[0]["fallback_policy"] = pick(["NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET"])
        return {
            "fallback_policy": pick(["NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET"]),
            "default_subset": pick([{"version": "v1"}, {"version": "v3"}]),
            "subset_selectors": selectors,
        }

    def metadata(self) -> dict[str, Any]:
        pick = self.random.choice
        found = pick([{}, {"version": "v1"}, {"version": "v2"}, {"version": "v9"}, {"version": "v1", "zone": "b"}])
        return {"metadata_match": {"filter_metadata": {"envoy.lb": found}}} if found else {}


def compare_clusters(seed: int, *, clusters: int, requests: int = 150) -> Result:
    """Every endpoint used must be eligible, and every eligible one with a fair share must be used."""
    echo = free_port()
    generator = ClusterGenerator(seed, echo)
    configs = [generator.cluster(f"cluster-{index}", index) for index in range(clusters)]
    routes = [
        {
            "name": c["name"],
            "match": {"prefix": f"/{c['name']}/"},
            "route": {"cluster": c["name"], **generator.metadata()},
        }
        for c in configs
    ]
    table = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]}
    answer = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "direct_response": {"status": 200}}]}]}  # fmt: skip
    upstream = oracle.listener("echo", [oracle.manager(answer, "/dev/null")], port=echo)
    upstream["address"]["socket_address"]["address"] = "0.0.0.0"
    front = oracle.listener("front", [oracle.manager(table, "@LOG@")])
    result = Result(configurations=clusters)
    used: dict[str, set[str]] = {}
    ends: dict[str, set[tuple]] = {}
    with oracle.Oracle([front, upstream], configs) as envoy:
        port, indexed = envoy.ports()["front"], Config(envoy.dump)
        client = oracle.Client(port)
        for number in range(requests * clusters):
            request = Request("a", f"/cluster-{number % clusters}/")
            client.send(oracle.http_request(request, number % clusters))
        client.close()
        found = {
            index: explain(indexed, Request("a", f"/cluster-{index}/", listener="front")) for index in range(clusters)
        }
        for line in envoy.close():
            used.setdefault(line["case"], set()).add(line["host"])
            ends.setdefault(line["case"], set()).add((line["code"], line["flags"] or "-", line["details"]))
    for index, explanation in found.items():
        _judge(result, configs[index], explanation, used[str(index)] - {None}, ends[str(index)], routes[index])
    return result


def _judge(result: Result, config: dict, found: Any, used: set[str], ends: set[tuple], route: dict) -> None:
    result.requests += 1
    if found.undecided:
        result.undecided += 1
        return
    outcome = found.outcome
    result.kinds["UH" if outcome.response_code else "hosts"] += 1
    eligible = {endpoint.address for endpoint in outcome.endpoints if endpoint.eligible}
    expected = (503, "UH", "no_healthy_upstream") if outcome.response_code else (200, "-", "via_upstream")
    # By chance a host with a small share may get none of a few requests.
    sure = {endpoint.address for endpoint in outcome.endpoints if endpoint.share > 0.1}
    if not sure <= used <= eligible or ends != {expected}:
        result.mismatches.append(
            {
                "cluster": config,
                "route": route["route"],
                "differ": {"eligible": sorted(eligible), "used": sorted(used), "ends": sorted(map(str, ends))},
                "because": found.step("endpoint").because,
            }
        )
