"""What istiod says of its proxies, in every shape and release."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from meshnb.errors import FormatError
from meshnb.loaders.proxy_status_text import read_proxy_status
from meshnb.loaders.syncz import read_syncz

SAMPLES = Path(__file__).parents[2] / "../shared/data/istio/syncz_samples.json"

CDS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
LDS = "type.googleapis.com/envoy.config.listener.v3.Listener"
NOW = datetime(2026, 11, 23, 9, 5, tzinfo=UTC)


def cells(frame):
    """`{proxy: {type: status}}`."""
    return {
        proxy: dict(zip(rows.type, rows.status.astype(object).where(rows.status.notna(), None), strict=True))
        for proxy, rows in frame.groupby("proxy")
    }


# transcribed from istioctl's expected tables: proxy -> cells in the order CDS LDS EDS RDS ECDS
HTTP = {
    "proxy1": "STALE SYNCED SYNCED NOT_SENT NOT_SENT",
    "proxy2": "STALE SYNCED STALE SYNCED NOT_SENT",
    "proxy3": "STALE* NOT_SENT STALE* SYNCED NOT_SENT",
    "proxy4": "IGNORED IGNORED IGNORED IGNORED IGNORED",
}
XDS = {
    "four istiods": {
        "proxy1": "STALE SYNCED SYNCED NOT_SENT SYNCED",
        "proxy2": "STALE SYNCED STALE SYNCED STALE",
        "proxy3": "NOT_SENT ERROR STALE NOT_SENT NOT_SENT",
        "proxy4": "IGNORED IGNORED IGNORED IGNORED IGNORED",
    },
    "one istiod, two proxies": {
        "proxy1": "STALE SYNCED SYNCED NOT_SENT NOT_SENT",
        "proxy2": "STALE SYNCED STALE SYNCED NOT_SENT",
    },
    "yaml, one namespace": {
        "proxy1": "STALE SYNCED SYNCED NOT_SENT SYNCED",
        "proxy2": "STALE SYNCED SYNCED NOT_SENT SYNCED",
    },
}
ONE = {"proxy1": "STALE SYNCED SYNCED NOT_SENT SYNCED"}
TYPES = ["CDS", "LDS", "EDS", "RDS", "ECDS"]


def expected(table, proxies):
    return {
        proxy: dict(zip(TYPES, (s.strip("*").replace("_", " ") for s in table[proxy].split()), strict=True))
        for proxy in proxies
    }


@pytest.fixture(scope="module")
def samples():
    if not SAMPLES.exists():
        pytest.skip("istioctl's own samples are not beside this checkout")
    return json.loads(SAMPLES.read_text())


def test_sd_33_istioctls_samples_of_the_http_shape_are_reproduced(samples):
    """SD-33, S10-11: every status istioctl prints for them."""
    for sample in samples["http_shape_release_1_21"]:
        frame = read_syncz(json.dumps(sample["input"]))
        proxies = {row["proxy"] for rows in sample["input"].values() for row in rows}
        if any("cluster_id" not in row for rows in sample["input"].values() for row in rows):
            frame = frame[frame.type != "ECDS"]
        want = expected(HTTP, proxies)
        have = cells(frame)
        assert {p: {t: s for t, s in want[p].items() if t in have[p]} for p in want} == have
        istiods = {row["proxy"]: istiod for istiod, rows in sample["input"].items() for row in rows}
        assert dict(zip(frame.proxy, frame.istiod, strict=True)) == istiods
        never = set(frame[frame.never_acknowledged.fillna(False)][["proxy", "type"]].itertuples(index=False, name=None))
        assert never == {(p, t) for p in proxies for t, s in zip(TYPES, HTTP[p].split(), strict=True) if s == "STALE*"}


def test_sd_18_istioctls_samples_of_the_xds_shape_are_reproduced(samples):
    """SD-18, S10-11: every status, istiod, cluster and version."""
    for sample in samples["xds_shape"]:
        frame = read_syncz(json.dumps(sample["input"]))
        answers = [r for answer in sample["input"].values() for r in answer["resources"]]
        assert cells(frame) == expected(XDS.get(sample["name"], ONE), {r["node"]["id"] for r in answers})
        by_proxy = frame.drop_duplicates("proxy").set_index("proxy")
        for answer in answers:
            row = by_proxy.loc[answer["node"]["id"]]
            assert row.cluster == answer["node"]["metadata"]["CLUSTER_ID"]
            assert row.version == answer["node"]["metadata"]["ISTIO_VERSION"]
            assert row.istiod.startswith("istiod") and row.istiod_version == "1.1"


def test_the_version_of_a_proxy_that_tells_only_its_own_is_starred():
    assert read_syncz('[{"proxy": "a.b", "proxy_version": "1.1"}]').version.unique().tolist() == ["1.1*"]


def test_t1_a_rejected_push_is_an_error_with_envoys_words_and_its_age():
    """T1, S10-11: five states; ERROR carries the text no table of istioctl shows."""
    answer = {
        "resources": [
            {
                "node": {"id": "sidecar~10.0.0.1~a.b~b.svc.cluster.local", "metadata": {"ISTIO_VERSION": "1.26.0"}},
                "genericXdsConfigs": [
                    {
                        "typeUrl": LDS,
                        "configStatus": "ERROR",
                        "lastUpdated": "2026-11-23T09:00:00.123456789Z",
                        "errorState": {
                            "lastUpdateAttempt": "2026-11-23T09:00:01Z",
                            "details": "Error adding/updating listener(s) 0.0.0.0_80: no",
                        },
                    },
                    {"typeUrl": "type.googleapis.com/some.Other"},
                ],
            }
        ]
    }
    frame = read_syncz(json.dumps(answer), now=NOW)
    row = frame.iloc[0]
    assert (row.proxy, row.proxy_type, row.status) == ("a.b", "sidecar", "ERROR")
    assert row.error == "Error adding/updating listener(s) 0.0.0.0_80: no"
    assert row.error_at == datetime(2026, 11, 23, 9, 0, 1, tzinfo=UTC)
    assert row.age_s == pytest.approx(299.876544)
    assert (frame.type[1], frame.status[1]) == ("type.googleapis.com/some.Other", "IGNORED")


def test_the_http_shape_since_1_23_has_every_type_with_time_and_error():
    item = {
        "proxy": "a.b",
        "cluster_id": "Kubernetes",
        "cluster_sent": "1",
        "cluster_acked": "1",
        "resources": {
            CDS: {"sent": "1", "acked": "1", "sentTime": "2026-11-23T09:00:00Z"},
            LDS: {"sent": "2", "acked": "1", "sentTime": "2026-11-23T09:04:00Z", "lastError": "no"},
            "type.googleapis.com/istio.networking.nds.v1.NameTable": {"sent": "3", "sentTime": "0001-01-01T00:00:00Z"},
        },
    }
    frame = read_syncz(json.dumps([item]), istiod="istiod-1", now=NOW).set_index("type")
    assert frame.status.to_dict() == {
        "CDS": "SYNCED",
        "LDS": "ERROR",
        "NDS": "STALE",
        "EDS": "NOT SENT",
        "RDS": "NOT SENT",
        "ECDS": "NOT SENT",
    }
    assert frame.age_s.dropna().to_dict() == {"CDS": 300.0, "LDS": 60.0}
    assert bool(frame.never_acknowledged["NDS"]) and not frame.never_acknowledged["LDS"]
    assert frame.istiod.unique().tolist() == ["istiod-1"]


def test_client_configs_before_1_12_have_a_key_per_type():
    answer = {
        "resources": [
            {
                "node": {"id": "a.b"},
                "xdsConfig": [
                    {"status": "SYNCED", "listenerConfig": {}},
                    {"status": "STALE", "clusterConfig": {}},
                    {"status": "NOT_SENT", "routeConfig": {}},
                ],
            }
        ]
    }
    assert cells(read_syncz(json.dumps(answer))) == {"a.b": {"LDS": "SYNCED", "CDS": "STALE", "RDS": "NOT SENT"}}


def test_yaml_is_read_as_json_is():
    text = 'resources:\n- node: {id: a.b}\n  genericXdsConfigs:\n  - {typeUrl: "x/some.Type", configStatus: SYNCED}\n'
    assert read_proxy_status(text).status.tolist() == ["SYNCED"]


@pytest.mark.parametrize("text", ["[]", "{}", '{"resources": []}', '{"istiod-1": []}'])
def test_an_istiod_without_proxies_gives_no_rows(text):
    assert read_syncz(text).empty


@pytest.mark.parametrize(
    ("text", "position"), [("[7]", "[0]"), ('[{"id": 1}]', "[0]"), ('{"a": 1}', ""), ('[{"proxy"', ""), ("7", "")]
)
def test_what_is_no_sync_status_is_an_error(text, position):
    with pytest.raises(FormatError, match="not a sync status") as caught:
        read_syncz(text, file="syncz.json")
    assert (caught.value.file, caught.value.position) == ("syncz.json", position)
