"""`meshnb table` on what istioctl and kubectl printed."""

from __future__ import annotations

import pytest

from meshnb.cli import main


def test_s10_10_proxy_status_as_istioctl_prints_it(capsys):
    """S10-10: meshnb table proxy_status --style istioctl."""
    assert main(["table", "proxy_status", "demo", "--style", "istioctl"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:6] == ["NAME", "CLUSTER", "CDS", "LDS", "EDS", "RDS"]
    assert len(lines) == 6 and all("SYNCED" in line for line in lines[1:])


@pytest.mark.parametrize(
    ("table", "text", "shown"),
    [
        ("proxy_status", "NAME  CDS  ISTIOD  VERSION\na.b  STALE  i  1.17.8\n", "STALE"),
        ("listening_ports", "tcp 0 0 127.0.0.1:15000 0.0.0.0:* LISTEN 12/envoy\n", "15000"),
        ("pod_usage", "POD    NAME    CPU(cores)    MEMORY(bytes)\nistiod-1    discovery    3m    51Mi\n", "istiod-1"),
        ("resource_capacity", "NODE    CPU REQUESTS\nn1    10m (1%)\n", "10"),
        ("analysis", "Info [IST0102] (Namespace default) The namespace is not enabled.\n", "NamespaceNotInjected"),
    ],
)
def test_saved_text_is_a_table(tmp_path, capsys, table, text, shown):
    (tmp_path / "saved.txt").write_text(text)
    assert main(["table", table, str(tmp_path / "saved.txt"), "-o", "csv"]) == 0
    assert shown in capsys.readouterr().out
