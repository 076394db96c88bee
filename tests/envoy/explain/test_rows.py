"""Every line of the recorded access logs, explained from the dump captured with it: cluster and flags (S10-25)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import meshnb
from meshnb.envoy.explain import Config, Request, explain, request_of_row
from meshnb.errors import UsageError

DEMO = Path(meshnb.__file__).parent / "demo"
SHARED = Path(__file__).parents[3] / "../shared/data/envoy-lab"

# What the upstream, the client or a limit does to a request; no configuration foretells it.
NOT_FORETOLD = {"-", "UT", "UF", "UC", "DC", "UO", "URX,UF", "UF,URX", "UPE", "UR", "LR"}


def lines_of(snapshot: str) -> list[tuple[Path, list[dict]]]:
    found = []
    for dump in sorted((DEMO / snapshot / "envoy").glob("*/config_dump.json")):
        log = DEMO / snapshot / "logs" / dump.parent.name / "istio-proxy.log"
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        found.append((dump, [line for line in lines if "response_code" in line]))
    return found


def disagreement(config: Config, row: dict) -> str:
    """How an explanation contradicts a log line; empty if it does not."""
    found = explain(config, request_of_row(row))
    if found.undecided:
        return f"undecided: {found.undecided}"
    for outcome in found.outcomes:
        if outcome.response_code is None:
            if outcome.cluster == row["upstream_cluster"] and row["response_flags"] in NOT_FORETOLD:
                return ""
        elif (outcome.response_code, outcome.response_flags) == (row["response_code"], row["response_flags"]):
            details = row["response_code_details"]
            return "" if details == outcome.response_code_details else f"details {details}"
    return f"{[str(outcome) for outcome in found.outcomes]} against {row}"


@pytest.mark.parametrize("snapshot", ["healthy", "missing-subset", "slow-replica"])
def test_every_line_of_a_demo_is_foretold_by_its_dump(snapshot):
    seen = 0
    for dump, rows in lines_of(snapshot):
        page = json.loads(dump.with_name("clusters.json").read_text())
        config = Config(json.loads(dump.read_text()), clusters=page)
        for row in rows:
            assert not disagreement(config, row), dump
            seen += 1
    assert seen > 50


def test_the_missing_subset_is_foretold_as_nc():
    dump, rows = next(entry for entry in lines_of("missing-subset") if "ingressgateway" in entry[0].parent.name)
    found = explain(Config(json.loads(dump.read_text())), request_of_row(rows[0]))
    assert {outcome.response_flags for outcome in found.outcomes} == {"NC"}
    assert {row["response_flags"] for row in rows} == {"NC"}


# Scenarios recorded while the dump of the gateway and of the sidecar looked as they were saved.
UNCHANGED = ["0-healthy", "2-slow", "2b-client-gone", "3a-500-no-outlier", "3a2-503-app", "3d-app-down", "4-NR",
             "5z-recovered", "9-healthy-again"]  # fmt: skip


@pytest.mark.skipif(not SHARED.exists(), reason="the recordings of the first lab are not here")
@pytest.mark.parametrize("scenario", UNCHANGED)
def test_lines_of_the_first_lab_are_foretold(scenario):
    gateway = Config(json.loads((SHARED / "admin/gateway-config_dump.json").read_text()))
    sidecar = Config(json.loads((SHARED / "admin/sidecar-v2b-config_dump.json").read_text()))
    pods = json.loads((SHARED / "logs/access-json-by-scenario.json").read_text())[scenario]
    seen = 0
    for pod, rows in pods.items():
        config = gateway if "ingressgateway" in pod else sidecar if pod.endswith("bbbb2") else None
        for row in rows if config else ():
            assert not disagreement(config, row), pod
            seen += 1
    assert seen


@pytest.mark.skipif(not SHARED.exists(), reason="the recordings of the first lab are not here")
def test_plaintext_to_a_strict_sidecar_is_foretold():
    sidecar = Config(json.loads((SHARED / "admin/sidecar-v2b-config_dump.json").read_text()))
    pods = json.loads((SHARED / "logs/access-json-by-scenario.json").read_text())["5a-gateway-plaintext-to-STRICT"]
    rows = pods["catalog-v2-6c8d9f7b6-bbbb2"]
    assert rows
    for row in rows:
        outcome = explain(sidecar, request_of_row(row)).outcome
        assert (outcome.response_code, outcome.response_flags) == (row["response_code"], row["response_flags"])
        assert outcome.response_code_details == row["response_code_details"] == "filter_chain_not_found"


def test_a_row_of_the_table_and_a_line_of_the_file_are_the_same_request():
    log = meshnb.read_access_log(DEMO / "healthy/logs/istio-ingressgateway-7d9f8c6b5-lab01.istio-system")
    _, rows = next(entry for entry in lines_of("healthy") if "ingressgateway" in entry[0].parent.name)
    first = request_of_row(log.iloc[0])
    line = request_of_row(rows[0])
    assert (first.authority, first.path, first.address, first.source) == (
        line.authority,
        line.path,
        line.address,
        line.source,
    )
    assert first.partial
    assert (first.authority, first.port) == ("catalog.istioinaction.io", 8080)


def test_what_a_line_does_not_show_is_undecided_unless_it_names_the_route():
    routes = [
        {"name": "beta", "match": {"prefix": "/", "headers": [{"name": "x-beta"}]}, "route": {"cluster": "b"}},
        {"name": "all", "match": {"prefix": "/"}, "route": {"cluster": "a"}},
    ]
    manager = {"@type": "HttpConnectionManager", "route_config": {"virtual_hosts": [
        {"name": "v", "domains": ["*"], "routes": routes}]}}  # fmt: skip
    listener = {"name": "l", "address": {"socket_address": {"address": "10.0.0.1", "port_value": 80}}}
    listener["filter_chains"] = [{"filters": [{"name": "http", "typed_config": manager}]}]
    config = Config({"configs": [{"@type": "ListenersConfigDump", "static_listeners": [{"listener": listener}]}]})
    row = {"method": "GET", "authority": "a", "path": "/", "downstream_local_address": "10.0.0.1:80"}
    found = explain(config, request_of_row(row))
    assert found.undecided
    assert [outcome.probability for outcome in found.outcomes] == [None, None]
    named = explain(config, request_of_row({**row, "route_name": "all"}))
    assert not named.undecided
    assert named.clusters == {"a": 1.0}


@pytest.mark.parametrize("demo", ["demo", "demo/missing-subset", "demo/slow-replica"])
def test_every_row_of_the_table_is_foretold(demo):
    mesh = meshnb.open(demo)
    log = mesh.access_log()
    rows = [*log.to_dict("records")[::7], *log.head(3).itertuples(index=False)]
    for row in [*map(_mapping, rows), *(log.iloc[n] for n in range(3))]:
        found = mesh.explain(row)
        assert not found.undecided
        ends = {(outcome.cluster, outcome.response_flags) for outcome in found.outcomes}
        flags = _mapping(row)["flag_set"]
        if isinstance(flags, str) and flags == "NC":
            assert {end[1] for end in ends} == {"NC"}
        else:
            assert _mapping(row)["upstream_cluster"] in found.clusters


def _mapping(row):
    return row if isinstance(row, dict) else row._asdict() if hasattr(row, "_asdict") else row.to_dict()


def test_what_is_no_row_is_refused():
    with pytest.raises(UsageError, match="cannot explain int"):
        request_of_row(3)
    assert request_of_row({}) == Request(tcp=True, partial=True)
