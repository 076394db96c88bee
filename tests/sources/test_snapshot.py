"""Snapshots: written once, opened anywhere, hostile ones refused with a reason."""

from __future__ import annotations

import io
import json
import tarfile

import pytest

from meshnb.errors import FormatError, NotFound, UsageError
from meshnb.sources.snapshot import Snapshot, SnapshotWriter, pack

KEY = b"-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"


@pytest.fixture
def folder(tmp_path):
    with SnapshotWriter(tmp_path / "snap", source="test", cluster="test", command="pytest") as writer:
        writer.add("envoy/a.b/ready.txt", "ready", b"LIVE\n", proxy="a.b", obtained="GET /ready")
        writer.add("envoy/a.b/config_dump.json", "config_dump", b'{"k": "' + KEY + b'"}', proxy="a.b")
        writer.fail("envoy/c.d/ready.txt", "ready", "connection refused", proxy="c.d")
        writer.note("a note")
    return tmp_path / "snap"


def test_documents_failures_and_notes_come_back(folder):
    snapshot = Snapshot.open(folder)
    assert [d.path for d in snapshot.documents("ready")] == ["envoy/a.b/ready.txt"]
    assert [(d.proxy, d.error) for d in snapshot.failed()] == [("c.d", "connection refused")]
    assert snapshot.manifest.notes == ("a note",)
    assert snapshot.read(snapshot.documents("ready")[0]) == b"LIVE\n"


def test_secrets_never_reach_the_disk(folder):
    assert b"MIIEow" not in b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
    assert Snapshot.open(folder).manifest.redacted == {"private-key": 1}


def test_an_archive_gives_the_same_documents(folder, tmp_path):
    pack(folder, tmp_path / "snap.tar.gz")
    snapshot = Snapshot.open(tmp_path / "snap.tar.gz")
    assert snapshot.manifest == Snapshot.open(folder).manifest
    root = snapshot.root
    del snapshot
    assert not root.exists()


def test_a_snapshot_is_never_written_over(folder):
    with pytest.raises(UsageError, match="not empty"):
        SnapshotWriter(folder, source="again")


def test_a_capture_that_dies_leaves_no_manifest(tmp_path):
    with pytest.raises(RuntimeError), SnapshotWriter(tmp_path / "s", source="x") as writer:
        writer.add("envoy/a.b/ready.txt", "ready", b"LIVE")
        raise RuntimeError
    with pytest.raises(FormatError, match=r"no manifest\.json"):
        Snapshot.open(tmp_path / "s")


def test_missing_empty_and_newer_snapshots_say_what_to_do(tmp_path, folder):
    with pytest.raises(NotFound, match="meshnb capture"):
        Snapshot.open(tmp_path / "nowhere")
    with pytest.raises(NotFound, match="demo/healthy"):
        Snapshot.open("demo/nope")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="an empty folder"):
        Snapshot.open(tmp_path / "empty")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(FormatError, match="upgrade meshnb"):
        Snapshot.open(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": "x", "created": "2026-01-01"}'])
def test_broken_manifests_are_format_errors(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(FormatError, match=r"manifest\.json"):
        Snapshot.open(folder)


def test_a_snapshot_of_nothing_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text('{"format": 1, "created": "2026-11-23T00:00:00+00:00"}')
    with pytest.raises(FormatError, match="holds no document"):
        Snapshot.open(tmp_path)


def test_a_document_named_outside_or_gone_is_refused(folder):
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace("envoy/a.b/ready.txt", "../../etc/passwd"))
    snapshot = Snapshot.open(folder)
    with pytest.raises(FormatError, match="outside the snapshot"):
        snapshot.read(snapshot.documents("ready")[0])
    (folder / "manifest.json").write_text(text)
    (folder / "envoy/a.b/ready.txt").unlink()
    snapshot = Snapshot.open(folder)
    with pytest.raises(FormatError, match="it is not there"):
        snapshot.read(snapshot.documents("ready")[0])


def member(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (member("../evil"), "outside the folder"),
        (member("/etc/evil"), "outside the folder"),
        (member("s/link", tarfile.SYMTYPE, "/etc/passwd"), "a link or a device"),
        (member("s/link", tarfile.LNKTYPE, "manifest.json"), "a link or a device"),
        (member("s/dev", tarfile.CHRTYPE), "a link or a device"),
    ],
)
def test_hostile_archives_are_refused(tmp_path, info, reason):
    with tarfile.open(tmp_path / "s.tar.gz", "w:gz") as tar:
        tar.addfile(info, io.BytesIO(b""))
    with pytest.raises(FormatError, match=reason):
        Snapshot.open(tmp_path / "s.tar.gz")


def test_bombs_are_refused_before_they_unpack(tmp_path, monkeypatch, folder):
    pack(folder, tmp_path / "s.tar.gz")
    monkeypatch.setattr("meshnb.sources.snapshot._MAX_BYTES", 3)
    with pytest.raises(FormatError, match="archive refused"):
        Snapshot.open(tmp_path / "s.tar.gz")
    monkeypatch.setattr("meshnb.sources.snapshot._MAX_FILES", 1)
    with pytest.raises(FormatError, match="more than 1 files"):
        Snapshot.open(tmp_path / "s.tar.gz")


def test_an_archive_cut_short_says_so(folder, tmp_path):
    pack(folder, tmp_path / "s.tar.gz")
    data = (tmp_path / "s.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(FormatError, match="cut short"):
        Snapshot.open(tmp_path / "cut.tar.gz")
    (tmp_path / "text.tar.gz").write_text("hello")
    with pytest.raises(FormatError, match="not a readable tar archive"):
        Snapshot.open(tmp_path / "text.tar.gz")


def test_unknown_document_kinds_are_named(folder):
    with pytest.raises(UsageError, match="config_dump"):
        Snapshot.open(folder).documents("configdump")
