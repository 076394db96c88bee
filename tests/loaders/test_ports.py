"""What components listen on, from netstat and ss."""

from __future__ import annotations

import pytest

from meshnb.checks import registry
from meshnb.errors import FormatError
from meshnb.loaders.ports import read_ports
from meshnb.model.finding import Severity, Status

NETSTAT = """\
Active Internet connections (only servers)
Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name
tcp        0      0 0.0.0.0:15021           0.0.0.0:*               LISTEN      12/envoy
tcp        0      0 0.0.0.0:15090           0.0.0.0:*               LISTEN      12/envoy
tcp        0      0 127.0.0.1:15000         0.0.0.0:*               LISTEN      12/envoy
tcp        0      0 127.0.0.1:15004         0.0.0.0:*               LISTEN      1/pilot-agent
tcp        0      0 0.0.0.0:15001           0.0.0.0:*               LISTEN      12/envoy
tcp        0      0 0.0.0.0:15006           0.0.0.0:*               LISTEN      12/envoy
tcp        0      0 127.0.0.1:15000         127.0.0.1:52040         ESTABLISHED 12/envoy
tcp6       0      0 :::15020                :::*                    LISTEN      1/pilot-agent
tcp6       0      0 :::9080                 :::*                    LISTEN      -
"""

SS = """\
State  Recv-Q Send-Q Local Address:Port  Peer Address:PortProcess
LISTEN 0      4096         0.0.0.0:15021      0.0.0.0:*    users:(("envoy",pid=24,fd=22))
LISTEN 0      4096         0.0.0.0:15090      0.0.0.0:*    users:(("envoy",pid=24,fd=20))
LISTEN 0      4096       127.0.0.1:15000      0.0.0.0:*    users:(("envoy",pid=24,fd=18))
LISTEN 0      4096               *:15020            *:*    users:(("pilot-agent",pid=1,fd=15))
LISTEN 0      4096            [::]:15053         [::]:*    users:(("pilot-agent",pid=1,fd=16))
"""

ISTIOD = """\
State   Recv-Q  Send-Q   Local Address:Port    Peer Address:Port Process
LISTEN  0       4096         127.0.0.1:9876         0.0.0.0:*     users:(("pilot-discovery",pid=1,fd=8))
LISTEN  0       4096                 *:15017              *:*     users:(("pilot-discovery",pid=1,fd=12))
LISTEN  0       4096                 *:15014              *:*     users:(("pilot-discovery",pid=1,fd=9))
LISTEN  0       4096                 *:15012              *:*     users:(("pilot-discovery",pid=1,fd=10))
LISTEN  0       4096                 *:15010              *:*     users:(("pilot-discovery",pid=1,fd=11))
LISTEN  0       4096                 *:8080               *:*     users:(("pilot-discovery",pid=1,fd=3))
"""


def run(code, ports, **tables):
    check = registry.find(code)
    return list(check.function(listening_ports=ports, **tables))


def test_sd_03_sd_05_netstat_in_the_sidecar():
    """SD-03, SD-05: sockets that listen, each with its role."""
    table = read_ports(NETSTAT, proxy="a.n")
    assert table.port.tolist() == [15021, 15090, 15000, 15004, 15001, 15006, 15020, 9080]
    by_port = table.set_index("port")
    assert by_port.loc[15000, "loopback"] and not by_port.loc[15020, "loopback"]
    assert by_port.role.isna().to_dict() == {**dict.fromkeys(by_port.index, False), 9080: True}
    assert by_port.loc[9080, "process"] is not by_port.loc[15000, "process"]
    assert by_port.process.isna()[9080]


def test_sd_04_ss_in_the_sidecar_tells_the_process_of_each_port():
    """SD-04: port, process, and the process that should have it."""
    table = read_ports(SS).set_index("port")
    assert table.process.to_dict() == {
        15021: "envoy",
        15090: "envoy",
        15000: "envoy",
        15020: "pilot-agent",
        15053: "pilot-agent",
    }
    assert (table.process == table.expected_process).all()
    assert table.loc[15053, "protocol"] == "tcp6"


def test_sd_20_sd_24_istiod_has_its_own_ports():
    """SD-20, SD-24: the same parsers, istiod's dictionary."""
    table = read_ports(ISTIOD).set_index("port")
    assert set(table.component) == {"istiod"}
    assert table.loc[15012, "role"] == "xDS and certificates over TLS"
    assert table.loc[9876, "loopback"]


def test_sd_20_without_processes_the_ports_tell_the_component():
    """SD-20: netstat -tnl prints no process."""
    text = "tcp   0   0 127.0.0.1:9876   0.0.0.0:*   LISTEN     \ntcp6  0  0 :::15014  :::*  LISTEN\n"
    assert set(read_ports(text).component) == {"istiod"}


def test_something_else_is_an_error_and_no_sockets_are_none():
    with pytest.raises(FormatError, match="neither netstat nor ss"):
        read_ports("command not found", file="ports.txt")
    assert read_ports("State  Recv-Q Send-Q Local Address:Port  Peer Address:Port\n").empty


def test_sd_06_admin_ports_on_loopback_pass_and_others_fail():
    """SD-06: 15000 and 15004 on 127.0.0.1 only."""
    (finding,) = run("MNB0403", read_ports(NETSTAT, proxy="a.n"))
    assert finding.status is Status.PASS
    wide = NETSTAT.replace("127.0.0.1:15000         0.0", "0.0.0.0:15000         0.0")
    (finding,) = run("MNB0403", read_ports(wide, proxy="a.n"))
    assert (finding.severity, str(finding.subject)) == (Severity.ERROR, "Pod n/a")
    assert "15000" in finding.summary


def test_sd_05_a_missing_and_a_taken_port_are_found():
    """SD-04, SD-05: nobody, or the wrong process."""
    taken = SS.replace('*:15020            *:*    users:(("pilot-agent"', '*:15020            *:*    users:(("python3"')
    lines = [line for line in taken.splitlines() if "15090" not in line]
    found = run("MNB0404", read_ports("\n".join(lines), proxy="a.n"))
    assert [f.severity for f in found] == [Severity.ERROR, Severity.WARNING]
    assert "python3 listens there" in found[0].summary and "15090" in found[1].summary
    (passed,) = run("MNB0404", read_ports(SS, proxy="a.n"))
    assert passed.status is Status.PASS


def test_ports_of_no_component_are_unknown():
    (finding,) = run("MNB0404", read_ports("tcp 0 0 0.0.0.0:80 0.0.0.0:* LISTEN\n"))
    assert finding.status is Status.UNKNOWN


def istiods(plaintext=True):
    from meshnb.loaders.pod_settings import istiods_table

    args = ["discovery"] if plaintext else ["discovery", "--grpcAddr="]
    container = {"name": "discovery", "args": args}
    meta = {"name": "istiod-1", "namespace": "istio-system", "labels": {"app": "istiod"}}
    return istiods_table([{"kind": "Pod", "metadata": meta, "spec": {"containers": [container]}}])


def test_sd_24_plaintext_xds_is_a_warning_seen_in_sockets_or_told_by_arguments():
    """SD-24: port 15010."""
    ports = read_ports(ISTIOD, proxy="istiod-1.istio-system")
    (seen,) = run("MNB0405", ports, istiods=istiods())
    assert (seen.severity, seen.confidence) == (Severity.WARNING, 1.0)
    (told,) = run("MNB0405", None, istiods=istiods())
    assert told.confidence < 1.0
    (closed,) = run("MNB0405", None, istiods=istiods(plaintext=False))
    assert closed.status is Status.PASS
    (none,) = run("MNB0405", None, istiods=istiods().iloc[:0])
    assert none.status is Status.UNKNOWN
