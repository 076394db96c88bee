"""Objects of the lab and of the replay API server are such as Kubernetes and Istio accept."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from jsonschema import ValidationError
from replay.recorded import recorded_cluster
from replay.schemas import check

import meshnb.lab
from meshnb.lab.inventory import healthy_objects, manifest
from meshnb.lab.plan import Plan
from meshnb.lab.world import World
from meshnb.model.resources import find
from meshnb.sources.kubernetes import Cluster
from meshnb.sources.snapshot import Snapshot

MANIFESTS = sorted(p.stem for p in (Path(meshnb.lab.__file__).parent / "manifests").glob("*.yaml"))


def test_the_lists_a_replayed_cluster_serves_fit_their_schemas():
    with recorded_cluster(Snapshot.open("demo")) as api:
        cluster = Cluster(api.configuration(), name="replay")
        served = {plural: list(cluster.pages(find(plural), limit=2)) for plural, items in api.lists.items() if items}
    assert {"pods", "services", "endpointslices", "deployments", "virtualservices", "gateways"} <= served.keys()
    for pages in served.values():
        for page in pages:
            check(json.loads(page))


def test_what_a_capture_of_the_lab_holds_fits_its_schemas():
    lists = World(healthy_objects(Plan())).lists()
    assert {"pods", "services", "endpointslices", "deployments", "namespaces"} <= lists.keys()
    for items in lists.values():
        for item in items:
            check(item)


@pytest.mark.parametrize("name", MANIFESTS)
def test_each_manifest_of_the_lab_fits_its_schema(name):
    objects = manifest(name)
    assert objects
    for item in objects:
        check(item)


def _changed(kind, change):
    found = next(o for o in healthy_objects(Plan()) if o["kind"] == kind)
    item = copy.deepcopy(found)
    change(item)
    return item


@pytest.mark.parametrize(
    "item",
    [
        _changed("Pod", lambda o: o["spec"].update(container=[])),
        _changed("Pod", lambda o: o["metadata"]["ownerReferences"][0].pop("uid")),
        _changed("Service", lambda o: o["spec"]["ports"][0].update(port="80")),
        _changed("VirtualService", lambda o: o["spec"].update(host="a")),
        _changed("VirtualService", lambda o: o["spec"]["http"][0]["route"][0].update(weight="20")),
        _changed("VirtualService", lambda o: o["spec"]["http"][0].update(timeout="1 s")),
        _changed("VirtualService", lambda o: o.update(apiVersion="security.istio.io/v1")),
        _changed("DestinationRule", lambda o: o["spec"].pop("host")),
        _changed("Gateway", lambda o: o["spec"]["servers"][0]["port"].pop("protocol")),
    ],
)
def test_what_does_not_fit_is_told(item):
    with pytest.raises(ValidationError):
        check(item)
