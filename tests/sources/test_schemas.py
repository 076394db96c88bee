"""Objects of the lab and of the replay API server are such as Kubernetes and Istio accept."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path

import pytest
from jsonschema import ValidationError
from replay import crds
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


@pytest.fixture
def istio_definitions():
    if crds.definitions_file() is None:
        assert "MESHNB_CI" not in os.environ, "CI downloads Istio's definitions"
        pytest.skip(f"Istio's definitions are not here: go mod download istio.io/api@{crds.RELEASE}")


def test_objects_fit_istios_own_definitions(istio_definitions):
    seen = set()
    for place, item in istio_objects():
        if "istio.io/" in item["apiVersion"]:
            seen.add(item["kind"])
            try:
                crds.check(item)
            except ValidationError as error:
                pytest.fail(f"{place} {item['kind']} {item['metadata']['name']}: {error.json_path}: {error.message}")
    assert {"VirtualService", "DestinationRule", "Gateway", "PeerAuthentication", "AuthorizationPolicy"} <= seen


def test_fields_written_down_here_are_istios(istio_definitions):
    """What replay.schemas knows of a kind is a part of what Istio's definition knows of it."""
    for kind, (group, versions, spec) in _ISTIO.items():
        for version in versions:
            real = crds.definitions(crds.definitions_file())[(f"{group}/{version}", kind)]
            _assert_part(spec, real["properties"]["spec"], f"{version} {kind}")


def _assert_part(mine, real, where):
    for name, part in mine.get("properties", {}).items():
        # the value of a patch is Envoy's, which Istio leaves open
        if real.get("properties") is None:
            return
        assert name in real["properties"], f"{where}.{name}"
        _assert_part(part, real["properties"][name], f"{where}.{name}")
    if "items" in mine:
        _assert_part(mine["items"], real["items"], f"{where}[]")
    assert set(mine.get("enum", ())) <= set(real.get("enum", mine.get("enum", ()))), where
    assert mine.get("type", real.get("type")) == real.get("type", mine.get("type")), where


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
        _changed("VirtualService", lambda o: o["spec"]["http"][0]["route"][0].update(weight="20")),
        _changed("VirtualService", lambda o: o["spec"]["http"][0]["route"][0]["destination"].pop("host")),
        _changed("DestinationRule", lambda o: o["spec"].pop("host")),
        _changed("Gateway", lambda o: o["spec"]["servers"][0]["port"].pop("protocol")),
    ],
)
def test_what_does_not_fit_istios_definition_is_told(istio_definitions, item):
    with pytest.raises(ValidationError):
        crds.check(item)
