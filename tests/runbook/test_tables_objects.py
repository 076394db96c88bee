"""Tables of objects of a whole snapshot."""

from __future__ import annotations

import json

import pytest

from meshnb.errors import UsageError
from meshnb.runbook.tables_objects import ObjectTables
from meshnb.sources.snapshot import SnapshotWriter


@pytest.fixture
def mesh(tmp_path):
    writer = SnapshotWriter(tmp_path / "snapshot", source="test", cluster="test")
    lists = {
        "pods": [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "n"}}],
        "virtualservices": [
            {
                "apiVersion": "networking.istio.io/v1",
                "kind": "VirtualService",
                "metadata": {"name": "b", "namespace": "n"},
            }
        ],
    }
    for plural, items in lists.items():
        document = {"apiVersion": "v1", "kind": "List", "items": items}
        writer.add(f"kubernetes/{plural}.json", "kubernetes", json.dumps(document).encode())
    writer.add("kubernetes/services.json", "kubernetes", b'{"kind": "List", "items": [7]}')
    writer.fail("kubernetes/endpointslices.json", "kubernetes", "403 Forbidden")
    return ObjectTables(writer.close())


@pytest.mark.parametrize("kind", ["VirtualService", "virtualservices", "vs", "virtualService"])
def test_objects_are_found_by_kind_plural_or_short_name(mesh, kind):
    assert mesh.objects(kind).name.tolist() == ["b"]


def test_objects_of_every_kind_come_together(mesh):
    assert sorted(mesh.objects().kind) == ["Pod", "VirtualService"]


def test_a_mistyped_kind_is_an_error_that_names_the_nearest(mesh):
    with pytest.raises(UsageError) as caught:
        mesh.objects("VirtualServce")
    assert "did you mean VirtualService?" in caught.value.hint
    assert "this snapshot holds: pods, services, virtualservices" in caught.value.hint


def test_a_known_kind_without_objects_is_empty(mesh):
    assert mesh.objects("Sidecar").empty


def test_what_was_not_captured_or_not_readable_is_said(mesh):
    assert mesh.pods().proxy.tolist() == ["a.n"]
    assert "403 Forbidden" in mesh.absent("endpoint_slices")
    assert mesh.services().empty
    assert "items[0]" in mesh.absent("services")
