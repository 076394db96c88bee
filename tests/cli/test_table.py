"""`meshnb table`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from meshnb.cli import main

DATA = Path(__file__).parents[1] / "data" / "envoy"
DUMP = str(DATA / "odd-config_dump.json")
GATEWAY = "istio-ingressgateway-7d9f8c6b5-lab01.istio-system"


def out(capsys, *words):
    assert main(["table", *words]) == 0
    return capsys.readouterr().out


def test_csv_has_all_columns_and_lists_as_json(capsys):
    rows = list(csv.DictReader(io.StringIO(out(capsys, "endpoints", str(DATA / "odd-clusters.txt"), "-o", "csv"))))
    assert len(rows) == 4
    assert json.loads(rows[0]["health_flags"]) == ["failed_active_hc"]
    assert rows[0]["workload"] == ""


def test_json_is_a_list_of_objects(capsys):
    rows = json.loads(out(capsys, "clusters", DUMP, "-o", "json", "--fqdn", "odd"))
    assert [row["cluster"] for row in rows] == ["outbound|80|v1|odd.shop.svc.cluster.local"]
    assert rows[0]["dynamic"] is False
    assert rows[0]["last_updated"].endswith("+00:00")
    assert rows[0]["sni"] is None


def test_markdown_and_columns(capsys):
    text = out(capsys, "clusters", DUMP, "-o", "md", "--columns", "port,cluster", "--subset", "v1")
    assert text.splitlines() == [
        "| port | cluster |",
        "| --- | --- |",
        "| 80 | outbound\\|80\\|v1\\|odd.shop.svc.cluster.local |",
    ]


def test_parquet_to_a_file(capsys, tmp_path):
    import pyarrow.parquet as pq

    file = tmp_path / "endpoints.parquet"
    out(capsys, "endpoints", DUMP, "-o", "parquet", "--to", str(file))
    table = pq.read_table(file)
    assert table.num_rows == 4
    assert table.schema.field("port").type == "int64"


def test_s10_31_a_table_of_a_snapshot(capsys):
    text = out(capsys, "clusters", "demo", "--proxy", GATEWAY, "--subset", "version-v1", "--columns", "subset,fqdn")
    assert text.splitlines()[1].split() == ["version-v1", "catalog.istioinaction.svc.cluster.local"]
    broken = out(capsys, "clusters", "demo/missing-subset", "--subset", "version-v1", "-o", "csv")
    assert len(broken.splitlines()) == 1


def test_istioctls_style_of_a_file_a_page_and_a_snapshot(capsys):
    text = out(capsys, "clusters", DUMP, "--style", "istioctl", "--fqdn", "odd", "--port", "80")
    assert text.splitlines()[1].split() == ["odd.shop.svc.cluster.local", "80", "v1", "outbound", "STATIC", "odd.shop"]
    page = out(capsys, "endpoints", str(DATA / "odd-clusters.json"), "--style", "istioctl", "--status", "HEALTHY")
    assert page.startswith("ENDPOINT ")
    demo = out(capsys, "all", "demo", "--style", "istioctl", "--proxy", GATEWAY, "--with-headers")
    assert "------ ROUTE INFO ------" in demo
    assert "route/http.8080" in demo
    short = out(capsys, "listeners", DUMP, "--style", "istioctl", "--no-verbose")
    assert short.startswith("ADDRESSES PORT TYPE\n")
    assert json.loads(out(capsys, "clusters", DUMP, "--style", "istioctl", "-o", "json"))


def test_authorization_rules_whole_and_as_istioctl_counts_them(capsys, tmp_path):
    policies = {"ns[shop]-policy[no-admin]-rule[0]": {"permissions": [{"any": True}], "principals": [{"any": True}]}}
    rbac = {"name": "envoy.filters.network.rbac", "typed_config": {"rules": {"action": "DENY", "policies": policies}}}
    listener = {"name": "tcp", "filter_chains": [{"filters": [rbac]}]}
    kind = "type.googleapis.com/envoy.admin.v3.ListenersConfigDump"
    section = {"@type": kind, "dynamic_listeners": [{"name": "tcp", "active_state": {"listener": listener}}]}
    file = tmp_path / "dump.json"
    file.write_text(json.dumps({"configs": [section]}))
    (row,) = json.loads(out(capsys, "authz", str(file), "-o", "json"))
    assert (row["layer"], row["action"], row["policy"], row["namespace"]) == ("TCP", "DENY", "no-admin", "shop")
    text = out(capsys, "authz", str(file), "--style", "istioctl")
    assert text.splitlines()[1].split() == ["DENY", "no-admin.shop", "1"]


def test_days_left_at_a_time(capsys):
    words = ("secrets", str(DATA / "gateway-config_dump.json"), "-o", "json", "--at", "2026-11-24T08:29:34Z")
    assert json.loads(out(capsys, *words))[0]["days_left"] == 0


def test_standard_input(capsys, monkeypatch):
    class Stdin:
        buffer = io.BytesIO(Path(DUMP).read_bytes())

    monkeypatch.setattr("sys.stdin", Stdin)
    assert len(json.loads(out(capsys, "clusters", "-", "-o", "json"))) == 7


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["cluster", DUMP], 64, "did you mean 'clusters'"),
        (["clusters", "demo", "--columns", "subst"], 64, "did you mean 'subset'"),
        (["clusters", DUMP, "--workload", "a"], 64, "no filter --workload"),
        (["clusters", DUMP, "-o", "yaml"], 64, "needs --style"),
        (["clusters", DUMP, "-o", "csv", "--style", "istioctl"], 64, "no output 'csv'"),
        (["clusters", "demo", "--style", "istioctl"], 64, "one proxy"),
        (["clusters", "demo", "--proxy", "nobody.shop"], 64, "no proxy"),
        (["secrets", DUMP, "--at", "tomorrow"], 64, "not a time"),
        (["clusters", str(DATA / "odd-clusters.json")], 65, "a /clusters page"),
        (["clusters", "nowhere.json"], 69, "no file"),
    ],
)
def test_wrong_usage_and_input(capsys, words, code, says):
    assert main(["table", *words]) == code
    assert says in capsys.readouterr().err


def test_foreign_lines_are_told(capsys, tmp_path):
    page = tmp_path / "page.txt"
    page.write_bytes(b"Defaulted container\n" + (DATA / "odd-clusters.txt").read_bytes())
    assert main(["table", "endpoints", str(page)]) == 0
    assert "1 lines were not of this kind" in capsys.readouterr().err


def test_source_and_table_in_the_wrong_order_are_told_apart(capsys):
    assert main(["table", "demo", "routes"]) == 64
    assert "the table comes first" in (said := capsys.readouterr().err) and "meshnb table routes demo" in said
