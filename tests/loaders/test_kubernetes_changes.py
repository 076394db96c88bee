"""Changes from objects, watches and Events of Kubernetes, in the shapes of its API reference."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay.apiserver import ReplayApiServer

import meshnb
from meshnb.errors import FormatError
from meshnb.loaders.kubernetes_changes import read_changes
from meshnb.tuning import Event, events_of_changes, simulate

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {
        "name": "catalog",
        "namespace": "istioinaction",
        "creationTimestamp": "2026-11-23T09:00:00Z",
        "managedFields": [
            {"manager": "kubectl", "operation": "Update", "time": "2026-11-23T09:00:00Z"},
            {"manager": "helm", "operation": "Apply", "time": "2026-11-23T09:00:07Z"},
            {"manager": "k3s", "operation": "Update", "time": "2026-11-23T09:00:09Z", "subresource": "status"},
        ],
    },
}


def thing(kind: str, version: str = "v1", **meta: object) -> dict:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "catalog", "namespace": "istioinaction", **meta}}


def watched(*events: tuple[str, dict]) -> str:
    return "".join(json.dumps({"type": kind, "object": item}, indent=4) + "\n" for kind, item in events)


def told(text: str) -> list[tuple]:
    frame = read_changes(text)
    rows = frame[["kind", "change", "push"]].fillna("").to_dict("records")
    return [tuple(row.values()) for row in rows]


def test_an_object_tells_when_it_was_made_and_changed():
    """Changes of the status alone are none for istiod."""
    frame = read_changes(json.dumps({"kind": "List", "apiVersion": "v1", "items": [SERVICE]}))
    assert frame["change"].tolist() == ["created", "changed"]
    assert frame["push"].tolist() == ["full", "full"]
    assert [at.second for at in frame["time"]] == [0, 7]
    assert events_of_changes(frame) == [Event(0.0), Event(7.0)]


@pytest.mark.parametrize(
    ("kind", "version", "push"),
    [
        ("EndpointSlice", "discovery.k8s.io/v1", "endpoints"),
        ("Endpoints", "v1", "endpoints"),
        ("Service", "v1", "full"),
        ("VirtualService", "networking.istio.io/v1", "full"),
        ("AuthorizationPolicy", "security.istio.io/v1", "full"),
        ("HTTPRoute", "gateway.networking.k8s.io/v1", "full"),
        ("Pod", "v1", ""),
        ("Deployment", "apps/v1", ""),
        ("NetworkPolicy", "networking.k8s.io/v1", ""),
    ],
)
def test_what_istiod_pushes_for_it(kind: str, version: str, push: str):
    """Pods are told by their EndpointSlices; a Deployment is nothing to istiod."""
    assert told(watched(("ADDED", thing(kind, version)))) == [(kind, "created", push)]


def test_a_watch_tells_every_change():
    triggered = thing(
        "EndpointSlice",
        "discovery.k8s.io/v1",
        annotations={"endpoints.kubernetes.io/last-change-trigger-time": "2026-11-23T09:00:03Z"},
    )
    text = watched(
        ("ADDED", SERVICE),
        ("BOOKMARK", {"kind": "Service", "metadata": {"resourceVersion": "7"}}),
        ("MODIFIED", triggered),
        ("MODIFIED", SERVICE),
        ("DELETED", thing("Service", deletionTimestamp="2026-11-23T09:00:20Z")),
    )
    frame = read_changes(text)
    # the last manager of the service changed its status
    assert frame["change"].tolist() == ["created", "changed", "status", "deleted"]
    assert frame["push"].fillna("").tolist() == ["full", "endpoints", "", "full"]
    assert [at.second for at in frame["time"]] == [0, 3, 9, 20]
    assert [event.full for event in events_of_changes(frame)] == [True, False, True]


def test_the_time_a_line_came_counts():
    """To the microsecond, where an object's own times are whole seconds."""
    lines = [json.dumps({"type": "MODIFIED", "object": SERVICE | {"metadata": {"name": "a"}}}) for _ in range(3)]
    text = "".join(f"2026-11-23T09:00:00.{n}00000Z {line}\n" for n, line in enumerate(lines))
    assert events_of_changes(read_changes(text)) == [Event(0.0), Event(pytest.approx(0.1)), Event(pytest.approx(0.2))]


def test_repeated_events_are_spread():
    """Core Events count repetitions from first to last; events.k8s.io has a series. Other Events push nothing."""
    core = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "catalog-1.17", "namespace": "istioinaction"},
        "involvedObject": {"kind": "Pod", "namespace": "istioinaction", "name": "catalog-1", "apiVersion": "v1"},
        "reason": "Started",
        "firstTimestamp": "2026-11-23T09:00:00Z",
        "lastTimestamp": "2026-11-23T09:00:10Z",
        "count": 3,
    }
    new = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "catalog-1.18", "namespace": "istioinaction"},
        "regarding": {"kind": "Pod", "name": "catalog-2", "namespace": "istioinaction"},
        "reason": "Killing",
        "eventTime": "2026-11-23T09:00:20.500000Z",
        "series": None,
    }
    pulled = core | {"reason": "Pulled"}
    frame = read_changes(json.dumps({"kind": "EventList", "apiVersion": "v1", "items": [core, new, pulled]}))
    assert frame[["name", "change", "push"]].fillna("").values.tolist() == [
        ["catalog-1", "Started", "endpoints"],
        ["catalog-1", "Pulled", ""],
        ["catalog-2", "Killing", "endpoints"],
    ]
    events = events_of_changes(frame)
    assert [event.at_s for event in events] == [0.0, 5.0, 10.0, 20.5]
    assert not any(event.full for event in events)
    assert len(simulate(events, proxies=4).batches) == 4


def test_without_a_time_it_is_kept_and_no_event():
    frame = read_changes(watched(("DELETED", thing("Service")), ("ADDED", SERVICE)))
    assert frame["change"].tolist() == ["created", "deleted"]
    assert frame["time"].isna().tolist() == [False, True]
    assert len(events_of_changes(frame)) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"type": "ADDED", "object": {"kind": "Service"', "not JSON"),
        ('{"type": "ADDED", "object": [1]}', "an event of a watch expected"),
        ('{"type": "GONE", "object": {}}', "an event of a watch expected"),
        ('{"type": "ADDED", "object": {"kind": "Service"}}', "without metadata.name"),
        ('{"type": "ADDED", "object": {"kind": "A", "metadata": {"name": "a", "managedFields": 7}}}', ""),
        ("", "empty"),
        ("[1]", "a Kubernetes object expected"),
    ],
)
def test_what_is_none_of_these(text: str, words: str):
    if words:
        with pytest.raises(FormatError, match=words):
            read_changes(text, file="watch.json")
    else:
        assert len(read_changes(text)) == 1


@given(st.text() | st.builds(lambda kind, body: json.dumps({"type": kind, "object": body}), st.text(), st.none()))
def test_whatever_is_given_is_read_or_refused(text: str):
    with contextlib.suppress(FormatError):
        read_changes(text)


def test_kubectl_prints_what_is_read(tmp_path: Path):
    """Real kubectl, watching: its own JSON, with the events around the objects."""
    with ReplayApiServer({"services": [SERVICE]}) as api:
        command = ["kubectl", "get", "services", "-n", "istioinaction", "--watch", "--output-watch-events"]
        command += ["-o", "json", "--show-managed-fields", f"--kubeconfig={api.kubeconfig(tmp_path / 'config')}"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "HOME": str(tmp_path)}
        ) as process:
            assert process.stdout is not None
            found = process.stdout.readline()
            while found.count("{") != found.count("}"):
                found += process.stdout.readline()
            process.kill()
    frame = read_changes(found)
    assert frame[["kind", "name", "change", "push"]].values.tolist() == [["Service", "catalog", "created", "full"]]


def test_a_mesh_tells_its_changes():
    mesh = meshnb.open("demo")
    frame = mesh.changes()
    assert {"VirtualService", "EndpointSlice"} <= set(frame["kind"])
    assert frame["time"].is_monotonic_increasing
    assert mesh.changes(window="1s").empty
    assert events_of_changes(frame)
