"""Sidecars and discovery selectors as a notebook and the command line ask for them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest

import meshnb
from meshnb.cli import main
from meshnb.errors import FormatError, NotFound, UsageError
from meshnb.sources.snapshot import SnapshotWriter

CATALOG = "catalog.istioinaction.svc.cluster.local"
YAML = """\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: istioinaction}
spec:
  egress:
  - hosts: ["istio-system/*"]
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
"""


def sidecar(name: str, *hosts: str, namespace: str = "istioinaction", **spec: object) -> dict:
    meta = {"name": name, "namespace": namespace, "creationTimestamp": "2026-01-01T00:00:00Z"}
    egress = {"egress": [{"hosts": list(hosts)}]} if hosts else {}
    return {"apiVersion": "networking.istio.io/v1", "kind": "Sidecar", "metadata": meta, "spec": egress | spec}


@pytest.fixture(scope="module")
def demo() -> meshnb.Mesh:
    return meshnb.open("demo")


def copied(folder: Path, documents: dict[str, object]) -> meshnb.Mesh:
    """The demo with further documents, as a capture with Sidecars would have them."""
    snapshot = meshnb.open("demo").snapshot
    with SnapshotWriter(folder, source="test") as new:
        for document in snapshot.documents():
            new.add(document.path, document.kind, snapshot.read(document), proxy=document.proxy)
        for path, value in documents.items():
            kind = "kubernetes" if path.startswith("kubernetes/") else "istiod_debug"
            new.add(path, kind, json.dumps(value).encode())
    return meshnb.open(folder)


def as_list(*items: dict) -> dict:
    return {"kind": "SidecarList", "apiVersion": "networking.istio.io/v1", "items": list(items)}


def test_s11_52_53_a_sidecar_tried_on_the_demo(demo):
    """S11-52, S11-53: text, file and object give the same; gateways are left out; nothing is said to be safe."""
    found = demo.sidecar_what_if(YAML)
    assert set(found.proxies.clusters_before) == {12} and set(found.proxies.clusters_after) == {8}
    assert (found.proxies.bytes_after < found.proxies.bytes_before).all()
    assert not found.proxies.proxy.str.startswith("istio-ingressgateway").any()
    sizes = demo.sizes().groupby("proxy").bytes.sum()
    assert (found.proxies.set_index("proxy").bytes_before == sizes[found.proxies.proxy]).all()
    assert "no call of theirs was seen, the calls of 1 proxy are unknown" in found.verdict
    text = found._repr_mimebundle_()["text/plain"]
    assert "12 → 8" in text and "What could not be said" in text and "BlackHoleCluster" in text
    assert "its access log has no line" in " ".join(found.proxies.set_index("workload").unknown["webapp"])


def test_what_is_given_wrong_is_refused(demo, tmp_path):
    """T12: file, line and the line as it should be."""
    file = tmp_path / "catalog.yaml"
    file.write_text(YAML.replace("- hosts", "-hosts"))
    with pytest.raises(FormatError, match=r"(?s)catalog.yaml.*line 6.*no space after the dash.*write: - hosts:"):
        demo.sidecar_what_if(file)
    with pytest.raises(FormatError, match="has no namespace"):
        demo.sidecar_what_if(sidecar("default", "web"))
    with pytest.raises(NotFound, match=r"no file nowhere\.yaml"):
        demo.sidecar_what_if("nowhere.yaml")
    with pytest.raises(UsageError, match="no Sidecar to try"):
        demo.sidecar_what_if("kind: Service\nmetadata: {name: x}\n")


@pytest.mark.parametrize("given", [5, ["x"], {}, {"kind": "Service"}, "kind: Sidecar", "x" * 5000, "a\nb"])
def test_what_is_no_sidecar_is_refused_by_name(demo, given):
    with pytest.raises((UsageError, NotFound, FormatError)):
        demo.sidecar_what_if(given)
    with pytest.raises((UsageError, NotFound, FormatError)):
        demo.lint_sidecars(given)


def test_objects_and_files_that_cannot_be_read(demo, tmp_path):
    file = tmp_path / "x.yaml"
    file.write_bytes(b"kind: Sidecar\n\xff")
    with pytest.raises(FormatError, match="cannot be read"):
        demo.lint_sidecars(file)
    with pytest.raises(FormatError, match="no object of Kubernetes"):
        demo.sidecar_what_if(sidecar("a", "./*", bind={1}))
    for meta in ({}, {"name": 5}, {"name": "a", "namespace": 7}):
        with pytest.raises(FormatError, match=r"metadata\.name"):
            demo.sidecar_what_if({"kind": "Sidecar", "metadata": meta, "spec": {}})
    (found,) = demo.lint_sidecars(sidecar("a", "web")).status("fail")
    assert found.summary.startswith("the object, spec.egress[0].hosts[0]: the host web has no namespace")


def test_of_two_with_one_name_the_last_counts_as_kubectl_leaves_it(demo):
    wide = YAML.replace("istio-system/*", "*/*")
    assert set(demo.sidecar_what_if(f"{wide}---\n{YAML}").proxies.clusters_after) == {8}
    assert set(demo.sidecar_what_if(YAML, wide).proxies.clusters_after) == {12}


def test_the_verdict_tells_calls_hosts_and_what_to_do_next():
    """S11-52: what fails, what goes past the mesh, what is unknown; never that nothing breaks."""
    mesh = meshnb.open("demo")
    calls = mesh.observed_calls().assign(proxy="webapp-8dc87795f-web01.istioinaction")
    extent = mesh.log_extent().assign(proxy="webapp-8dc87795f-web01.istioinaction")
    mesh._made["observed_calls", ""], mesh._made["log_extent", ""] = calls, extent
    found = mesh.sidecar_what_if(YAML)
    assert found.verdict == (
        "4 proxies would lose 4 clusters each; 120 calls seen to 1 host would fail, the calls of 3 proxies are unknown"
    )
    steps = found.next_steps().facts
    assert steps["Add to egress hosts"] == f"istioinaction/{CATALOG}" and "Apply it" not in steps
    assert "meshnb capture" in steps["Capture config dumps, access logs"]
    allowed = YAML.replace("REGISTRY_ONLY", "ALLOW_ANY")
    assert "a PeerAuthentication of istioinaction" in mesh.sidecar_what_if(allowed).calls.expects[0]
    mesh.__dict__["_known"] = dataclasses.replace(mesh._known, strict=frozenset())
    bypassed = mesh.sidecar_what_if(allowed)
    assert "none of 120 calls seen to 1 host is known to fail by it, 120 calls seen to 1 host would go past the " in (
        bypassed.verdict
    )
    assert bypassed.next_steps().facts["Apply it"].startswith("when those are known")
    assert len(found.gone()) == 10 and set(found.gone().df.proxies) == {4}


def test_s11_49_lint_of_files_and_in_the_mesh(demo, tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(YAML)
    assert demo.lint_sidecars(file).verdict == "pass"
    file.write_text(YAML.replace("istio-system/*", "istio-sytem/*"))
    failed = demo.lint_sidecars(file).status("fail")
    assert [one.code for one in failed] == ["MNB0111"] and failed[0].fix[0].text == "istio-system/*"
    twice = demo.lint_sidecars(YAML, YAML.replace("name: default", "name: other")).status("fail")
    assert {one.code for one in twice} == {"MNB0112"}


def test_without_proxies_nothing_is_predicted():
    found = meshnb.open("demo/control-plane").sidecar_what_if("")
    assert found.proxies.empty and "no proxies were captured" in found.verdict
    assert len(found.summary()) == 0


def test_tables_of_a_capture_with_sidecars(tmp_path):
    """S11-45: for whom each holds, what is wrong with it, and whether istiod says the same."""
    web = sidecar("webapp", f"./{CATALOG}", workloadSelector={"labels": {"app": "webapp"}})
    late = sidecar("late", "dta/*")
    late["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z"
    pod = "webapp-8dc87795f-web01.istioinaction"
    scope = {
        "name": "webapp", "namespace": "istioinaction", "sidecar": web["spec"],
        "services": [{"hostname": CATALOG, "Attributes": {"Namespace": "istioinaction"}}],
    }  # fmt: skip
    other = {**scope, "name": "late", "services": []}
    other["services"] = [{"hostname": "gone.data.svc.cluster.local", "Attributes": {"Namespace": "data"}}]
    catalog = "catalog-5d4f7c9b8-v1aaa.istioinaction"
    mesh = copied(
        tmp_path / "with",
        {
            "kubernetes/sidecars.json": as_list(sidecar("default", "istio-system/*"), web, late),
            f"istiod/lab-controlplane-5f6d7c8b9-cp001.istio-system/debug/sidecarz.{pod}.json": scope,
            f"istiod/lab-controlplane-5f6d7c8b9-cp001.istio-system/debug/sidecarz.{catalog}.json": other,
        },
    )
    table = mesh.sidecars().set_index("sidecar")
    assert table.proxies.to_dict() == {"default": 3, "webapp": 1, "late": 0}
    assert [text[:7] for text in table.problems["late"]] == ["MNB0111", "MNB0112"]
    assert list(table.problems["webapp"]) == []
    rows = mesh.sidecar_proxies().set_index("proxy")
    assert (rows.level[pod], rows.services[pod], rows.of_services[pod], rows.istiod[pod]) == (
        "workload",
        1,
        3,
        "agrees",
    )
    assert list(rows.others[catalog]) == ["istioinaction/late"] and rows.level.value_counts()["gateway"] == 1
    assert rows.istiod[catalog].startswith("istiod uses late, here default; istiod alone knows 1: gone.data")
    assert rows.istiod.isna().sum() == 3
    seen = mesh.visible_services(pod)
    assert seen[["host", "by"]].values.tolist() == [[CATALOG, f"./{CATALOG}"]]
    assert mesh.check("MNB0112").verdict == "fail"
    # one that is there is replaced, and what it did not know comes
    found = mesh.sidecar_what_if(sidecar("webapp", "*/*", workloadSelector={"labels": {"app": "webapp"}}))
    (row,) = found.proxies.itertuples()
    assert (row.sidecar_before, row.sidecar) == ("istioinaction/webapp",) * 2
    assert not any("no Sidecar objects" in reason for reason in row.unknown)


def test_tables_are_absent_where_nothing_was_captured(demo):
    assert {demo.absent(name) for name in ("sidecars", "sidecar_proxies", "visible_services")} == {
        "demo holds no sidecars"
    }
    assert demo.check("MNB0112").verdict == "unknown"


def test_meshconfig_decides_what_gets_the_rest_and_which_services_there_are(tmp_path):
    """S11-48, S11-56: MeshConfig's policy and selectors, from its ConfigMap."""
    selectors = "discoverySelectors:\n- matchLabels: {istio-injection: enabled}\n"
    config = f"outboundTrafficPolicy: {{mode: REGISTRY_ONLY}}\n{selectors}"
    maps = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "istio", "namespace": "istio-system"}}
    mesh = copied(
        tmp_path / "config",
        {
            "kubernetes/configmaps.json": maps | {"data": {"mesh": config}},
            "kubernetes/sidecars.json": as_list(),
        },
    )  # fmt: skip
    rows = mesh.sidecar_proxies()
    own = rows[rows.level == "none"]
    assert set(own.outbound_policy) == {"REGISTRY_ONLY"} and set(own.services) == {2}
    found = mesh.discovery().set_index("namespace")
    assert found.now.to_dict() == {"istio-system": False, "istioinaction": True}
    assert found.change.to_dict() == {"istio-system": "stays out", "istioinaction": "stays"}


@pytest.mark.parametrize("setting", ["discoverySelectors: x", "discoverySelectors: [{matchLabel: {a: b}}]"])
def test_settings_istiod_would_not_take_are_unknown_and_not_fatal(tmp_path, setting):
    maps = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "istio", "namespace": "istio-system"}}
    config = f"{setting}\noutboundTrafficPolicy: {{mode: 5}}\nextensionProviders: [1, {{name: a}}]\n"
    mesh = copied(tmp_path / "config", {"kubernetes/configmaps.json": maps | {"data": {"mesh": config}}})
    assert mesh.discovery().now.isna().all() and len(mesh.sidecar_what_if(YAML).proxies) == 4


def test_s11_59_what_leaves_every_proxy_of_the_demo(demo):
    """S11-59: services, endpoints, and the calls of the access log."""
    exclude = meshnb.tuning.discovery_selectors(excluded={"istio-exclude": "true"})
    row = demo.discovery(exclude, labels={"istioinaction": {"istio-exclude": "true"}}).iloc[0]
    assert (row.namespace, row.change, row.services, row.proxies_with_them) == ("istioinaction", "leaves", 2, 5)
    assert (row.calls, row.proxy_endpoints) == (120, 35) and row.now is pd.NA


def test_measured_beside_predicted(demo):
    """S11-53: a proxy that is gone is compared with another pod of its workload, one that has none is missing."""
    found = demo.sidecar_what_if(YAML)
    same = found.measured(demo)
    assert set(same.clusters_measured) == {12} and set(same.clusters_predicted) == {8}
    assert all(len(names) == 4 for names in same.stayed) and (same.error < -0.3).all()
    none = found.measured(meshnb.open("demo/control-plane"))
    assert none.clusters_measured.isna().all() and none.error.isna().all()


def test_proposals_and_the_command_line(demo, tmp_path, capsys):
    rows = demo.sidecar_proposals().set_index("workload")
    assert rows.yaml["webapp"] is pd.NA and "no call was seen" in list(rows.caveats["catalog"])
    assert json.loads(rows.selector["catalog-v2"]) == {"app": "catalog", "version": "v2"}
    assert main(["sidecar", "demo"]) == 0
    out = capsys.readouterr().out
    assert "kind: Sidecar" in out and "# istioinaction/webapp: nothing is proposed" in out
    file = tmp_path / "x.yaml"
    file.write_text(YAML)
    assert main(["sidecar", "demo", str(file)]) == 0
    assert "12 → 8" in capsys.readouterr().out
    file.write_text(YAML.replace("- hosts", "-hosts"))
    assert main(["sidecar", "demo", str(file)]) == 79
    out = capsys.readouterr().out
    assert "line 6: there is no space after the dash" in out and "would change" not in out
    assert main(["table", "observed_calls", "demo", "-o", "csv"]) == 0
    assert CATALOG in capsys.readouterr().out
