"""Objects of the lab and of the replay API server are such as Kubernetes and Istio accept."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path

import pytest
from jsonschema import ValidationError
from replay.istio_types import IstioTypes
from replay.recorded import recorded_cluster
from replay.schemas import _ISTIO, check

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


def istio_objects():
    """Every object of Istio the lab and the demos have, with where it is from."""
    for item in healthy_objects(Plan()):
        yield "healthy", item
    for name in MANIFESTS:
        for item in manifest(name):
            yield name, item
    for demo in ("healthy", "missing-subset", "slow-replica"):
        snapshot = Snapshot.open(f"demo/{demo}")
        for document in snapshot.documents("kubernetes"):
            for item in json.loads(snapshot.read(document))["items"]:
                yield f"demo/{demo}", item


@pytest.fixture(scope="module")
def istio_types(tmp_path_factory):
    if not IstioTypes.possible():
        assert "MESHNB_CI" not in os.environ, "CI installs Go"
        pytest.skip("no Go to build Istio's types with")
    return IstioTypes(tmp_path_factory.mktemp("istio"))


def test_objects_fit_istios_own_types(istio_types):
    objects = [(place, item) for place, item in istio_objects() if "istio.io/" in item["apiVersion"]]
    kinds = {item["kind"] for _, item in objects}
    assert {"VirtualService", "DestinationRule", "Gateway", "PeerAuthentication", "AuthorizationPolicy"} <= kinds
    problems = istio_types.problems(item for _, item in objects)
    assert len(problems) == len(objects)
    for (place, item), problem in zip(objects, problems, strict=True):
        assert not problem, f"{place} {item['kind']} {item['metadata']['name']}"


def test_fields_written_down_here_are_istios(istio_types):
    """What replay.schemas knows of a kind is a part of what Istio's type knows of it."""
    objects = [
        {"apiVersion": f"{group}/{version}", "kind": kind, "spec": example}
        for kind, (group, versions, spec) in _ISTIO.items()
        for version in versions
        for example in _examples(spec)
    ]
    assert len(objects) > 100
    for item, problem in zip(objects, istio_types.problems(objects), strict=True):
        assert "unknown field" not in problem, item
        assert "no kind" not in problem, item


def _examples(schema):
    """A value for each field in it, alone in its place: some fields exclude each other."""
    if "properties" in schema:
        for name, part in schema["properties"].items():
            yield from ({name: value} for value in _examples(part))
    elif "items" in schema:
        yield from ([value] for value in _examples(schema["items"]))
    else:
        yield None


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


@pytest.mark.parametrize(
    "item",
    [
        _changed("VirtualService", lambda o: o["spec"].update(host="a")),
        _changed("VirtualService", lambda o: o["spec"]["http"][0]["route"][0].update(weight="much")),
        _changed("VirtualService", lambda o: o["spec"]["http"][0].update(timeout="1 s")),
        _changed("Gateway", lambda o: o["spec"]["servers"][0].update(hosts="a")),
        _changed("Gateway", lambda o: o.update(kind="Gate")),
    ],
)
def test_what_does_not_fit_istios_types_is_told(istio_types, item):
    assert istio_types.problems([item])[0]
