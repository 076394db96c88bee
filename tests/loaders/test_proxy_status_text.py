"""What `istioctl proxy-status` prints, layout by layout."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from meshnb.errors import FormatError
from meshnb.loaders.proxy_status_text import read_proxy_status, read_sync_status


def statuses(frame):
    return dict(zip(frame.type, frame.status, strict=True))


def test_s10_10_the_layout_up_to_1_6():
    """S10-10: PILOT column, percentage behind EDS."""
    frame = read_proxy_status(
        "NAME                 CDS        LDS        EDS               RDS          PILOT             VERSION\n"
        "catalog-1.default    SYNCED     SYNCED     SYNCED (100%)     NOT SENT     istio-pilot-1     1.4.3\n"
    )
    assert statuses(frame) == {"CDS": "SYNCED", "LDS": "SYNCED", "EDS": "SYNCED", "RDS": "NOT SENT"}
    assert frame.istiod.unique().tolist() == ["istio-pilot-1"]
    assert frame.age_s.isna().all()


def test_s10_10_t1_the_layout_up_to_1_22():
    """S10-10, T1: the suffix (Never Acknowledged), an empty cell, colours and a prompt before the table."""
    frame = read_proxy_status(
        "$ istioctl proxy-status\n"
        "NAME        CLUSTER        CDS                            LDS        EDS        RDS         ECDS         "
        "ISTIOD       VERSION\n"
        "a.b         Kubernetes     STALE (Never Acknowledged)     SYNCED     STALE      SYNCED      NOT SENT     "
        "istiod-1     1.17.8\n"
        "c.d                        SYNCED                         SYNCED     \x1b[31mERROR\x1b[0m      NOT_SENT    "
        "IGNORED      istiod-1     1.17.8\n"
    )
    first, second = frame[frame.proxy == "a.b"], frame[frame.proxy == "c.d"]
    assert statuses(first)["CDS"] == "STALE"
    assert first.set_index("type").never_acknowledged.dropna().to_dict() == {"CDS": True, "EDS": False}
    assert statuses(second) == {"CDS": "SYNCED", "LDS": "SYNCED", "EDS": "ERROR", "RDS": "NOT SENT", "ECDS": "IGNORED"}
    assert second.cluster.isna().all() and set(second.version) == {"1.17.8"}


def test_s10_10_the_layout_since_1_23_has_ages():
    """S10-10: the age in each cell."""
    now = datetime(2026, 11, 23, 9, tzinfo=UTC)
    frame = read_proxy_status(
        "NAME     CLUSTER        CDS               LDS               ISTIOD       VERSION\n"
        "a.b      Kubernetes     SYNCED (5m20s)    STALE (1h2m3s)    istiod-1     1.24.0\n",
        now=now,
    )
    assert frame.age_s.tolist() == [320.0, 3723.0]
    assert frame.last_updated[0] == now - timedelta(seconds=320)


def test_s10_10_the_plain_layout_since_1_27_names_types_without_status():
    """S10-10: what the table does not say is missing, not SYNCED."""
    frame = read_proxy_status(
        "NAME     CLUSTER        ISTIOD       VERSION     SUBSCRIBED TYPES\n"
        "a.b      Kubernetes     istiod-1     1.27.0      4 (CDS,LDS,EDS,RDS)\n"
    )
    assert frame.type.tolist() == ["CDS", "LDS", "EDS", "RDS"]
    assert frame.status.isna().all()


def test_s10_10_json_and_yaml_are_taken_too():
    """S10-10: the same loader reads what `-o json` prints."""
    frame = read_proxy_status(
        '{"resources": [{"node": {"id": "a.b"}, "genericXdsConfigs": [{"configStatus": "STALE"}]}]}'
    )
    assert frame.status.tolist() == ["STALE"]


@pytest.mark.parametrize("text", ["", "no proxies here", "NAME  CDS  LDS\na b c d\n"])
def test_something_else_is_an_error(text):
    with pytest.raises(FormatError):
        read_proxy_status(text, file="status.txt")


def test_s10_10_a_saved_file_is_read_whatever_it_holds(tmp_path):
    """S10-10: one reader for every form, by path, bytes or decoded."""
    import json

    import meshnb

    answer = [{"proxy": "a.b", "cluster_sent": "1", "cluster_acked": "1"}]
    (tmp_path / "syncz.json").write_text(json.dumps(answer))
    (tmp_path / "status.txt").write_text("NAME  CDS  ISTIOD  VERSION\na.b  SYNCED  i  1.17.8\n")
    for source in (tmp_path / "syncz.json", tmp_path / "status.txt", json.dumps(answer).encode()):
        frame = meshnb.read_sync_status(source)
        assert frame[frame.type == "CDS"].status.tolist() == ["SYNCED"]
    assert set(meshnb.read_sync_status(tmp_path / "syncz.json", istiod="istiod-1").istiod) == {"istiod-1"}


def test_sd_19_internal_debug_syncz_of_one_istiod_and_of_all(tmp_path):
    """SD-19: `istioctl x internal-debug syncz` prints an answer of xDS, with --all one for each istiod by its name."""

    def answer(istiod, proxy, status):
        config = {"typeUrl": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "configStatus": status}
        node = {"id": proxy, "metadata": {"CLUSTER_ID": "Kubernetes", "ISTIO_VERSION": "1.27.1"}}
        client = {"@type": "type.googleapis.com/envoy.service.status.v3.ClientConfig", "node": node}
        identifier = json.dumps({"Component": "istiod", "ID": istiod, "Info": {"version": "1.27.1"}})
        return {
            "versionInfo": "x",
            "resources": [{**client, "genericXdsConfigs": [config]}],
            "typeUrl": "istio.io/debug/syncz",
            "controlPlane": {"identifier": identifier},
        }

    one = tmp_path / "one.json"
    one.write_text(json.dumps(answer("istiod-1", "a.n", "SYNCED"), indent=4))
    columns = ["proxy", "istiod", "istiod_version", "type", "status"]
    assert read_sync_status(one)[columns].values.tolist() == [["a.n", "istiod-1", "1.27.1", "CDS", "SYNCED"]]
    every = {"istiod-1": answer("istiod-1", "a.n", "SYNCED"), "istiod-2": answer("istiod-2", "b.n", "STALE")}
    found = read_sync_status(json.dumps(every).encode())
    assert found[["proxy", "istiod", "status"]].values.tolist() == [
        ["a.n", "istiod-1", "SYNCED"],
        ["b.n", "istiod-2", "STALE"],
    ]
