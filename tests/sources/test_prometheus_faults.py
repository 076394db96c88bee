"""`PrometheusApi` against servers that misbehave, on loopback."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

import meshnb
from meshnb.errors import Forbidden, FormatError, SourceTimeout, Unreachable, UsageError
from meshnb.model.window import Window
from meshnb.runbook.prometheus import Prometheus
from meshnb.sources.prometheus import PrometheusApi

ONE = {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "1"]}]}}
T0 = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


class Asked:
    """One request as the server saw it."""

    def __init__(self, handler: BaseHTTPRequestHandler, number: int) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0))).decode()
        query = handler.path.partition("?")[2] or body
        self.params = {name: values[0] for name, values in parse_qs(query).items()}
        self.headers, self.method, self.number = handler.headers, handler.command, number


@contextmanager
def server(answer: Callable[[Asked], tuple], *, tls: ssl.SSLContext | None = None):
    """Serve `answer(asked) → (status, body or dict, headers)`; yields the URL and the list of requests."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(Asked(self, len(asked)))
            status, body, *headers = answer(asked[-1])
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            if status is None:  # hang up
                self.connection.close()
                return
            self.send_response_only(status)
            sent = {
                "Content-Type": "application/json",
                "Content-Length": str(len(data)),
                **(headers[0] if headers else {}),
            }
            for name, value in sent.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_: object) -> None: ...

        def handle(self) -> None:
            with suppress(OSError, ValueError):
                super().handle()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        if tls:
            http.socket = tls.wrap_socket(http.socket, server_side=True)
        http.handle_error = lambda *_: None  # a client that leaves is part of the test
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{http.server_port}", asked
        finally:
            http.shutdown()
            thread.join()


def api(url: str, **options) -> PrometheusApi:
    return PrometheusApi(url, **({"backoff": 0.0, "timeout": 5.0} | options))


def test_nothing_listens():
    with server(lambda _: (200, ONE)) as (url, _):
        pass
    with pytest.raises(Unreachable, match="refused"):
        api(url, retries=1).query("up")


@pytest.mark.parametrize(("status", "text"), [(401, "who you are"), (403, "refuses these credentials")])
def test_credentials_are_refused(status, text):
    with server(lambda _: (status, b"no")) as (url, asked):
        with pytest.raises(Forbidden, match=text) as caught:
            api(url).query("up")
        assert "token_file=" in caught.value.hint
        assert len(asked) == 1


def test_a_login_page_answers():
    page = b"<!doctype html><html><head><title>Sign in &amp; go</title></head></html>"
    said = r"HTML page answered instead of Prometheus: 'Sign in & go' \(HTTP 200\)"
    html = {"Content-Type": "text/html"}
    with server(lambda _: (200, page, html)) as (url, _), pytest.raises(FormatError, match=said):
        api(url).query("up")


def test_a_proxy_says_503_for_a_while():
    page = b"<html><title>503 Service Temporarily Unavailable</title></html>"

    def answer(asked):
        return (503, page, {"Content-Type": "text/html"}) if asked.number < 2 else (200, ONE)

    with server(answer) as (url, asked):
        api(url).query("up")
        assert len(asked) == 3
    with server(lambda _: (503, page, {"Content-Type": "text/html"})) as (url, asked):
        with pytest.raises(Unreachable, match="503"):
            api(url, retries=2).query("up")
        assert len(asked) == 3


def test_it_goes_away_midway_and_comes_back():
    with server(lambda asked: (None, b"") if asked.number == 0 else (200, ONE)) as (url, asked):
        api(url).query("up")
        assert len(asked) == 2


def test_it_goes_away_midway_through_a_range():
    matrix = {"status": "success", "data": {"resultType": "matrix", "result": []}}

    def answer(asked):
        return (200, matrix) if asked.number == 0 else (None, b"")

    with server(answer) as (url, asked):
        parts = api(url, max_points=10, retries=1).query_range("up", T0, T0 + timedelta(minutes=5), 15)
        next(parts)
        with pytest.raises(Unreachable):
            next(parts)
        assert len(asked) == 3


def test_promql_error_is_not_repeated():
    body = {"status": "error", "errorType": "bad_data", "error": 'invalid parameter "query": 1:4: parse error: oh'}
    with server(lambda _: (400, body)) as (url, asked):
        with pytest.raises(UsageError, match="line 1, column 4: parse error: oh"):
            api(url).query("sum(")
        assert len(asked) == 1


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (503, "timeout", "query timed out in expression evaluation"),
        (422, "execution", "query processing would load too many samples into memory in query execution"),
        (422, "execution", "the query time range exceeds the limit (query length: 721h, limit: 24h)"),
    ],
)
def test_a_query_that_is_too_much_is_halved_not_repeated(status, kind, error):
    """Any range of more than 25 points is refused; 100 points come as 25 + 25 + 25 + 25."""

    def answer(asked):
        low, high = float(asked.params["start"]), float(asked.params["end"])
        if (high - low) / 15 + 1 > 25:
            return status, {"status": "error", "errorType": kind, "error": error}
        points = [[low + 15 * i, "1"] for i in range(round((high - low) / 15) + 1)]
        result = [{"metric": {"a": "b"}, "values": points}]
        return 200, {"status": "success", "data": {"resultType": "matrix", "result": result}}

    with server(answer) as (url, asked):
        prometheus = Prometheus(url, backoff=0.0)
        frame = prometheus.query_range("up", T0, T0 + timedelta(seconds=99 * 15), 15)
        assert frame["time"].diff().dropna().unique().tolist() == [timedelta(seconds=15)]
        assert len(frame) == 100
        assert len(asked) == 7  # 1 of 100, 2 of 50, 4 of 25 points


def test_a_point_that_is_too_much_ends_the_halving():
    body = {"status": "error", "errorType": "timeout", "error": "query timed out"}
    with server(lambda _: (503, body)) as (url, asked):
        with pytest.raises(SourceTimeout, match="timed out"):
            list(api(url).query_range("up", T0, T0 + timedelta(minutes=1), 15))
        assert len(asked) == 4  # 5 points, 3, 2, 1: the first single point decides


def test_no_answer_in_time():
    wait = threading.Event()
    with server(lambda _: (wait.wait(10) and None, b"")) as (url, _):
        try:
            with pytest.raises(SourceTimeout, match=r"did not answer within 0.2 s"):
                api(url, timeout=0.2).query("up")
        finally:
            wait.set()


def test_cut_short():
    whole = json.dumps(ONE).encode()
    with server(lambda _: (200, whole[:40])) as (url, _), pytest.raises(FormatError, match="not whole JSON"):
        api(url).query("up")


def test_warnings_and_infos_are_kept():
    body = ONE | {
        "warnings": ["partial response: store 2 is down"],
        "infos": ["PromQL info: metric might not be a counter"],
    }
    with server(lambda _: (200, body)) as (url, _):
        attrs = Prometheus(url).query("up").attrs
        assert attrs["warnings"] == ["partial response: store 2 is down"]
        assert attrs["infos"] == ["PromQL info: metric might not be a counter"]


def test_a_clock_that_is_off_is_said():
    with server(lambda _: (200, ONE, {"Date": "Mon, 23 Nov 2020 09:00:00 GMT"})) as (url, _):
        (warning,) = Prometheus(url).query("up").attrs["warnings"]
        assert "clock is -" in warning


def test_a_token_file_is_read_for_each_request(tmp_path):
    file = tmp_path / "token"
    with server(lambda _: (200, ONE)) as (url, asked):
        client = api(url, token_file=file)
        for token in ("first", "second\n"):
            file.write_text(token)
            client.query("up")
        assert [one.headers["Authorization"] for one in asked] == ["Bearer first", "Bearer second"]
        file.unlink()
        with pytest.raises(UsageError, match="cannot be read"):
            client.query("up")


def test_basic_authentication_token_and_tenant():
    with server(lambda _: (200, ONE)) as (url, asked):
        api(url, user=("me", "secret"), headers={"X-Scope-OrgID": "team-a"}).query("up")
        api(url, token="abc").query("up")
        assert asked[0].headers["Authorization"].startswith("Basic ")
        assert asked[0].headers["X-Scope-OrgID"] == "team-a"
        assert asked[1].headers["Authorization"] == "Bearer abc"
    with pytest.raises(UsageError, match="more than one"):
        api(url, token="a", user=("b", "c"))


def test_post_is_refused_then_get_is_used():
    def answer(asked):
        return (405, b"") if asked.method == "POST" else (200, ONE)

    with server(answer) as (url, asked):
        client = api(url)
        client.query("up")
        client.query("up")
        assert [one.method for one in asked] == ["POST", "GET", "GET"]


def _certificate(folder) -> tuple[str, str]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    import ipaddress

    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *plain))
    return str(folder / "cert.pem"), str(folder / "key.pem")


def test_self_signed_tls_and_mutual_tls(tmp_path):
    cert, key = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(cert)
    context.verify_mode = ssl.CERT_REQUIRED
    with server(lambda _: (200, ONE), tls=context) as (url, _):
        with pytest.raises(Unreachable, match=r"not trusted[\s\S]*ca=FILE"):
            api(url, retries=0).query("up")
        assert b"success" in api(url, ca=cert, cert=(cert, key)).query("up")


def test_not_a_url():
    with pytest.raises(UsageError, match="not the URL"):
        PrometheusApi("localhost:9090")


MATRIX = {"status": "success", "data": {"resultType": "matrix", "result": []}}
TARGETS = {"status": "success", "data": {"activeTargets": []}}


def answered(asked: Asked) -> tuple:
    """What a Prometheus without any series says."""
    return 200, MATRIX if "start" in asked.params else ONE if "query" in asked.params else TARGETS


def recorded(url: str, folder: Path, **options) -> tuple[dict[str, str], list[str]]:
    """Reason by name of each query that failed, and the lines of progress."""
    said: list[str] = []
    client = Prometheus(url, **({"backoff": 0.0, "timeout": 5.0, "retries": 0} | options))
    snapshot = client.record(folder, window=Window(T0, T0 + timedelta(minutes=5)), step=15, progress=said.append)
    frame = meshnb.open(snapshot.root).recorded_queries().dropna(subset=["error"])
    return dict(zip(frame["name"], frame["error"], strict=True)), said


def test_a_server_that_hangs_from_the_start_costs_one_question(tmp_path):
    wait = threading.Event()
    with server(lambda _: (wait.wait(20) and None, b"")) as (url, asked):
        try:
            with pytest.raises(SourceTimeout, match=r"within 0.2 s"):
                recorded(url, tmp_path / "s", timeout=0.2)
        finally:
            wait.set()
        assert len(asked) == 1
    assert not (tmp_path / "s").exists()


def test_a_server_that_hangs_midway_is_not_asked_again(tmp_path):
    """What it answered before is kept; of the rest it is said that it was not asked, and why."""
    wait = threading.Event()

    def answer(asked):
        return answered(asked) if asked.number < 7 else (wait.wait(20) and None, b"")

    with server(answer) as (url, asked):
        try:
            failed, said = recorded(url, tmp_path / "s", timeout=0.3)
        finally:
            wait.set()
        # the query that hung, and the probe after it
        assert len(asked) in (9, 10)
    total = len(meshnb.open(tmp_path / "s").recorded_queries())
    assert len(failed) == total - 4
    assert sum(reason.startswith("not asked: ") for reason in failed.values()) == total - 5
    assert said[0] == f"query 1 of {total}: convergence_p50"
    assert said[-1].startswith("no further query: ") and "did not answer within 0.3 s" in said[-1]


def test_a_server_that_goes_away_midway_leaves_what_it_said(tmp_path):
    with server(lambda asked: answered(asked) if asked.number < 7 else (None, b"")) as (url, _):
        failed, _ = recorded(url, tmp_path / "s")
    mesh = meshnb.open(tmp_path / "s")
    assert "convergence_p50" not in failed and "rejects" in failed
    assert set(mesh.control_plane()["verdict"]) == {"unknown"}
    assert "cannot be reached" in mesh.missing_series().df["why"].iloc[-1]


def test_after_three_queries_that_are_too_much_no_more_are_asked(tmp_path):
    """The server answers small questions, but every query of the catalogue takes it too long."""
    late = {"status": "error", "errorType": "timeout", "error": "query timed out in expression evaluation"}

    def answer(asked):
        return (503, late) if asked.params.get("query", "1") != "1" else answered(asked)

    with server(answer) as (url, _):
        failed, said = recorded(url, tmp_path / "s")
    assert "3 queries in a row failed" in said[-1]
    reasons = list(failed.values())
    assert all("too much" in reason for reason in reasons[:3])
    assert all(reason.startswith("not asked: 3 queries in a row") for reason in reasons[3:])


def test_a_query_that_is_wrong_does_not_count(tmp_path):
    bad = {"status": "error", "errorType": "bad_data", "error": "parse error: oh"}

    def answer(asked):
        return answered(asked) if asked.params.get("query", "1") == "1" or "start" not in asked.params else (400, bad)

    with server(answer) as (url, _):
        failed, said = recorded(url, tmp_path / "s")
    assert not any(reason.startswith("not asked") for reason in failed.values())
    assert said[-1].startswith(f"query {len(said)} of {len(said)}: ")


def test_a_slow_query_is_halved_twice_and_no_more():
    """A server that answers, but not this query: three times its timeout, not once for every point."""
    wait = threading.Event()
    with server(lambda asked: answered(asked) if "start" not in asked.params else (wait.wait(20), b"")) as (url, asked):
        try:
            with pytest.raises(SourceTimeout):
                list(api(url, timeout=0.2).query_range("up", T0, T0 + timedelta(hours=1), 15))
        finally:
            wait.set()
        assert sum("start" in one.params for one in asked) == 3
