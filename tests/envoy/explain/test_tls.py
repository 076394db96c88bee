"""TLS handshakes against a real Envoy: SNI and ALPN choose the chain, and both sides may speak past each other."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl

import explain_oracle as oracle
import pytest

from meshnb.envoy.explain import Config, Request, explain

pytestmark = pytest.mark.lab

TLS = f"{oracle.TYPES}extensions.transport_sockets.tls.v3.DownstreamTlsContext"
INSPECTOR = {
    "name": "envoy.filters.listener.tls_inspector",
    "typed_config": {"@type": f"{oracle.TYPES}extensions.filters.listener.tls_inspector.v3.TlsInspector"},
}


@pytest.fixture(scope="module")
def certificate() -> dict:
    """A self-signed certificate, as Envoy's inline strings."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a.example")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "certificate_chain": {"inline_string": built.public_bytes(serialization.Encoding.PEM).decode()},
        "private_key": {"inline_string": secret.decode()},
    }


def chain(name: str, match: dict, certificate: dict | None) -> dict:
    route = {"name": name, "match": {"prefix": "/"}, "direct_response": {"status": 200}}
    table = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}
    found = {
        "name": name,
        "filter_chain_match": match,
        "filters": [oracle.manager(table, "@LOG@", delayed_close_timeout="0.1s")],
    }
    if certificate:
        context = {"tls_certificates": [certificate], "alpn_protocols": ["h2", "http/1.1", "istio"]}
        found["transport_socket"] = {"name": "tls", "typed_config": {"@type": TLS, "common_tls_context": context}}
    return found


CASES = [
    ("chains", True, "a.example", ("http/1.1",)),
    ("chains", True, "b.a.example", ("http/1.1",)),
    ("chains", True, "b.a.example", ("istio", "http/1.1")),
    ("chains", True, "other", ()),
    ("chains", True, "", ()),
    ("chains", False, "", ()),
    ("tls-only", False, "", ()),
    ("tls-any", True, "a.example", ()),
    ("plain-only", True, "a.example", ()),
    ("plain-only", False, "", ()),
    ("inspected", False, "", ()),
]


@pytest.fixture(scope="module")
def judged(certificate):
    chains = [
        chain("exact", {"server_names": ["a.example"], "transport_protocol": "tls"}, certificate),
        chain("wild", {"server_names": ["*.a.example"]}, certificate),
        chain("wild-istio", {"server_names": ["*.a.example"], "application_protocols": ["istio"]}, certificate),
        chain("any-tls", {"transport_protocol": "tls"}, certificate),
        chain("plain", {}, None),
    ]
    # A listener's own log has a line for every connection; only here no request comes to be logged.
    log = {"access_log": [oracle.access_log("@LOG@")]}
    listeners = {
        "chains": {"filter_chains": chains, "listener_filters": [INSPECTOR]},
        "tls-only": {"filter_chains": [chain("any", {}, certificate)], **log},
        "tls-any": {"filter_chains": [chain("any", {}, certificate)]},
        "plain-only": {"filter_chains": [chain("any", {}, None)]},
        "inspected": {"filter_chains": chains[:1], "listener_filters": [INSPECTOR], **log},
    }
    with oracle.Oracle([{**oracle.listener(name, []), **more} for name, more in listeners.items()], []) as envoy:
        ports, config = envoy.ports(), Config(envoy.dump)
        for name, tls, sni, alpn in CASES:
            call(ports[name], tls=tls, sni=sni, alpn=alpn)
        lines = envoy.close()
    logged = {name: [line for line in lines if str(line["port"]) == str(port)] for name, port in ports.items()}
    found = []
    for name, tls, sni, alpn in CASES:
        request = Request("a", tls=tls, sni=sni, alpn=alpn, scheme="https" if tls else "http", listener=name)
        found.append((name, explain(config, request), logged[name].pop(0)))
    return found


def call(port: int, *, tls: bool, sni: str, alpn: tuple[str, ...]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        client = context.wrap_socket(plain, server_hostname=sni or None) if tls else plain
        with client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            while client.recv(4096):
                pass


@pytest.mark.parametrize("case", range(len(CASES)))
def test_the_chain_that_serves_a_connection_is_the_one_explained(judged, case):
    name, found, line = judged[case]
    assert not found.undecided
    outcome = found.outcome
    logged = (line["code"], line["flags"] or "-", line["route"] or "")
    assert logged == (outcome.response_code, outcome.response_flags, outcome.route), f"{name}\n{found}\n{line}"
    assert (line["details"] or "") == outcome.response_code_details
