"""What the control plane makes of Istio's objects, shown by real Envoy, and a few shapes that Envoy does not show."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest

from meshnb.errors import LabError
from meshnb.lab import lab as labs
from meshnb.lab.inventory import healthy_objects
from meshnb.lab.plan import PODS, LabHome, Plan
from meshnb.lab.world import World, parse
from meshnb.lab.xds import translate
from meshnb.lab.xds.common import CLUSTER, ENDPOINT, LISTENER, ROUTE, Proxy, duration

PLAN = Plan()

MANY_ROUTES = """\
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: catalog-v1-v2, namespace: istioinaction}
spec:
  hosts: [catalog.istioinaction.io]
  gateways: [catalog-gateway]
  http:
  - name: header
    match: [{headers: {x-istio-cohort: {exact: internal}}}]
    headers: {response: {set: {x-route: header}}}
    route: [{destination: {host: catalog, subset: version-v2}}]
  - name: query
    match: [{uri: {exact: /items}, queryParams: {beta: {exact: "1"}}}]
    headers: {response: {set: {x-route: query}}}
    route: [{destination: {host: catalog.istioinaction, subset: version-v2}}]
  - name: method
    match: [{method: {exact: POST}}]
    headers: {response: {set: {x-route: method}}}
    route: [{destination: {host: catalog.istioinaction.svc.cluster.local, subset: version-v1}}]
  - name: rewritten
    match: [{uri: {prefix: /v1/catalog}}]
    rewrite: {uri: /items}
    headers: {response: {set: {x-route: rewritten}}}
    route: [{destination: {host: catalog, subset: version-v1}}]
  - name: regex
    match: [{uri: {regex: "/items/[0-9]+"}}]
    headers: {response: {set: {x-route: regex}}}
    route: [{destination: {host: catalog}}]
  - name: moved
    match: [{uri: {prefix: /old}}]
    redirect: {uri: /items, authority: shop.example.com, redirectCode: 308}
  - name: closed
    match: [{uri: {prefix: /closed}}]
    directResponse: {status: 410, body: {string: gone}}
  - name: rest
    headers: {response: {set: {x-route: rest}}}
    route: [{destination: {host: catalog, subset: version-v1}}]
"""


@pytest.fixture(scope="module")
def routed(running: LabHome) -> Iterator[LabHome]:
    labs.heal(running)
    labs.apply_objects(parse(MANY_ROUTES, file="routes.yaml"), running)
    yield running
    labs.heal(running)


def ask(home: LabHome, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(home.load_plan().gateway, 8080, timeout=10)
    try:
        connection.request(method, path, headers={"Host": "catalog.istioinaction.io", **headers})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


@pytest.mark.lab
@pytest.mark.parametrize(
    ("method", "path", "headers", "route", "pictures"),
    [
        ("GET", "/items", {"x-istio-cohort": "internal"}, "header", True),
        ("GET", "/items", {"x-istio-cohort": "external"}, "rest", False),
        ("GET", "/items?beta=1", {}, "query", True),
        ("GET", "/items?beta=2", {}, "rest", False),
        ("GET", "/v1/catalog", {}, "rewritten", False),
        ("GET", "/items/2", {}, "regex", None),
        ("GET", "/items", {}, "rest", False),
    ],
)
def test_the_first_match_decides(
    routed: LabHome, method: str, path: str, headers: dict, route: str, pictures: bool | None
):
    status, answered, body = ask(routed, method, path, **headers)
    assert (status, answered["x-route"]) == (200, route)
    if pictures is not None:
        assert (b"imageUrl" in body) is pictures


@pytest.mark.lab
def test_method_redirect_and_direct_response(routed: LabHome):
    status, headers, _ = ask(routed, "POST", "/items")
    assert (status, headers["x-route"]) == (201, "method")
    status, headers, _ = ask(routed, "GET", "/old/thing")
    assert (status, headers["location"]) == (308, "http://shop.example.com/items")
    status, _, body = ask(routed, "GET", "/closed")
    assert (status, body) == (410, b"gone")


def world(*changes: str) -> World:
    made = World(healthy_objects(PLAN))
    for text in changes:
        for item in parse(text, file="test.yaml"):
            made.put(item)
    return made


def resources(made: World, index: int = 0) -> dict[str, dict[str, dict]]:
    found = translate(Proxy(PODS[index], PLAN, made))
    return {kind: {r.get("name") or r["cluster_name"]: r for r in rs} for kind, rs in found.items()}


def test_names_are_istios():
    """Clusters by port, subset and host; metadata names the object they come from."""
    found = resources(world())
    host = "catalog.istioinaction.svc.cluster.local"
    v1 = found[CLUSTER][f"outbound|80|version-v1|{host}"]
    path = "/apis/networking.istio.io/v1alpha3/namespaces/istioinaction/destination-rule/catalog"
    assert v1["metadata"]["filter_metadata"]["istio"]["config"] == path
    assert list(found[LISTENER]) == ["0.0.0.0_8080"]
    (hosts,) = [r["virtual_hosts"] for r in found[ROUTE].values()]
    assert [h["name"] for h in hosts] == ["catalog.istioinaction.io:80", "webapp.istioinaction.io:80"]
    route = hosts[0]["routes"][0]
    path = "/apis/networking.istio.io/v1alpha3/namespaces/istioinaction/virtual-service/catalog-v1-v2"
    assert route["metadata"]["filter_metadata"]["istio"]["config"] == path
    assert route["route"]["timeout"] == "0s" and route["route"]["retry_policy"]["num_retries"] == 2
    sidecar = resources(world(), 1)
    assert {"inbound|3000||", "PassthroughCluster", "BlackHoleCluster"} < set(sidecar[CLUSTER])
    assert list(sidecar[ROUTE]) == ["80"]


def test_without_a_gateway_there_is_no_listener():
    made = world()
    for item in made.of("Gateway"):
        made.drop(("Gateway", item["metadata"]["namespace"], item["metadata"]["name"]))
    found = resources(made)
    assert found[LISTENER] == {}
    assert found[ROUTE]["http.8080"]["virtual_hosts"][0]["name"] == "blackhole:80"


def test_a_pod_that_is_not_ready_is_no_endpoint():
    made = world()
    pod = made.get("Pod", "istioinaction", PODS[3].name)
    assert pod is not None
    conditions = [{"type": "Ready", "status": "False"}]
    made.put({**pod, "status": {**pod["status"], "conditions": conditions}})
    name = "outbound|80|version-v2|catalog.istioinaction.svc.cluster.local"
    (locality,) = resources(made)[ENDPOINT][name]["endpoints"]
    assert [e["endpoint"]["address"]["socket_address"]["address"] for e in locality["lb_endpoints"]] == ["127.0.40.12"]
    (entry,) = [s for s in made.lists()["endpointslices"] if s["metadata"]["name"] == "catalog-lab"]
    assert [e["conditions"]["ready"] for e in entry["endpoints"]] == [True, True, False]


PEER = """\
apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{{selector}mtls: {{mode: {mode}}}}}
"""


@pytest.mark.parametrize(
    ("changes", "chains"),
    [
        ([PEER.format(name="default", namespace="istioinaction", selector="", mode="PERMISSIVE")], 2),
        ([PEER.format(name="default", namespace="istioinaction", selector="", mode="UNSET")], 2),
        (
            [
                PEER.format(name="default", namespace="istioinaction", selector="", mode="UNSET"),
                PEER.format(name="default", namespace="istio-system", selector="", mode="STRICT"),
            ],
            1,
        ),
        (
            [
                PEER.format(
                    name="one",
                    namespace="istioinaction",
                    selector="selector: {matchLabels: {app: catalog}},",
                    mode="PERMISSIVE",
                )
            ],
            2,
        ),
    ],
)
def test_the_nearest_peer_authentication_holds(changes: list[str], chains: int):
    assert len(resources(world(*changes), 1)[LISTENER]["virtualInbound"]["filter_chains"]) == chains


def test_durations():
    assert [duration(text) for text in ("0.5s", "1m30s", "250ms", "1h")] == ["0.5s", "90s", "0.25s", "3600s"]
    for text in ("", "5", "soon", "1 s", "-1s"):
        with pytest.raises(LabError, match="no duration"):
            duration(text)
