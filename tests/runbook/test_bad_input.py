"""A snapshot with damaged documents: the rest is still read, and what could not be read is said, never passed."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path

import pytest

import meshnb
from meshnb.cli import main
from meshnb.errors import FormatError, NotFound, UsageError
from meshnb.model.finding import Status

GATEWAY = "istio-ingressgateway-7d9f8c6b5-lab01.istio-system"
HTML = b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"


@pytest.fixture
def snapshot(tmp_path):
    return Path(shutil.copytree(str(files("meshnb") / "demo" / "healthy"), tmp_path / "snap"))


def damage(snapshot, name, change, proxy="*"):
    paths = list(snapshot.glob(f"envoy/{proxy}/{name}"))
    assert paths
    for path in paths:
        path.write_bytes(change(path.read_bytes()))


DAMAGE = {
    "cut short": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "an error page": lambda data: HTML,
    "another kind": lambda data: b'{"cluster_statuses": []}',
    "not UTF-8": lambda data: b"\xff\xfe" + data,
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE.keys())
def test_one_damaged_dump_leaves_the_others_and_is_unknown(snapshot, change):
    damage(snapshot, "config_dump.json", change, proxy=GATEWAY)
    mesh = meshnb.open(snapshot)
    found = mesh.check("MNB0101")
    assert GATEWAY not in set(mesh.clusters().proxy)
    assert mesh.clusters().proxy.nunique() == 4
    assert found.verdict is Status.UNKNOWN
    assert GATEWAY in found.status("unknown")[0].summary


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE.keys())
def test_all_dumps_damaged_is_unknown_with_file_and_position(snapshot, change):
    damage(snapshot, "config_dump.json", change)
    found = meshnb.open(snapshot).check("MNB0101")
    assert [f.status for f in found] == [Status.UNKNOWN]
    assert "config_dump.json" in found[0].summary


def test_reading_one_cut_dump_names_file_and_position(snapshot):
    path = next(snapshot.glob("envoy/*/config_dump.json"))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(FormatError, match=r"config_dump\.json.*5000"):
        meshnb.read_config_dump(path).clusters()


def test_foreign_lines_of_a_log_are_counted_and_shown(snapshot):
    path = snapshot / "logs" / GATEWAY / "istio-proxy.log"
    lines = path.read_bytes().splitlines(keepends=True)
    foreign = b"2026-11-23T14:00:00.000000Z\tinfo\tReadiness succeeded in 600ms\n"
    path.write_bytes(lines[0] + foreign + b"".join(lines[1:]) + b'{"cut": ')
    mesh = meshnb.open(snapshot)
    skipped = mesh.skipped_lines()
    assert len(mesh.access_log(proxy=GATEWAY)) == len(lines)
    assert skipped.line.tolist() == [2, len(lines) + 2]
    assert skipped.excerpt.str.len().min() > 0


def test_a_log_of_nothing_but_foreign_lines_is_unknown(snapshot):
    for path in snapshot.glob("logs/*/istio-proxy.log"):
        path.write_text("not an access log\n")
    assert meshnb.open(snapshot).check("MNB0201").verdict is Status.UNKNOWN


def test_a_document_that_was_not_captured_is_named(snapshot):
    text = (snapshot / "manifest.json").read_text()
    broken = text.replace('"error": ""', '"error": "connection refused"', 1)
    assert broken != text
    (snapshot / "manifest.json").write_text(broken)
    mesh = meshnb.open(snapshot)
    assert "connection refused" in mesh.overview().facts["not captured"]


def test_wrong_names_suggest_the_right_ones():
    mesh = meshnb.open("demo")
    with pytest.raises(UsageError, match="did you mean 'clusters'"):
        mesh.table("cluster")
    with pytest.raises(NotFound, match="istio-ingressgateway"):
        mesh.clusters(proxy="istio-ingressgateway")


def test_a_window_without_requests_is_unknown_not_fine():
    mesh = meshnb.open("demo", window="2020-01-01T00:00/1h")
    assert len(mesh.access_log()) == 0
    assert mesh.check("MNB0201").verdict is Status.UNKNOWN


def test_a_mistyped_namespace_is_refused_and_never_a_pass():
    with pytest.raises(UsageError, match="has no namespace 'istioinacton'") as caught:
        meshnb.open("demo/missing-subset", namespace="istioinacton")
    assert caught.value.hint == "did you mean 'istioinaction'?"
    assert main(["check", "demo/missing-subset", "MNB0101", "-n", "istioinacton"]) == 64
    # where no namespaces were captured, nobody can tell
    assert meshnb.open("demo/control-plane", namespace="anything").namespace == "anything"


def test_what_a_user_meets_says_what_it_is_in_a_line():
    mesh = meshnb.open("demo", window="2026-11-23T09:00/2026-11-23T10:00")
    assert repr(mesh.window) == "<Window 2026-11-23T09:00:00Z/2026-11-23T10:00:00Z>"
    assert repr(mesh.snapshot.manifest).startswith("<Manifest of lab, 2026-") and len(repr(mesh.snapshot.manifest)) < 80
    with pytest.raises(AttributeError, match="no attribute 'rotes'; did you mean 'routes'"):
        mesh.rotes()
    assert not hasattr(mesh, "_repr_html_")
