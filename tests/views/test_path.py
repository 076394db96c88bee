"""The picture of a path: boxes, links and shares, in plotly and SVG alike."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import meshnb
from meshnb.views.path import drawing, path


def shown(demo: str, url: str = "http://catalog.istioinaction.io/items"):
    return meshnb.open(demo).explain(url, proxy="istio-ingressgateway").diagram


def test_a_split_ends_at_every_endpoint_with_its_share():
    found = shown("demo").drawing
    ends = {box.title: box.detail for box in found.boxes.values() if box.column == 6}
    assert len(ends) == 3
    assert sorted(ends.values()) == ["healthy · 100%", "healthy · 50%", "healthy · 50%"]
    into = [share for (_, end), share in found.links.items() if end[0] == 6]
    assert abs(sum(into) - 1) < 1e-9


def test_a_missing_cluster_ends_in_an_error():
    found = shown("demo/missing-subset").drawing
    (end,) = [box for box in found.boxes.values() if box.column == 6]
    assert (end.title, end.detail, end.tone) == ("503 NC", "cluster_not_found", "error")


def test_an_unknown_host_ends_after_the_virtual_host():
    found = shown("demo", "http://other.example/").drawing
    assert {box.column for box in found.boxes.values()} == {0, 1, 2, 3, 6}


def test_no_boxes_overlap_and_all_fit():
    found = shown("demo").drawing
    places = [(box.column, box.y) for box in found.boxes.values()]
    assert len(set(places)) == len(places)
    assert all(box.y + 46 <= found.height for box in found.boxes.values())


def test_the_bundle_has_a_picture_with_and_without_scripts():
    bundle = shown("demo")._repr_mimebundle_()
    assert bundle["text/plain"].startswith("GET http://catalog.istioinaction.io/items")
    figure = bundle["application/vnd.plotly.v1+json"]
    # No marks: a report colours those as failures.
    assert not figure["layout"].get("shapes") and not figure["layout"].get("annotations")
    texts = [word for trace in figure["data"] for word in trace.get("text", ()) if trace["mode"] == "text"]
    assert {"version-v1", "version-v2", "127.0.40.11:3000"} <= set(texts)
    svg = bundle["text/html"].split("<figure>")[1].split("</figure>")[0]
    ET.fromstring(svg)


def test_names_are_escaped():
    outcome = {"probability": None, "route_index": -1, "cluster": "<b>&", "response_code": 503, "response_flags": "NC",
               "response_code_details": "<i>", "endpoints": [], "kind": "cluster", "condition": "", "notes": [],
               "route": ""}  # fmt: skip
    explanation = {
        "request": {"method": "GET", "authority": "<script>", "path": "/"},
        "steps": [],
        "outcomes": [outcome],
    }
    view = path(explanation)
    assert "<script>" not in view.svg.replace("<svg", "")
    assert "<b>" not in view.svg
    assert drawing(explanation).links
    ET.fromstring(view.svg)
