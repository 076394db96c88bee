"""`meshnb explain`: a dump or a snapshot, text or JSON, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import meshnb
from meshnb.cli import main

DUMP = str(
    Path(meshnb.__file__).parent
    / "demo/missing-subset/envoy/istio-ingressgateway-7d9f8c6b5-lab01.istio-system/config_dump.json"
)
URL = "http://catalog.istioinaction.io/items"


def test_a_dump_is_explained_as_text(capsys):
    assert main(["explain", DUMP, URL]) == 0
    text = capsys.readouterr().out
    assert "virtual host: catalog.istioinaction.io:80" in text
    assert "503 NC cluster_not_found" in text


def test_a_snapshot_is_explained_as_json(capsys):
    assert main(["explain", "demo", URL, "--proxy", "istio-ingressgateway", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["proxy"] == "istio-ingressgateway-7d9f8c6b5-lab01.istio-system"
    assert {outcome["probability"] for outcome in found["outcomes"]} == {0.2, 0.8}
    assert found["undecided"] == []


def test_flags_reach_the_request(capsys):
    flags = [
        "--method",
        "POST",
        "-H",
        "X-User: jason",
        "-H",
        ":authority:other",
        "--port",
        "8080",
        "--source",
        "10.0.0.9",
    ]
    assert main(["explain", DUMP, URL, *flags, "-o", "json"]) == 0
    request = json.loads(capsys.readouterr().out)["request"]
    assert (request["method"], request["authority"], request["port"]) == ("POST", "other", 8080)
    assert (request["headers"], request["source"]) == ({"x-user": "jason"}, "10.0.0.9")


def test_tls_flags(capsys):
    sidecar = DUMP.replace("istio-ingressgateway-7d9f8c6b5-lab01.istio-system", "catalog-5d4f7c9b8-v1aaa.istioinaction")
    arguments = ["explain", sidecar, "http://127.0.40.11:3000/items"]
    assert main(arguments) == 0
    assert "NR filter_chain_not_found" in capsys.readouterr().out
    assert main([*arguments, "--tls", "--sni", "a", "--alpn", "istio"]) == 0
    assert "cluster inbound|3000||" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([DUMP, "catalog"], 64, "not a URL"),
        ([DUMP, "ftp://a/"], 64, "not a URL"),
        ([DUMP, URL, "-H", "x"], 64, "not a header"),
        ([DUMP, URL, "--port", "70000"], 64, "is no port"),
        ([DUMP, URL, "--address", "a.b"], 64, "is no IP address"),
        ([DUMP, URL, "--proxy", "x"], 64, "--proxy is for snapshots"),
        (["demo", URL], 64, "which proxy"),
        (["demo", URL, "--proxy", "nobody"], 69, "no config dump of proxy"),
        (["/nowhere", URL], 69, "/nowhere"),
        ([DUMP.replace("config_dump", "clusters"), URL], 65, "/clusters page"),
        ([DUMP.replace("config_dump.json", "logging.txt"), URL], 65, "logging.txt"),
    ],
)
def test_wrong_use_is_refused_with_its_exit_code(arguments, code, says, capsys):
    assert main(["explain", *arguments]) == code
    assert says in capsys.readouterr().err
