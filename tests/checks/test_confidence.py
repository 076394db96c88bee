"""S10-09: sync first; a stale proxy caps the confidence of what is drawn from it."""

from __future__ import annotations

import json
import shutil

from meshnb.checks.confidence import CAP, cap_confidence
from meshnb.model.finding import Evidence, Finding, Severity, Status, Subject
from meshnb.runbook.mesh import Mesh
from meshnb.sources.snapshot import Snapshot


def finding(code="MNB0101", *, subject=None, proxies=(), status=Status.FAIL):
    rows = tuple({"proxy": proxy} for proxy in proxies)
    return Finding(code, status, Severity.ERROR, subject or Subject("Route", "r"), "s", evidence=(Evidence("e", rows),))


def test_s10_09_only_what_rests_on_stale_proxies_alone_is_capped():
    """S10-09."""
    found = [
        finding(proxies=["a.n"]),
        finding(proxies=["a.n", "b.n"]),
        finding(subject=Subject("Proxy", "a", "n")),
        finding("MNB0310", subject=Subject("Proxy", "a", "n")),
        finding(proxies=["a.n"], status=Status.PASS),
        finding(),
    ]
    assert [f.confidence for f in cap_confidence(found, {"a.n"})] == [CAP, 1.0, CAP, 1.0, 1.0, 1.0]
    assert "not up to date (a.n)" in cap_confidence(found, {"a.n"})[0].evidence[-1].statement


def test_s10_09_a_mesh_with_a_stale_gateway_is_less_sure_of_its_findings(tmp_path):
    """S10-09: the missing subset, with the gateway's routes not acknowledged."""
    folder = tmp_path / "stale"
    shutil.copytree(Snapshot.open("demo/missing-subset").root, folder)
    (path,) = folder.glob("istiod/*/debug/syncz.json")
    rows = json.loads(path.read_text())
    for row in rows:
        for resource in row["resources"].values():
            resource["acked"] = "older"
    path.write_text(json.dumps(rows))
    sure = Mesh(Snapshot.open("demo/missing-subset")).check("MNB0101").status("fail")
    unsure = Mesh(Snapshot.open(folder)).check("MNB0101").status("fail")
    assert {f.confidence for f in unsure} == {CAP}
    assert {f.subject for f in unsure} == {f.subject for f in sure} and min(f.confidence for f in sure) > CAP
