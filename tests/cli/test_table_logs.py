"""`meshnb table` on log files and captures."""

import csv
import io
from pathlib import Path

import pytest

from meshnb.cli import main
from meshnb.model.tables.logs import ACCESS_LOG

DATA = Path(__file__).parents[1] / "data/logs"


@pytest.mark.parametrize("path", [*DATA.glob("access-text-*"), *DATA.glob("slow-*.jsonl")], ids=lambda p: p.stem)
def test_access_log_of_every_sample_as_csv(path, capsys):
    assert main(["table", "access_log", str(path), "-o", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == len(path.read_text().splitlines())
    assert list(rows[0]) == ACCESS_LOG.column_names


def test_foreign_lines_are_told_on_standard_error(tmp_path, capsys):
    path = tmp_path / "x.log"
    path.write_text((DATA / "slow-gateway-access.jsonl").read_text() + "\n2026-11-23T09:03:07.1Z\tinfo\tready\n")
    assert main(["table", "access_log", str(path), "-o", "csv"]) == 0
    assert "left out 1: application log of pilot-agent" in capsys.readouterr().err


def test_debug_log_and_capture(capsys):
    assert main(["table", "debug_log", str(DATA / "gateway-debug-one-slow-request.log"), "-o", "csv"]) == 0
    assert "upstream timeout" in capsys.readouterr().out
    assert main(["table", "tcp_streams", str(DATA / "slow.pcap"), "-o", "csv"]) == 0
    assert "GET /items HTTP/1.1" in capsys.readouterr().out
