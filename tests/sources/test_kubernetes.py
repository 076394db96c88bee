"""Reading a cluster over real HTTP, with the faults API servers have."""

from __future__ import annotations

import json
import os
import subprocess
import threading

import pytest
from replay.apiserver import Fault, ReplayApiServer
from replay.pages import PageServer

from meshnb.errors import Forbidden, NotFound, SourceError, SourceTimeout, Unreachable
from meshnb.model.resources import find
from meshnb.sources.kubernetes import Cluster
from meshnb.sources.pod_streams import forward_request, run_in_pod

PODS = [
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p{i}", "namespace": "a" if i % 2 else "b"}}
    for i in range(7)
]
SERVICES = [
    {"apiVersion": "networking.istio.io/v1beta1", "kind": "VirtualService", "metadata": {"name": "v", "namespace": "a"}}
]


@pytest.fixture
def api():
    with ReplayApiServer({"pods": PODS, "virtualservices": SERVICES}) as server:
        yield server


@pytest.fixture
def cluster(api):
    waits = []
    made = Cluster(api.configuration(), name="replay", timeout_s=5, sleep=waits.append)
    made.waits = waits
    return made


def names(pages):
    return [item["metadata"]["name"] for page in pages for item in json.loads(page)["items"]]


def test_a_list_is_paged(api, cluster):
    assert names(cluster.pages(find("pods"), limit=3)) == [f"p{i}" for i in range(7)]
    assert sum("/pods?limit=3" in r for r in api.requests) == 3


def test_a_list_of_one_namespace(cluster):
    assert names(cluster.pages(find("pods"), namespace="a")) == ["p1", "p3", "p5"]


def test_an_expired_continue_token_begins_the_list_anew(api, cluster):
    api.expire_tokens = 1
    assert names(cluster.pages(find("pods"), limit=3)) == [f"p{i}" for i in range(7)]


def test_a_list_that_keeps_expiring_goes_on_with_the_token_offered(api, cluster):
    api.expire_tokens = 2
    assert names(cluster.pages(find("pods"), limit=3)) == [f"p{i}" for i in range(7)]


def test_a_list_that_expires_without_a_new_token_is_an_error(api, cluster):
    api.expire_tokens, api.hide_tokens = 2, True
    with pytest.raises(SourceError, match="changed too fast"):
        names(cluster.pages(find("pods"), limit=3))


def test_a_custom_resource_is_read_in_the_newest_version_served(api, cluster):
    assert names(cluster.pages(find("vs"))) == ["v"]
    assert any(r.startswith("/apis/networking.istio.io/v1beta1/virtualservices") for r in api.requests)


def test_a_kind_the_cluster_does_not_know_is_not_found(cluster):
    with pytest.raises(NotFound, match="does not know wasmplugins"):
        names(cluster.pages(find("wasmplugins")))


def test_a_refusal_says_what_is_missing_and_is_not_tried_again(api, cluster):
    api.faults = [Fault("/pods", status=403, message='pods is forbidden: User "u" cannot list')]
    with pytest.raises(Forbidden, match="cannot list") as caught:
        names(cluster.pages(find("pods")))
    assert "rbac" in caught.value.hint
    assert cluster.waits == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(api, cluster, status):
    api.faults = [Fault("/pods", status=status, times=2)]
    assert len(names(cluster.pages(find("pods")))) == 7
    assert cluster.waits == [0.2, 0.4]


def test_the_server_says_how_long_to_wait(api, cluster):
    api.faults = [Fault("/pods", status=429, times=1, headers={"Retry-After": "3"})]
    assert len(names(cluster.pages(find("pods")))) == 7
    assert cluster.waits == [3.0]


def test_a_server_that_stays_busy_is_an_error(api, cluster):
    api.faults = [Fault("/pods", status=503)]
    with pytest.raises(SourceError, match="HTTP 503"):
        names(cluster.pages(find("pods")))
    assert len(cluster.waits) == 4


def test_an_answer_that_is_cut_is_asked_for_again(api, cluster):
    api.faults = [Fault("/pods", cut=True, times=1)]
    assert len(names(cluster.pages(find("pods")))) == 7


def test_a_server_that_does_not_answer_in_time(api):
    api.faults = [Fault("/pods", hang=threading.Event())]
    slow = Cluster(api.configuration(), timeout_s=0.05, sleep=lambda _: None)
    with pytest.raises(SourceTimeout):
        names(slow.pages(find("pods")))


def test_a_server_that_is_gone_is_unreachable(api):
    configuration = api.configuration()
    configuration.host = "http://127.0.0.1:1"
    with pytest.raises(Unreachable, match="replay"):
        Cluster(configuration, name="replay", sleep=lambda _: None).version()


def test_the_token_is_sent_and_asked_for_anew_each_time(api, cluster):
    calls = []

    def refresh(configuration):
        calls.append(1)
        configuration.api_key = {"authorization": f"Bearer t{len(calls)}"}

    cluster.configuration.refresh_api_key_hook = refresh
    assert cluster.authorization() != cluster.authorization()


def test_access_is_asked_of_the_server(api, cluster):
    api.denied = {("create", "pods/portforward")}
    assert cluster.can("list", "pods") == ""
    assert "RBAC" in cluster.can("create", "pods", subresource="portforward")


def test_logs_of_a_container(api, cluster):
    api.logs[("p1", "a", "app")] = "one\ntwo\nthree\n"
    assert cluster.logs("p1", "a", "app", tail=2) == b"two\nthree\n"
    with pytest.raises(SourceError, match="not valid for pod"):
        cluster.logs("p1", "a", "other")


@pytest.mark.parametrize("size", [10, 100_000, 3_000_000])
def test_a_port_of_a_pod_answers_by_port_forward(api, cluster, size):
    body = b"x" * size
    with PageServer({"/stats": body}) as pages:
        api.backends[("p1", "a", 15000)] = pages.address
        assert forward_request(cluster, "p1", "a", 15000, "/stats?usedonly") == (200, body)
        assert pages.asked == ["GET /stats?usedonly"]
        status, _ = forward_request(cluster, "p1", "a", 15000, "/nothing", method="POST")
        assert status == 404


def test_a_port_nobody_listens_on_is_unreachable(cluster):
    with pytest.raises(Unreachable, match="failed to connect to localhost:15000"):
        forward_request(cluster, "p1", "a", 15000, "/stats")


@pytest.mark.parametrize(("status", "error"), [(403, Forbidden), (404, NotFound), (500, Unreachable)])
def test_a_port_forward_that_is_refused(api, cluster, status, error):
    api.faults = [Fault("/portforward", status=status)]
    with pytest.raises(error):
        forward_request(cluster, "p1", "a", 15000, "/stats")


def test_a_port_forward_whose_handshake_is_not_answered_ends_in_time(api):
    api.faults = [Fault("/portforward", hang=threading.Event())]
    slow = Cluster(api.configuration(), name="replay", timeout_s=0.05)
    with pytest.raises(SourceTimeout, match=r"pods/p1/portforward: no connection in 0\.05 s"):
        forward_request(slow, "p1", "a", 15000, "/stats")


LONG = json.dumps({"configs": list(range(5000))}).encode()


@pytest.mark.parametrize("body", [LONG, LONG[:900]], ids=["chunked", "with its length"])
@pytest.mark.parametrize("after", [0, 40, 600])
def test_a_port_forward_that_breaks_in_the_middle_is_no_answer(api, cluster, body, after):
    api.faults = [Fault("/portforward", after=after)]
    with PageServer({"/config_dump": body}) as pages:
        api.backends[("p1", "a", 15000)] = pages.address
        with pytest.raises(Unreachable, match="p1:15000/config_dump"):
            forward_request(cluster, "p1", "a", 15000, "/config_dump")
        api.faults = []
        assert forward_request(cluster, "p1", "a", 15000, "/config_dump") == (200, body)


@pytest.mark.parametrize("after", [0, 40])
def test_a_command_that_breaks_in_the_middle_is_no_answer(api, cluster, after):
    api.faults = [Fault("/exec", after=after)]
    api.commands[("p1", "a", "pilot-agent")] = lambda command: LONG
    with pytest.raises(Unreachable, match=r"pilot-agent request GET x: the connection ended before|p1: pilot-agent"):
        run_in_pod(cluster, "p1", "a", "istio-proxy", ["pilot-agent", "request", "GET", "x"])
    api.faults = []
    assert run_in_pod(cluster, "p1", "a", "istio-proxy", ["pilot-agent", "request", "GET", "x"]) == LONG


def _certificate(path):
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "replay")])
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin.replace(year=2120))
    builder = builder.add_extension(x509.SubjectAlternativeName(addresses), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(pem + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


def test_port_forward_over_tls_trusts_whom_the_configuration_trusts(tmp_path):
    certificate = _certificate(tmp_path / "server.pem")
    with ReplayApiServer({"pods": PODS}, certificate=certificate) as api, PageServer({"/stats": b"x"}) as pages:
        api.backends[("p1", "a", 15000)] = pages.address

        def cluster(**settings):
            configuration = api.configuration()
            for name, value in settings.items():
                setattr(configuration, name, value)
            return Cluster(configuration, name="replay", timeout_s=20)

        for settings in ({"ssl_ca_cert": str(certificate)}, {"verify_ssl": False}):
            assert forward_request(cluster(**settings), "p1", "a", 15000, "/stats") == (200, b"x")
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            forward_request(cluster(), "p1", "a", 15000, "/stats")
        with pytest.raises(Unreachable, match="not valid for 'other'"):
            other = cluster(ssl_ca_cert=str(certificate), tls_server_name="other")
            forward_request(other, "p1", "a", 15000, "/stats")


def test_a_command_in_a_pod_prints_or_fails_with_its_words(api, cluster):
    api.commands[("p1", "a", "pilot-agent")] = lambda command: " ".join(command).encode()
    assert run_in_pod(cluster, "p1", "a", "istio-proxy", ["pilot-agent", "request", "GET", "stats"]) == (
        b"pilot-agent request GET stats"
    )
    with pytest.raises(SourceError, match="executable file not found"):
        run_in_pod(cluster, "p1", "a", "istio-proxy", ["ss", "-tnlp"])


def test_the_kubeconfig_is_the_official_clients(api, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path / "config")))
    from kubernetes.config import kube_config

    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
    assert Cluster.connect("replay").version() == "v1.29.2"
    with pytest.raises(NotFound, match="no context 'other'"):
        Cluster.connect("other")


def test_kubectl_reads_the_same_server(api, tmp_path):
    import shutil

    if shutil.which("kubectl") is None:
        assert "MESHNB_CI" not in os.environ, "CI installs kubectl"
        pytest.skip("kubectl, the second client, is not installed")
    config = api.kubeconfig(tmp_path / "config")
    command = ["kubectl", f"--kubeconfig={config}", f"--cache-dir={tmp_path}/cache", "get"]

    def get(*arguments):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert get("pods", "-A", "--chunk-size=3", "-o", "name") == [f"pod/p{i}" for i in range(7)]
    assert get("virtualservices", "-n", "a", "-o", "name") == ["virtualservice.networking.istio.io/v"]
