"""MNB0255 and MNB0256: are access logs on, in JSON, with flags and details? (S10-45)"""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

import meshnb
from meshnb.checks.access_log_needs import NEEDS
from meshnb.checks.access_log_on import access_log_format, access_log_on
from meshnb.checks.access_log_wanted import MeshLogging, by_age, levels, mesh_logging, wanted
from meshnb.checks.access_log_workload import Workload, workload
from meshnb.loaders.access_log_format import TEXT_FORMATS, column_of
from meshnb.loaders.listener_logs import filled
from meshnb.loaders.mesh_config import read_mesh_config
from meshnb.loaders.objects import objects_table
from meshnb.loaders.telemetry_objects import telemetries_table
from meshnb.model.finding import Finding, Severity, Status
from meshnb.model.tables.access_loggers import ACCESS_LOGGERS
from meshnb.model.tables.logs import ACCESS_LOG
from meshnb.model.tables.objects import PODS

from .tables import GATEWAY, rows

POD = "catalog-v1.istioinaction"
FULL = list(ACCESS_LOG.column_names)
MESH = {"accessLogFile": "/dev/stdout", "accessLogEncoding": "JSON"}


def logger(proxy: str = POD, **more: Any) -> dict[str, Any]:
    shared = {"proxy": proxy, "listener": "virtualInbound", "direction": "INBOUND", "position": 0, "place": "http"}
    file = {"logger": "file", "type": "file", "target": "/dev/stdout", "encoding": "JSON", "format": "{}"}
    return {**shared, "state": "active", "dynamic": True, **file, "columns": FULL, **more}


NONE = {"logger": None, "type": None, "target": None, "encoding": None, "format": None, "columns": None}


def telemetry(name: str, namespace: str, *entries: dict, created: str = "2026-01-01T00:00:00Z", **spec: Any) -> dict:
    return {
        "apiVersion": "telemetry.istio.io/v1",
        "kind": "Telemetry",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": created},
        "spec": {**spec, **({"accessLogging": list(entries)} if entries else {})},
    }


def look(check, *loggers: dict, telemetries: list | None = (), mesh: dict | None = MESH) -> list[Finding]:
    labels = json.dumps({"app": "catalog", "version": "v1"})
    pod = {"pod": "catalog-v1", "namespace": "istioinaction", "proxy": POD, "labels": labels}
    return check(
        access_loggers=rows(ACCESS_LOGGERS, *loggers),
        telemetries=None if telemetries is None else telemetries_table(list(telemetries)),
        mesh_config=None if mesh is None else read_mesh_config(json.dumps(mesh)),
        objects=None,
        pods=rows(PODS, pod),
    )


def test_the_lab_logs_all_that_is_needed():
    mesh = meshnb.open("demo")
    assert mesh.check("MNB0255").verdict is Status.PASS
    assert mesh.check("MNB0256").verdict is Status.PASS


def test_without_a_config_dump_it_is_unknown(tmp_path):
    mesh = meshnb.open("demo/slow-request")
    assert mesh.check("MNB0255", "MNB0256").verdict is Status.UNKNOWN


# who is to blame


def test_a_telemetry_switches_them_off():
    off = telemetry("quiet", "istioinaction", {"disabled": True}, metrics=[{"providers": [{"name": "prometheus"}]}])
    (found,) = look(access_log_on, logger(**NONE), logger(GATEWAY, direction="OUTBOUND"), telemetries=[off])
    assert str(found.subject) == "Telemetry istioinaction/quiet" and found.severity is Severity.WARNING
    assert "1 of 2 proxies log no request" in found.summary and "switches access logs off" in found.summary
    fix = yaml.safe_load(found.fix[0].text)
    assert fix["metadata"] == {"name": "quiet", "namespace": "istioinaction"}
    assert fix["spec"]["accessLogging"] == [{"providers": [{"name": "envoy"}]}]
    assert fix["spec"]["metrics"], "what else the Telemetry says is kept"
    assert found.verify == "kubectl -n istioinaction logs catalog-v1 -c istio-proxy --tail=5"


def test_nothing_asks_for_them():
    (found,) = look(access_log_on, logger(**NONE), mesh={"ingressClass": "istio"})
    assert found.subject.kind == "ConfigMap" and "accessLogFile of MeshConfig is empty" in found.summary
    assert yaml.safe_load(found.fix[0].text)["metadata"] == {"name": "mesh-default", "namespace": "istio-system"}
    assert "meshConfig.accessLogEncoding=JSON" in found.fix[1].text


def test_a_telemetry_of_the_mesh_that_is_there_is_completed_not_joined_by_a_second_that_would_not_count():
    tracing = telemetry("mesh-tracing", "istio-system", tracing=[{"randomSamplingPercentage": 5}])
    (found,) = look(access_log_on, logger(**NONE), mesh={}, telemetries=[tracing])
    fix = yaml.safe_load(found.fix[0].text)
    assert fix["metadata"]["name"] == "mesh-tracing" and fix["spec"]["tracing"]


def test_objects_that_were_not_captured_blame_nobody():
    for given in ({"telemetries": None}, {"mesh": None}):
        (found,) = look(access_log_on, logger(**NONE), **given)
        assert found.status is Status.FAIL and str(found.subject) == "Mesh"
        assert "cannot be told" in found.summary


def test_a_telemetry_alone_is_enough_to_blame_it():
    (found,) = look(
        access_log_on, logger(**NONE), mesh=None, telemetries=[telemetry("q", "istio-system", {"disabled": True})]
    )
    assert str(found.subject) == "Telemetry istio-system/q"


def test_a_provider_that_is_not_defined():
    lost = telemetry("mine", "istioinaction", {"providers": [{"name": "json-log"}]})
    (found,) = look(access_log_on, logger(**NONE), telemetries=[lost])
    assert "names the provider json-log, which MeshConfig does not define" in found.summary


def test_what_no_object_explains_is_the_proxys():
    (found,) = look(access_log_on, logger(**NONE))
    assert str(found.subject) == "Pod istioinaction/catalog-v1"
    assert found.fix[0].text == f"istioctl proxy-status {POD}"


# what Envoy does


def test_only_some_listeners():
    both = [logger(), logger(**NONE, listener="0.0.0.0_80", direction="OUTBOUND")]
    off = telemetry("t", "istioinaction", {"match": {"mode": "CLIENT"}, "disabled": True})
    mesh = {**MESH, "defaultProviders": {"accessLogging": ["envoy"]}}
    (found,) = look(access_log_on, *both, telemetries=[off], mesh=mesh)
    assert "log the requests of some listeners only" in found.summary and found.subject.name == "t"


def test_elsewhere():
    otel = {"name": "otel", "envoyOtelAls": {"service": "otel", "port": 4317}}
    mine = telemetry("t", "istio-system", {"providers": [{"name": "otel"}]})
    sent = logger(type="open_telemetry", target="outbound|4317||otel", encoding=None, format=None)
    (found,) = look(access_log_on, sent, telemetries=[mine], mesh={"extensionProviders": [otel]})
    assert "send their access logs elsewhere" in found.summary and "provider otel" in found.summary
    (into,) = look(access_log_on, logger(target="/var/log/access.log"))
    assert "elsewhere" in into.summary and str(into.subject) == "Pod istioinaction/catalog-v1", "MeshConfig says stdout"


def test_elsewhere_for_some_listeners_is_not_said_of_all():
    mine = telemetry("t", "istio-system", {"providers": [{"name": "plain"}, {"name": "otel"}]})
    plain = {"name": "plain", "envoyFileAccessLog": {}}  # without a path: the standard output
    mesh = {"extensionProviders": [plain, {"name": "otel", "envoyOtelAls": {"service": "otel", "port": 4317}}]}
    sent = {"type": "open_telemetry", "target": "outbound|4317||otel", "encoding": None, "format": None}
    loggers = [logger(), logger(**sent, listener="0.0.0.0_80", direction="OUTBOUND")]
    (found,) = look(access_log_on, *loggers, telemetries=[mine], mesh=mesh)
    assert "1 of 1 proxies send the access logs of some listeners elsewhere" in found.summary
    assert "nothing of those to the standard output" in found.summary
    assert "It asks for provider otel, which does not write to the standard output." in found.summary, "plain does"


def test_filtered():
    only = telemetry("errors", "istio-system", {"filter": {"expression": "response.code >= 500"}})
    mesh = {"defaultProviders": {"accessLogging": ["envoy"]}}
    entry = {**only["spec"]["accessLogging"][0], "providers": [{"name": "envoy"}]}
    only["spec"]["accessLogging"] = [entry]
    (found,) = look(access_log_on, logger(filter='{"extension_filter":{}}'), telemetries=[only], mesh=mesh)
    assert str(found.subject) == "Telemetry istio-system/errors" and "response.code >= 500" in found.summary


def test_statistics_tunnels_bootstrap_and_unused_versions_are_no_logs_and_no_gaps():
    given = [
        logger(),
        logger(**NONE | {"logger": "stats", "type": "stats"}),
        logger(**NONE, listener="", dynamic=False),
        logger(**NONE, listener="connect_terminate"),
        logger(**NONE, listener="old", state="draining"),
        logger(listener="virtualInbound", place="listener", filter="{}", position=None),
    ]
    assert [f.status for f in look(access_log_on, *given)] == [Status.PASS]
    (alone,) = look(access_log_on, logger(**NONE | {"logger": "stats", "type": "stats"}))
    assert "log no request" in alone.summary


# Istio's precedence


def asked(found: list, mesh: dict, mode: str = "CLIENT", labels: dict | None = None, **more: Any) -> dict[str, bool]:
    """What is asked for by these Telemetry objects; `more` is what else is known of the workload."""
    told = levels(by_age(telemetries_table(found)), Workload("shop", labels or {}, **more), root="istio-system")
    logging = mesh_logging(read_mesh_config(json.dumps({"ingressClass": "istio", **mesh})), None)
    if told.undecided:
        return {f"{told.undecided}: {told.doubt}": False}
    return {one.provider: not one.disabled for one in wanted(told.entries, logging or MeshLogging(), mode=mode)}


GATEWAY_API = "gateway.networking.k8s.io"
TO_GATEWAY = {"group": GATEWAY_API, "kind": "Gateway", "name": "gw"}
A, B = {"providers": [{"name": "a"}]}, {"providers": [{"name": "b"}]}
DEFAULTS = {"defaultProviders": {"accessLogging": ["a"]}, "accessLogFile": "/dev/stdout"}


@pytest.mark.parametrize(
    ("found", "mesh", "expected"),
    [
        ([], {}, {}),
        ([], {"accessLogFile": "/dev/stdout"}, {"accessLogFile": True}),
        ([], DEFAULTS, {"a": True}),
        # the nearest level that names providers replaces those above
        ([telemetry("m", "istio-system", A), telemetry("n", "shop", B)], {}, {"b": True}),
        # one that names none speaks of those above
        ([telemetry("m", "istio-system", A), telemetry("n", "shop", {"disabled": True})], {}, {"a": False}),
        ([telemetry("n", "shop", {"disabled": True})], DEFAULTS, {"a": False}),
        # with nothing to speak of, accessLogFile is off all the same
        ([telemetry("n", "shop", {"disabled": True})], {"accessLogFile": "/dev/stdout"}, {"": False}),
        ([telemetry("m", "istio-system", {"disabled": True}), telemetry("n", "shop", A)], DEFAULTS, {"a": True}),
        # of two at a level the oldest counts
        (
            [telemetry("new", "shop", B, created="2026-02-01T00:00:00Z"), telemetry("old", "shop", A)],
            {},
            {"a": True},
        ),
        # other namespaces, and what is bound to a Gateway, do not concern it
        ([telemetry("o", "other", B), telemetry("g", "shop", B, targetRefs=[TO_GATEWAY])], DEFAULTS, {"a": True}),
        # a Telemetry without a word on access logs is none here
        ([telemetry("m", "istio-system", metrics=[])], {"accessLogFile": "/x"}, {"accessLogFile": True}),
    ],
)
def test_precedence_is_istios(found, mesh, expected):
    assert asked(found, mesh) == expected


def test_a_workloads_own_telemetry_wins_if_its_labels_fit():
    own = telemetry("w", "shop", B, selector={"matchLabels": {"app": "catalog"}})
    found = [telemetry("n", "shop", A), own]
    assert asked(found, {}, labels={"app": "catalog", "version": "v1"}) == {"b": True}
    assert asked(found, {}, labels={"app": "webapp"}) == {"a": True}


# by references

AT_GATEWAY = {"gateway.networking.k8s.io/gateway-name": "gw"}
TO_SERVICE = {"kind": "Service", "group": "", "name": "catalog"}
TO_CLASS = {"group": GATEWAY_API, "kind": "GatewayClass", "name": "istio-waypoint"}
TO_ISTIO = {"group": "networking.istio.io", "kind": "Gateway", "name": "old"}


def bound(*refs: dict, namespace: str = "shop", **more: Any) -> dict[str, bool]:
    """What is asked for where one Telemetry for all of the namespace and one with references are there."""
    found = [telemetry("n", "shop", A), telemetry("bound", namespace, B, targetRefs=list(refs))]
    return asked(found, {}, **more)


@pytest.mark.parametrize(
    ("refs", "workload", "expected"),
    [
        ([TO_GATEWAY], {"labels": AT_GATEWAY, "kind": "router"}, "b"),
        ([TO_GATEWAY], {"labels": AT_GATEWAY, "kind": "waypoint"}, "b"),
        ([TO_GATEWAY], {"labels": AT_GATEWAY}, "b"),
        # another gateway, a sidecar, a reference into another namespace
        ([{**TO_GATEWAY, "name": "other"}], {"labels": AT_GATEWAY}, "a"),
        ([TO_GATEWAY], {"labels": {"app": "gw"}, "kind": "sidecar"}, "a"),
        ([{**TO_GATEWAY, "namespace": "other"}], {"labels": AT_GATEWAY}, "a"),
        # one of several is enough, also beside one that nobody can tell of
        ([{**TO_GATEWAY, "name": "other"}, TO_GATEWAY], {"labels": AT_GATEWAY}, "b"),
        ([TO_SERVICE, TO_GATEWAY], {"labels": AT_GATEWAY, "kind": "waypoint"}, "b"),
        # a Service is served by waypoints alone
        ([TO_SERVICE], {"labels": AT_GATEWAY, "kind": "router"}, "a"),
        ([TO_SERVICE], {"labels": {"app": "catalog"}, "kind": "sidecar"}, "a"),
        ([TO_SERVICE], {"labels": AT_GATEWAY, "kind": "waypoint"}, "refers to Service catalog"),
        ([TO_SERVICE], {"labels": AT_GATEWAY}, "refers to Service catalog"),
        # the class counts in the root namespace only, which this is not
        ([TO_CLASS], {"labels": AT_GATEWAY, "kind": "waypoint"}, "a"),
        # Gateways of Istio's own: by today's istiod, if they select it
        ([TO_ISTIO], {"labels": {}, "gateways": frozenset({"other"})}, "a"),
        ([TO_ISTIO], {"labels": {}, "gateways": frozenset({"old"})}, "only an istiod of today"),
        ([TO_ISTIO], {"labels": {}}, "Gateway old was not captured"),
    ],
)
def test_references_bind_as_istiod_binds_them(refs, workload, expected):
    ((answer, _),) = bound(*refs, **workload).items()
    assert answer == expected or (len(expected) > 1 and expected in answer)


def test_a_telemetry_for_all_waypoints_lies_in_the_root_namespace():
    ((answer, _),) = bound(TO_CLASS, namespace="istio-system", labels=AT_GATEWAY, kind="waypoint").items()
    assert answer.startswith("Telemetry istio-system/bound: ") and "GatewayClass" in answer
    assert bound(TO_CLASS, namespace="istio-system", labels=AT_GATEWAY, kind="router") == {"a": True}
    here = Workload("istio-system", AT_GATEWAY, "waypoint")
    of_class = telemetries_table([telemetry("bound", "istio-system", B, targetRefs=[TO_CLASS])])
    assert len(levels(by_age(of_class), here, root="istio-system").entries) == 1


def test_selectors_bind_gateways_and_no_waypoints():
    by_label = [telemetry("n", "shop", A), telemetry("w", "shop", B, selector={"matchLabels": AT_GATEWAY})]
    assert asked(by_label, {}, labels=AT_GATEWAY, kind="router") == {"b": True}
    assert asked(by_label, {}, labels=AT_GATEWAY, kind="waypoint") == {"a": True}
    ((answer, _),) = asked(by_label, {}, labels=AT_GATEWAY).items()
    assert "whether this is one is not known" in answer


def test_of_two_for_one_workload_the_newer_goes_first():
    by_label = {"matchLabels": AT_GATEWAY}
    new = telemetry("by-label", "shop", B, created="2026-02-01T00:00:00Z", selector=by_label)
    old = telemetry("by-name", "shop", A, targetRefs=[TO_GATEWAY])
    assert asked([new, old], {}, labels=AT_GATEWAY, kind="router") == {"b": True}


def test_references_alone_decide_where_there_is_a_selector_too():
    """istiod's webhook refuses such an object; its matcher looks at the references."""
    both = telemetry("both", "shop", B, selector={"matchLabels": {"app": "gw"}}, targetRefs=[TO_GATEWAY])
    assert asked([telemetry("n", "shop", A), both], {}, labels={"app": "gw"}, kind="sidecar") == {"a": True}


def test_without_the_pod_what_selects_by_label_may_hold_for_it():
    own = telemetry("w", "istioinaction", {"disabled": True}, selector={"matchLabels": {"app": "catalog"}})
    given = dict.fromkeys(("mesh_config", "objects", "pods"))
    (found,) = access_log_on(
        access_loggers=rows(ACCESS_LOGGERS, logger(**NONE)), telemetries=telemetries_table([own]), **given
    )
    assert found.status is Status.FAIL and str(found.subject) == "Mesh"
    assert "Telemetry istioinaction/w may hold for it: its pod was not captured" in found.summary
    assert [one.text for one in found.fix] == ["kubectl -n istioinaction get telemetry w -o yaml"]


def test_gateways_and_kinds_are_found_in_what_was_captured():
    """A Gateway of Istio's own by its selector, a waypoint by what its pod runs."""
    gateway = {"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "spec": {"selector": {"istio": "x"}}}
    meta = {"metadata": {"name": "old", "namespace": "shop"}}
    pod = {"pod": "p", "namespace": "shop", "proxy": "p.shop", "labels": '{"istio":"x"}', "proxy_type": "waypoint"}
    objects = objects_table([gateway | meta, {**gateway, **meta, "apiVersion": "gateway.networking.k8s.io/v1"}])
    found = workload("p.shop", rows(PODS, pod), objects)
    assert found == Workload("shop", {"istio": "x"}, "waypoint", frozenset({"old"}))
    assert workload("p.shop", rows(PODS, {**pod, "labels": "{}"}), objects).gateways == frozenset()
    assert workload("q.shop", rows(PODS, pod), None) == Workload("shop")


def test_modes_are_decided_one_by_one():
    found = [
        telemetry("n", "shop", {**A, "match": {"mode": "CLIENT"}}, {"match": {"mode": "SERVER"}, "disabled": True})
    ]
    assert asked(found, DEFAULTS, "CLIENT") == {"a": True}
    assert asked(found, DEFAULTS, "SERVER") == {"a": False}


def test_mesh_config_is_read_from_its_config_map_too():
    text = yaml.safe_dump(
        {"accessLogFile": "/dev/stdout", "rootNamespace": "mesh", "extensionProviders": [{"name": "X"}]}
    )
    config = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "istio"}, "data": {"mesh": text}}
    found = mesh_logging(None, objects_table([config]))
    assert found is not None and (found.file, found.root_namespace) == ("/dev/stdout", "mesh")
    assert set(found.providers) == {"envoy", "x"}
    broken = {**config, "data": {"mesh": "{"}}
    assert mesh_logging(None, objects_table([broken])) is None
    assert MeshLogging().providers == {}


# formats


def test_a_format_that_lacks_what_the_causes_need_names_operators_and_causes():
    line = "%START_TIME% %REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %DURATION% %REQ(:AUTHORITY)%"
    (found,) = look(access_log_format, logger(encoding="TEXT", format=line, columns=filled(line)))
    assert found.status is Status.FAIL and found.severity is Severity.WARNING
    for operator in ("%RESPONSE_FLAGS%", "%RESPONSE_CODE_DETAILS%", "%REQ(X-REQUEST-ID)%", "%UPSTREAM_HOST%"):
        assert operator in found.summary
    assert "%DURATION%" not in found.summary
    assert "slow_replica" in found.summary and "circuit_breaker" in found.summary
    assert {row["column"] for row in found.evidence[0].rows} >= {"request_id", "upstream_host"}
    fix = yaml.safe_load(found.fix[0].text)["meshConfig"]
    assert fix == {"accessLogFile": "/dev/stdout", "accessLogEncoding": "JSON", "accessLogFormat": ""}


def test_a_json_format_is_completed_not_replaced():
    own = {"tenant": "%REQ(X-TENANT)%", "code": "%RESPONSE_CODE%"}
    (found,) = look(access_log_format, logger(format=json.dumps(own), columns=["response_code"]))
    text = yaml.safe_load(found.fix[0].text)["meshConfig"]["accessLogFormat"]
    assert json.loads(text)["tenant"] == "%REQ(X-TENANT)%"
    # what the fix gives is enough
    assert set(NEEDS) <= set(filled(text) or ())


def test_the_provider_that_holds_the_format_is_the_one_to_change():
    one = {"name": "short", "envoyFileAccessLog": {"path": "/dev/stdout", "logFormat": {"text": "%DURATION%"}}}
    mine = telemetry("t", "istio-system", {"providers": [{"name": "short"}]})
    given = logger(encoding="TEXT", format="%DURATION%", columns=["duration_ms"])
    (found,) = look(access_log_format, given, telemetries=[mine], mesh={"extensionProviders": [one]})
    (provider,) = yaml.safe_load(found.fix[0].text)["meshConfig"]["extensionProviders"]
    assert provider["name"] == "short" and provider["envoyFileAccessLog"]["logFormat"] == {"labels": {}}


def test_text_with_all_fields_is_worth_a_remark_only():
    given = logger(encoding="TEXT", format=TEXT_FORMATS["istio"], columns=filled(TEXT_FORMATS["istio"]))
    (found,) = look(access_log_format, given)
    assert found.status is Status.FAIL and found.severity is Severity.INFO and "is in TEXT" in found.summary


def test_a_format_that_cannot_be_read_and_no_log_at_all_are_unknown():
    (unreadable,) = look(access_log_format, logger(encoding="TEXT", format="100 % of it", columns=None))
    assert unreadable.status is Status.UNKNOWN and "100 % of it" in unreadable.summary
    (none,) = look(access_log_format, logger(**NONE))
    assert none.status is Status.UNKNOWN


def test_operators_are_those_that_fill_the_columns_and_istios_own_formats_hold_them_all():
    for column, need in NEEDS.items():
        assert column_of(need.operator.strip("%")) == column
    assert set(NEEDS) <= set(filled(TEXT_FORMATS["istio"]) or ())
