"""MNB0110 to MNB0114: Sidecars that do not do what they look like (S11-49, T12)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshnb.checks import registry
from meshnb.checks.sidecar_yaml import host_problem, lint_text
from meshnb.checks.sidecars import problems
from meshnb.loaders.mesh_config import read_mesh_config
from meshnb.loaders.objects import objects_table
from meshnb.loaders.sidecars import sidecars_table
from meshnb.model.finding import Finding, Severity, Status
from meshnb.model.tables.objects import PODS

from .tables import rows

CODES = ("MNB0110", "MNB0111", "MNB0112", "MNB0113", "MNB0114")

SAMPLE = """\
apiVersion: networking.istio.io/v1beta1
kind: Sidecar
metadata:
  name: catalog
  namespace: istioinaction
spec:
  workloadSelector:
    labels:
      app: foo
  ingress:
  - port:
      number: 3000
      protocol: HTTP
      name: http
  egress:
  -hosts:
    - "./*"
    - "istio-system/*"
"""


def thing(kind: str, name: str, namespace: str | None = "shop", **spec: Any) -> dict[str, Any]:
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"kind": kind, "apiVersion": "networking.istio.io/v1", "metadata": meta, "spec": spec}


def sidecar(name: str, *hosts: str, namespace: str = "shop", created: str = "", **spec: Any) -> dict[str, Any]:
    egress = {"egress": [{"hosts": list(hosts)}]} if hosts else {}
    found = thing("Sidecar", name, namespace, **egress, **spec)
    found["metadata"] |= {"creationTimestamp": created} if created else {}
    return found


def selecting(**labels: str) -> dict[str, Any]:
    return {"workloadSelector": {"labels": labels}}


OBJECTS = [
    thing("Namespace", "shop", None), thing("Namespace", "data", None), thing("Namespace", "quiet", None),
    thing("Service", "web", ports=[{"port": 80}]), thing("Service", "db", "data", ports=[{"port": 5432}]),
    thing("ServiceEntry", "ext", hosts=["api.example.com", "*.cdn.example.com"]),
    thing("VirtualService", "front", hosts=["front.example.com"]),
]  # fmt: skip
PODS_TABLE = rows(
    PODS,
    *(
        {"namespace": "shop", "pod": f"{app}-{n}", "labels": json.dumps({"app": app}), "has_sidecar": True}
        for app, n in (("web", 1), ("web", 2), ("api", 1))
    ),
)


def look(code: str, *sidecars: dict[str, Any], **tables: Any) -> list[Finding]:
    given = {"sidecars": sidecars_table(list(sidecars)), "objects": objects_table(OBJECTS), "pods": PODS_TABLE}
    given |= {"mesh_config": None} | tables
    check = registry.find(code)
    return list(check.function(**{name: given[name] for name in (*check.requires, *check.uses)}))


class Nothing:
    """A snapshot that holds no table."""

    def absent(self, name: str) -> str:
        return f"it holds no {name}"

    def gaps(self, name: str) -> list[str]:
        return []

    def table(self, name: str) -> Any:
        raise AssertionError(name)

    scan = table


@pytest.mark.parametrize("code", CODES)
def test_sidecars_that_were_not_captured_are_unknown(code):
    (found,) = registry.run(registry.find(code), Nothing())
    assert found.status is Status.UNKNOWN and "holds no sidecars" in found.summary


@pytest.mark.parametrize("code", CODES)
def test_good_sidecars_pass_and_none_at_all_pass(code):
    good = [sidecar("default", "./*", "data/*"), sidecar("web", "shop/api.example.com", **selecting(app="web"))]
    for given in (good, []):
        (found,) = look(code, *given)
        assert found.status is Status.PASS and found.code == code


def test_s11_49_t12_the_dash_without_a_space_is_shown_with_its_line_and_the_correction():
    """S11-49, T12: the sample of the study notes; as YAML it is read, as something else."""
    (found,) = lint_text(SAMPLE, file="catalog.yaml")
    assert (found.status, found.code) == (Status.FAIL, "MNB0110")
    assert found.summary == "catalog.yaml, line 16: there is no space after the dash."
    assert found.fix[0].text == "  - hosts:"
    line = SAMPLE.splitlines()
    line[15] = found.fix[0].text
    (repaired,) = lint_text("\n".join(line), file="catalog.yaml")
    assert repaired.status is Status.PASS


def test_s11_49_t12_the_same_slip_in_a_longer_list_is_no_yaml_at_all():
    """S11-49, T12: where another listener stands before, the parser stops; the line told is the same slip's."""
    text = SAMPLE.replace("  egress:\n", '  egress:\n  - port: {number: 80}\n    hosts: ["./*"]\n')
    (found,) = lint_text(text, file="catalog.yaml")
    assert "line 18: there is no space after the dash" in found.summary


WRITTEN = {
    "a field with a slip": (
        SAMPLE.replace("-hosts", "- hosts").replace("workloadS", "workLoadS"), "line 7: there is no field workLoad", "",
    ),
    "a host without namespace": (
        SAMPLE.replace("-hosts", "- hosts").replace('"./*"', "web"), "line 17: the host web has no namespace",
        "    - ./web.istioinaction.svc.cluster.local",
    ),
    "no hosts": (SAMPLE.replace("  -hosts:\n", "  - bind: 127.0.0.1\n").partition("    - ")[0], "names no hosts", ""),
    "no YAML": ("kind: Sidecar\nspec: [\n", "no YAML", ""),
    "a listener without a port that is not last": (
        "kind: Sidecar\nspec:\n  egress:\n  - hosts: ['./*']\n  - hosts: ['a/*']\n    port: {number: 80}\n",
        "line 4: an egress listener without a port", "",
    ),
    "egress as a mapping": ("kind: Sidecar\nspec:\n  egress:\n    hosts: ['./*']\n", "egress must be a list", ""),
    "hosts as a text": ("kind: Sidecar\nspec:\n  egress:\n  - hosts: ./*\n", "line 4: hosts must be a list", ""),
    "a host that is a number": ("kind: Sidecar\nspec: {egress: [{hosts: [1]}]}\n", "hosts[0] must be a text", ""),
    "nothing where a listener belongs": ("kind: Sidecar\nspec:\n  egress: [null]\n", "egress[0] is empty", ""),
    "a label that is a number": (
        "kind: Sidecar\nspec:\n  workloadSelector:\n    labels: {version: 1}\n", "line 4: version must be a text", "",
    ),
    "a port that is none": (
        "kind: Sidecar\nspec:\n  ingress:\n  - port:\n      number: 99999\n", "line 5: number must be a whole", "",
    ),
    "an ingress listener without a port": ("kind: Sidecar\nspec:\n  ingress: [{}]\n", "names no port", ""),
    "an egress port without a number": (
        "kind: Sidecar\nspec: {egress: [{port: {}, hosts: [./*]}]}\n", "port of an egress listener has no number", "",
    ),
    "a key that is a list": ("kind: Sidecar\nspec: {[a, b]: c}\n", "line 2: no YAML: a key must be a text", ""),
    "aliases that grow": (
        "kind: Sidecar\na: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{n}: &{n} [{','.join(9 * [f'*{o}'])}]\n" for o, n in zip("abcdefg", "bcdefgh", strict=True))
        + "spec: {egress: [{hosts: *h}]}\n",
        "more than 200,000 values", "",
    ),
    "an alias that holds itself": ("kind: Sidecar\nspec: &s {egress: [*s]}\n", "an alias holds itself", ""),
    "a mode that is none": (
        "kind: Sidecar\nspec:\n  outboundTrafficPolicy: {mode: ALLOW}\n", "mode is ALLOW, which is none", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "what", "better"), WRITTEN.values(), ids=WRITTEN)
def test_s11_49_yaml_that_istio_would_read_otherwise(text, what, better):
    (found,) = lint_text(text, file="x.yaml")
    assert found.status is Status.FAIL and found.severity is Severity.ERROR and what in found.summary
    assert [fix.text for fix in found.fix] == ([better] if better else [])


def test_a_text_without_a_sidecar_is_unknown_and_several_documents_are_all_read():
    assert lint_text("kind: Service\n")[0].status is Status.UNKNOWN
    good = "kind: Sidecar\nspec:\n  egress:\n  - hosts: ['./*']\n"
    assert "2 Sidecars" in lint_text(f"{good}---\n{good}")[0].summary
    (found,) = lint_text(f"{good}---\n{good.replace('./*', 'web')}")
    assert "line 9: the host web" in found.summary
    # another kind may hold what looks like a slip, and a List what is one
    other = "kind: ConfigMap\ndata:\n  text: |\n    -name: x\n"
    assert lint_text(f"{other}---\n{good}")[0].status is Status.PASS
    listed = "kind: List\nitems:\n- kind: Sidecar\n  spec:\n    egress:\n    - hosts: [web]\n"
    assert "line 6: the host web" in lint_text(listed)[0].summary
    flow = '{"apiVersion": "networking.istio.io/v1", "kind": "Sidecar", "spec": {"egress": [{"hosts": ["%s"]}]}}'
    assert lint_text(flow % "./*")[0].status is Status.PASS
    assert "line 1: the host web has no namespace" in lint_text(f"--- {flow % 'web'}")[0].summary
    # dates are texts to Kubernetes, and what is merged in counts
    merged = "kind: Sidecar\nbase: &b {hosts: [./*], bind: 2026-13-45}\nspec: {egress: [{<<: *b}]}\n"
    assert lint_text(merged)[0].status is Status.PASS


@pytest.mark.parametrize("host", ["./*", "*/*", "~/*", "shop/web.shop.svc.cluster.local", "*/*.example.com"])
def test_hosts_istio_takes(host):
    assert not host_problem(host)


@pytest.mark.parametrize(
    "host", ["web", "a/b/c", "/web.io", "shop/", "Shop/*", "shop/web", "*/a.*.io", "*/w*.io", "*/**"]
)
def test_hosts_istio_refuses(host):
    assert host_problem(host)


def test_mnb0110_objects_in_the_cluster():
    (found,) = look("MNB0110", sidecar("default", "./*", "web", outboundTrafficPolicy={}))
    assert "spec.egress[0].hosts[1]" in found.summary and "1 more" in found.summary
    assert found.fix[0].text == "./web.shop.svc.cluster.local"
    (mild,) = look("MNB0110", sidecar("default", "./*", outboundTrafficPolicy={}))
    assert mild.severity is Severity.INFO and "KIA1007" in mild.refs


@pytest.mark.parametrize(
    ("host", "what", "better"),
    [
        ("dta/*", "there is no namespace dta", "data/*"),
        ("data/bd.data.svc.cluster.local", "nothing in data has the host bd", "data/db.data.svc.cluster.local"),
        ("data/api.example.com", "nothing in data has the host api.example.com", ""),
        ("*/nowhere.example.org", "no namespace has the host", ""),
        # istiod imports a service whose names are all among those of the host; the other way round it does not
        ("shop/img.cdn.example.com", "nothing in shop has the host img", "shop/*.cdn.example.com"),
    ],
)
def test_mnb0111_what_is_imported_in_vain(host, what, better):
    """KIA1004: the namespace of a host is that of its object, not of the pods behind it."""
    (found,) = look("MNB0111", sidecar("default", "./*", host))
    assert found.status is Status.FAIL and what in found.summary and "KIA1004" in found.refs
    assert [fix.text for fix in found.fix] == ([better] if better else [])


@pytest.mark.parametrize(
    "host", ["shop/api.example.com", "shop/*.cdn.example.com", "*/front.example.com", "quiet/*", "~/*"]
)
def test_mnb0111_what_is_there_or_need_not_be(host):
    (found,) = look("MNB0111", sidecar("default", host))
    assert found.status is Status.PASS


def test_mnb0111_a_dot_in_the_meshs_default_is_every_namespace():
    mesh = sidecar("default", "./web.shop.svc.cluster.local", "./*", namespace="istio-system")
    assert look("MNB0111", mesh)[0].status is Status.PASS
    assert look("MNB0111", mesh | {"spec": {"egress": [{"hosts": ["./nowhere.example.org"]}]}})[0].status is Status.FAIL
    own = sidecar("default", "./web.shop.svc.cluster.local", namespace="data")
    assert look("MNB0111", own)[0].status is Status.FAIL


def test_mnb0111_namespaces_that_were_not_captured_are_unknown():
    (found,) = look("MNB0111", sidecar("default", "quiet/a.example.org"))
    assert found.status is Status.UNKNOWN  # nothing of that namespace was captured
    for objects in (None, objects_table([thing("Namespace", "shop", None)])):
        (found,) = look("MNB0111", sidecar("default", "./*"), objects=objects)
        assert found.status is Status.UNKNOWN and "no Services" in found.summary


def test_mnb0112_two_without_selector():
    """KIA0002, IST0111."""
    first = sidecar("b", "./*", created="2026-01-01T00:00:00Z")
    (found,) = look("MNB0112", sidecar("a", "*/*", created="2026-01-02T00:00:00Z"), first)
    assert found.status is Status.FAIL and "takes the oldest, b" in found.summary
    assert set(found.refs) == {"KIA0002", "IST0111"} and found.fix[0].text.endswith("delete sidecar a")
    assert look("MNB0112", first, sidecar("a", "./*", namespace="data"))[0].status is Status.PASS


def test_mnb0112_two_selectors_that_fit_one_pod():
    """KIA0003, IST0110."""
    both = sidecar("a", "./*", **selecting(app="web")), sidecar("b", "./*", workloadSelector={})
    (found,) = look("MNB0112", *both)
    assert "select 2 pods of shop (web-1" in found.summary and "IST0110" in found.refs
    apart = sidecar("a", "./*", **selecting(app="web")), sidecar("b", "./*", **selecting(app="api"))
    assert look("MNB0112", *apart)[0].status is Status.PASS
    assert look("MNB0112", *both, pods=None)[0].status is Status.UNKNOWN


def test_mnb0113_a_selector_that_fits_nobody():
    """KIA0004, IST0101, KIA1006."""
    (found,) = look("MNB0113", sidecar("a", "./*", **selecting(app="wbe")))
    assert "none of 3 pods" in found.summary and set(found.refs) == {"KIA0004", "IST0101"}
    (root,) = look("MNB0113", sidecar("a", "./*", namespace="istio-system", **selecting(app="web")))
    assert "root namespace" in root.summary and root.refs == ("KIA1006",)
    mesh = read_mesh_config('{"rootNamespace": "shop"}')
    (root,) = look("MNB0113", sidecar("a", "./*", **selecting(app="web")), mesh_config=mesh)
    assert root.refs == ("KIA1006",)


def test_mnb0114_no_egress_is_not_inherited():
    """istio/istio#59376: Istio's reference says so, istiod does not."""
    mesh = sidecar("default", "./*", "istio-system/*", namespace="istio-system")
    (found,) = look("MNB0114", mesh, sidecar("web", **selecting(app="web"), ingress=[]))
    assert (
        found.status is Status.FAIL
        and "istio-system/default" in found.summary
        and str(found.subject).endswith("shop/web")
    )
    assert '"istio-system/*"' in found.fix[0].text
    (found,) = look("MNB0114", sidecar("all", "./*"), sidecar("web", **selecting(app="web")))
    assert "while shop/all names" in found.summary
    assert look("MNB0114", sidecar("web", **selecting(app="web")))[0].status is Status.PASS


def test_problems_go_with_their_sidecar():
    found = look("MNB0112", sidecar("a", "./*"), sidecar("b", "./*")) + look("MNB0111", sidecar("a", "dta/*"))
    assert set(problems(found)) == {("shop", "a"), ("shop", "b")}
    assert problems(found)["shop", "a"][0].startswith("MNB0111 Sidecar shop/a imports dta/*")
