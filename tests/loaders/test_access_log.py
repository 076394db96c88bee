"""Reading access logs: Istio's JSON and TEXT as recorded from Envoy, with foreign lines between."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

import meshnb
from meshnb.errors import NotFound, UsageError
from meshnb.loaders.access_log import scan_access_log
from meshnb.model.tables.logs import ACCESS_LOG, SKIPPED_LINES

DATA = Path(__file__).parents[1] / "data/logs"
GATEWAY = DATA / "access-text-istio-ingressgateway-7d9f8c6b5-lab01.log"
SCENARIOS: dict[str, dict[str, list[dict[str, object]]]] = json.loads((DATA / "by-scenario.json").read_text())
RECORDS = [record for pods in SCENARIOS.values() for records in pods.values() for record in records]

TEXT_KEYS = (  # noqa: SIM905
    "method path protocol response_code response_flags response_code_details connection_termination_details "
    "upstream_transport_failure_reason bytes_received bytes_sent duration upstream_service_time x_forwarded_for "
    "user_agent request_id authority upstream_host upstream_cluster upstream_local_address downstream_local_address "
    "downstream_remote_address requested_server_name route_name"
).split()
QUOTED = {
    "upstream_transport_failure_reason", "x_forwarded_for", "user_agent", "request_id", "authority", "upstream_host"
}  # fmt: skip


def as_text(record: dict[str, object]) -> str:
    """The same request as Envoy prints it in Istio's TEXT format."""
    value = {key: "-" if record[key] is None else str(record[key]) for key in TEXT_KEYS}
    request = f'"{value["method"]} {value["path"]} {value["protocol"]}"'
    rest = [f'"{value[key]}"' if key in QUOTED else value[key] for key in TEXT_KEYS[3:]]
    return " ".join([f"[{record['start_time']}]", request, *rest])


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_text_as_recorded_from_envoy():
    """S10-43: the default text format, all fields."""
    log = meshnb.read_access_log(GATEWAY)
    lines = GATEWAY.read_text().splitlines()
    assert len(log) == len(lines)
    assert log.attrs["skipped"] == {}
    timeout = log[log["flag_set"] == "UT"].iloc[0]
    assert timeout.response_code == 504
    assert timeout.response_code_details == "response_timeout"
    assert 495 <= timeout.duration_ms <= 505
    assert list(timeout.response_flags) == ["UT"]
    assert timeout.upstream_cluster == "outbound|80|version-v2|catalog.istioinaction.svc.cluster.local"
    assert pd.isna(timeout.upstream_service_time_ms)
    assert pd.isna(timeout.connection_termination_details)
    first = log.iloc[0]
    assert first.start_time == pd.Timestamp("2026-11-23T09:03:08.730Z")
    assert (first.method, first.path, first.protocol) == ("GET", "/items", "HTTP/1.1")
    assert first.route_name == "catalog-default"


def test_every_recorded_json_line_gives_its_values(tmp_path):
    """S10-45: Istio's JSON format."""
    log = meshnb.read_access_log(write(tmp_path / "log.json", *map(json.dumps, RECORDS)))
    assert len(log) == len(RECORDS)
    assert list(log.columns) == ACCESS_LOG.column_names
    for column, key in [("response_code", "response_code"), ("duration_ms", "duration"), ("path", "path")]:
        assert log[column].astype(object).where(log[column].notna(), None).tolist() == [r[key] for r in RECORDS]
    assert log.response_code_details.tolist() == [r["response_code_details"] for r in RECORDS]
    served = log.upstream_service_time_ms.dropna()
    assert served.tolist() == [int(r["upstream_service_time"]) for r in RECORDS if r["upstream_service_time"]]


def test_same_request_same_row_from_both_encodings(tmp_path):
    as_json = meshnb.read_access_log(write(tmp_path / "a.log", *map(json.dumps, RECORDS)))
    text = meshnb.read_access_log(write(tmp_path / "b.log", *map(as_text, RECORDS)))
    pd.testing.assert_frame_equal(as_json.drop(columns="file"), text.drop(columns="file"))


def test_dtypes_are_those_of_the_frame():
    log = meshnb.read_access_log(GATEWAY)
    pd.testing.assert_series_equal(ACCESS_LOG.conform(log).dtypes, ACCESS_LOG.empty().dtypes)
    assert log.dtypes["start_time"] == ACCESS_LOG.empty().dtypes["start_time"]


def test_flags_are_a_set(tmp_path):
    """T19: `URX,UF` and `UF,URX` are the same; the order written is kept."""
    record = next(r for r in RECORDS if r["response_flags"] == "URX,UF")
    lines = [json.dumps({**record, "response_flags": flags}) for flags in ("URX,UF", "UF,URX", "-")]
    log = meshnb.read_access_log(write(tmp_path / "x.log", *lines))
    assert [list(flags) for flags in log.response_flags] == [["URX", "UF"], ["UF", "URX"], []]
    assert log["flag_set"].tolist()[:2] == ["UF,URX", "UF,URX"]
    assert pd.isna(log["flag_set"][2])


def test_foreign_lines_are_counted_and_listed(tmp_path):
    text, record = as_text(RECORDS[0]), json.dumps(RECORDS[1])
    lines = [
        "2026-11-23T09:03:07.123456Z\tinfo\tEnvoy proxy is ready",
        text,
        "2026-11-23T09:03:14.480850Z\tdebug\tenvoy http source/common/http/a.cc:506\tnew stream\tthread=22077",
        "[2026-11-23 09:03:14.480][22077][warning][config] [source/server.cc:12] something",
        record,
        "",
        record[:100],
        '{"level":"info","msg":"hello"}',
        text[:60],
    ]
    path = write(tmp_path / "istio-proxy.log", *lines)
    log = meshnb.read_access_log(path)
    assert log.line.tolist() == [2, 5]
    skipped = scan_access_log(path).skipped
    assert list(skipped.columns) == SKIPPED_LINES.column_names
    assert dict(zip(skipped.line, skipped.reason, strict=True)) == {
        1: "application log of pilot-agent",
        3: "application log of Envoy",
        4: "application log of Envoy",
        6: "blank line",
        7: "not JSON: cut short or damaged",
        8: "JSON, and no access log line",
        9: "does not match the access log format",
    }
    assert len(log) + len(skipped) == len(lines)
    assert skipped.excerpt[0] == lines[0]
    assert log.attrs["skipped"]["application log of Envoy"] == 2


def test_debug_log_of_a_proxy_holds_no_access_log():
    path = DATA / "gateway-debug-one-slow-request.log"
    log = scan_access_log(path)
    assert len(log.to_pandas()) + len(log.skipped) == len(path.read_text().splitlines())
    assert len(log.to_pandas()) == 0


def test_columns_and_where():
    log = meshnb.read_access_log(GATEWAY, columns=["duration_ms", "flag_set"], where="response_code = 504")
    assert list(log.columns) == ["duration_ms", "flag_set"]
    assert len(log) == GATEWAY.read_text().count(" 504 UT ")


def test_wrong_names_say_what_was_meant():
    with pytest.raises(UsageError, match="did you mean 'duration_ms'"):
        meshnb.read_access_log(GATEWAY, columns=["duration"])
    with pytest.raises(UsageError, match="not an expression over the access log"):
        meshnb.read_access_log(GATEWAY, where="latency > 3")
    with pytest.raises(NotFound, match="no log file at"):
        meshnb.read_access_log(DATA / "none.log")


def test_files_globs_folders_and_gzip_are_the_same(tmp_path):
    packed = tmp_path / "logs/a.log.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(GATEWAY.read_bytes()))
    expected = meshnb.read_access_log(GATEWAY).drop(columns="file")
    for source in (packed, str(tmp_path / "**/*.gz"), tmp_path, [packed, packed]):
        pd.testing.assert_frame_equal(meshnb.read_access_log(source).drop(columns="file"), expected)


def test_extra_keys_become_columns(tmp_path):
    records = [{**RECORDS[0], "trace_id": "abc", "labels": {"a": 1}}, {**RECORDS[1], "trace_id": None}]
    log = meshnb.read_access_log(write(tmp_path / "x.log", *map(json.dumps, records)))
    assert log.trace_id.tolist()[0] == "abc"
    assert pd.isna(log.trace_id[1])
    assert json.loads(log.labels[0]) == {"a": 1}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("wrap", [list, lambda records: {"hits": {"0": records[:1], "1": records[1:]}}])
def test_an_export_of_records_in_one_document_is_read_as_its_lines(tmp_path, wrap, indent):
    path = tmp_path / "export.json"
    path.write_text(json.dumps(wrap(RECORDS), indent=indent))
    as_lines = meshnb.read_access_log(write(tmp_path / "x.log", *map(json.dumps, RECORDS)))
    if indent is None and isinstance(wrap(RECORDS), dict):
        assert meshnb.read_access_log(path).empty, "one line is one line"
        return
    exported = meshnb.read_access_log(path)
    assert exported.file.unique().tolist() == [str(path)] and exported.attrs["skipped"] == {}
    pd.testing.assert_frame_equal(exported.drop(columns="file"), as_lines.drop(columns="file"))


def test_what_stands_beside_the_records_of_an_export_is_told_as_skipped(tmp_path):
    path = tmp_path / "export.json"
    path.write_text(json.dumps({"took": 3, "hits": [*RECORDS, {"message": "Envoy is ready"}, "text", 7]}, indent=1))
    log = meshnb.read_access_log(path)
    assert len(log) == len(RECORDS) and sum(log.attrs["skipped"].values()) == 3


@pytest.mark.parametrize("text", ["[\n", "{\n", '[\n{"a": 1}\n]', "[" * 100_000, '{\n"response_code": 1\n}'])
def test_what_is_no_such_document_stays_lines(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    log = meshnb.read_access_log(tmp_path / "x.json")
    assert log.empty and sum(log.attrs["skipped"].values()) == len(text.splitlines())


def test_a_key_that_comes_later_is_kept_too(tmp_path):
    """A mesh whose format gained a key while the file was written."""
    lines = [json.dumps(r) for r in RECORDS] * 3
    late = json.dumps({**RECORDS[0], "trace_id": "abc"})
    log = meshnb.read_access_log(write(tmp_path / "x.log", *lines, late))
    assert log.trace_id.dropna().tolist() == ["abc"]
    assert len(log) == len(lines) + 1


def test_mesh_reads_the_logs_of_all_proxies(tmp_path):
    from meshnb.sources.snapshot import SnapshotWriter

    with SnapshotWriter(tmp_path / "snapshot", source="test") as writer:
        for path in DATA.glob("access-text-*"):
            pod = path.stem.removeprefix("access-text-")
            proxy = f"{pod}.{'istio-system' if 'gateway' in pod else 'istioinaction'}"
            data = b"2026-11-23T09:03:07.1Z\tinfo\tEnvoy proxy is ready\n" + path.read_bytes()
            writer.add(f"logs/{proxy}/istio-proxy.log", "proxy_log", data, proxy=proxy)
    mesh = meshnb.open(writer.folder)
    log = mesh.access_log()
    assert set(log.proxy) == set(log.pod + "." + log.proxy.str.rpartition(".")[2])
    assert len(set(log.proxy)) == 4
    assert mesh.skipped_lines().reason.tolist() == ["application log of pilot-agent"] * 4
    gateway = "istio-ingressgateway-7d9f8c6b5-lab01.istio-system"
    assert len(mesh.access_log(gateway)) == len(GATEWAY.read_text().splitlines())
    seen = mesh.response_flags(gateway).set_index("flag")
    assert sorted(seen.index) == ["NC", "NR", "UF", "URX", "UT"]
    assert seen.requests["UT"] == GATEWAY.read_text().count(" 504 UT ")
    with pytest.raises(NotFound, match=r"catalog-v2-6c8d9f7b6-aaaa1\.istioinaction"):
        mesh.access_log("nobody")
    second = meshnb.open(writer.folder, window="2026-11-23T09:03:09/1s").access_log()
    assert 0 < len(second) < len(log)
    assert second.start_time.dt.second.eq(9).all()


@pytest.mark.parametrize("where", ["", "response_code >= 500"])
def test_to_parquet_writes_the_same_rows(tmp_path, where):
    """Clean files are copied by DuckDB's own readers, foreign lines the careful way; numbers of lines are kept."""
    lines = (DATA / "access-text-istio-ingressgateway-7d9f8c6b5-lab01.log").read_text()
    (tmp_path / "clean.log").write_text(lines)
    (tmp_path / "mixed.log").write_text("Envoy proxy is ready\n\n" + lines)
    columns = ["file", "line", "start_time", "response_code", "request_id", "flag_set"]
    for name in ("clean.log", "mixed.log"):
        scan = scan_access_log(tmp_path / name).filter(where)
        count = scan.to_parquet(tmp_path / "rows.parquet", columns=columns)
        read = pd.read_parquet(tmp_path / "rows.parquet", dtype_backend="pyarrow")
        rows = scan.to_pandas(columns=columns)
        assert count == len(rows) > 0
        read["start_time"] = read.start_time.dt.tz_localize("UTC")
        assert read.astype(rows.dtypes).equals(rows)
    with pytest.raises(UsageError, match="response_code"):
        scan.to_parquet(tmp_path / "rows.parquet", columns=["respose_code"])
