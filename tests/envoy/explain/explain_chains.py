"""Filter chains and listener lookup against a real Envoy: any address and port by PROXY protocol, real ClientHellos."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import ssl
from collections import Counter
from functools import lru_cache
from typing import Any

import explain_oracle as oracle
from explain_differential import Result, free_port

from meshnb.envoy.explain import Config, Request, explain

NAMES = ["example", "a.example", "www.a.example", "x.www.a.example", "b.example", "other", ""]
SERVER_NAMES = ["a.example", "www.a.example", "b.example", "*.example", "*.a.example", "*.www.a.example", "A.example"]
ALPN = ["h2", "http/1.1", "http/1.0", "istio", "istio-peer-exchange", "h2c"]
PORTS = [80, 443, 8080]
V4 = ["10.1.2.3", "10.1.2.4", "10.2.0.1", "127.0.0.1", "127.0.0.2", "192.168.0.1"]
V6 = ["fd00::1", "fd00:1::1", "::1"]
V4_RANGES = [("10.0.0.0", 8), ("10.1.0.0", 16), ("10.1.2.3", 32), ("127.0.0.0", 8), ("10.1.2.9", 24)]
V6_RANGES = [("fd00::", 8), ("fd00:1::", 32), ("::1", 128)]
_NETWORK = f"{oracle.TYPES}extensions.filters.network.direct_response.v3.Config"
_LISTENER = f"{oracle.TYPES}extensions.filters.listener."


def answering(name: str) -> dict:
    """A network filter that answers every connection with a name."""
    return {"name": "answer", "typed_config": {"@type": _NETWORK, "response": {"inline_string": f"<{name}>"}}}


def listener_filter(name: str, **more: Any) -> dict:
    kind = {"proxy_protocol": "ProxyProtocol", "tls_inspector": "TlsInspector", "http_inspector": "HttpInspector"}[name]
    typed = {"@type": f"{_LISTENER}{name}.v3.{kind}"}
    return {"name": f"envoy.filters.listener.{name}", "typed_config": typed, **more}


class ChainGenerator:
    """Makes listeners with chains that Envoy accepts, and connections near their borders."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def _some(self, chance: float, values: list[Any], most: int = 2) -> list[Any]:
        if self.random.random() >= chance:
            return []
        return self.random.sample(values, k=self.random.randint(1, min(most, len(values))))

    def match(self) -> dict[str, Any]:
        ranges = [{"address_prefix": a, "prefix_len": n} for a, n in V4_RANGES + V6_RANGES]
        found: dict[str, Any] = {
            "destination_port": (self._some(0.35, PORTS, 1) or [None])[0],
            "prefix_ranges": self._some(0.35, ranges),
            "server_names": list({name.lower(): name for name in self._some(0.4, SERVER_NAMES)}.values()),
            "transport_protocol": self.random.choice(["", "", "tls", "raw_buffer"]),
            "application_protocols": self._some(0.3, ALPN),
            "direct_source_prefix_ranges": self._some(0.15, ranges, 1),
            "source_type": self.random.choice(["ANY", "ANY", "SAME_IP_OR_LOOPBACK", "EXTERNAL"]),
            "source_prefix_ranges": self._some(0.2, ranges),
            "source_ports": self._some(0.2, [1111, 2222]),
        }
        return {name: value for name, value in found.items() if value not in (None, [], "", "ANY")}

    def listener(self, name: str) -> dict[str, Any]:
        chains: list[dict] = []
        taken: set[tuple] = set()
        for index in range(self.random.randint(2, 14)):
            match = self.match()
            keys = set(_keys(match))
            if keys & taken:
                continue
            taken |= keys
            chains.append(
                {"name": f"chain-{index}", "filter_chain_match": match, "filters": [answering(f"chain-{index}")]}
            )
        filters = [listener_filter("proxy_protocol")]
        disabled = {"destination_port_range": {"start": 443, "end": 8081}}
        for inspector, chance in (("tls_inspector", 0.7), ("http_inspector", 0.5)):
            if self.random.random() < chance:
                more = {"filter_disabled": self._predicate(disabled)} if self.random.random() < 0.2 else {}
                filters.append(listener_filter(inspector, **more))
        found = oracle.listener(name, [], listener_filters=filters, access_log=[oracle.access_log("@LOG@")])
        found["filter_chains"] = chains
        if self.random.random() < 0.25:
            for chain in chains:
                del chain["filter_chain_match"]
            found["filter_chain_matcher"] = self.tree([chain["name"] for chain in chains])
        if self.random.random() < 0.4:
            found["default_filter_chain"] = {"name": "fallback", "filters": [answering("fallback")]}
        return found

    def tree(self, names: list[str], depth: int = 0) -> dict[str, Any]:
        """A matcher tree over the chains."""
        pick = self.random.choice
        kind = pick(
            ["DestinationPort", "ServerName", "TransportProtocol", "SourceType", "ApplicationProtocol", "IP", "list"]
        )
        if kind == "list":
            rules = [{"predicate": self._rule(), "on_match": self._on_match(names, depth)} for _ in range(2)]
            found: dict[str, Any] = {"matcher_list": {"matchers": rules}}
        elif kind == "IP":
            ranges = [
                {
                    "ranges": [{"address_prefix": address, "prefix_len": length}],
                    "on_match": self._on_match(names, depth),
                }
                for address, length in self.random.sample(V4_RANGES + V6_RANGES, k=3)
            ]
            custom = {"@type": "type.googleapis.com/xds.type.matcher.v3.IPMatcher", "range_matchers": ranges}
            field = pick(["DestinationIP", "SourceIP", "DirectSourceIP"])
            tree = {"input": _input(field), "custom_match": {"name": "ip", "typed_config": custom}}
            found = {"matcher_tree": tree}
        else:
            keys = {
                "DestinationPort": ["80", "443", "8080"],
                "ServerName": ["a.example", "www.a.example", "example"],
                "TransportProtocol": ["tls", "raw_buffer"],
                "SourceType": ["local"],
                "ApplicationProtocol": ["'h2'", "'http/1.1'", "'h2','http/1.1'"],
            }[kind]
            form = pick(["exact_match_map", "exact_match_map", "prefix_match_map"])
            answers = {key: self._on_match(names, depth) for key in keys}
            found = {"matcher_tree": {"input": _input(kind), form: {"map": answers}}}
        if self.random.random() < 0.6:
            found["on_no_match"] = self._on_match(names, depth)
        return found

    def _on_match(self, names: list[str], depth: int) -> dict[str, Any]:
        if depth < 2 and self.random.random() < 0.5:
            return {"matcher": self.tree(names, depth + 1)}
        value = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": self.random.choice(names)}
        return {"action": {"name": "chain", "typed_config": value}}

    def _rule(self, depth: int = 0) -> dict[str, Any]:
        kind = self.random.choice(["single", "single", "not", "or", "and"] if depth < 2 else ["single"])
        if kind == "not":
            return {"not_matcher": self._rule(depth + 1)}
        if kind in ("or", "and"):
            return {f"{kind}_matcher": {"predicate": [self._rule(depth + 1), self._rule(depth + 1)]}}
        value = self.random.choice([{"exact": "a.example"}, {"suffix": ".a.example"}, {"prefix": "www"}])
        return {"single_predicate": {"input": _input("ServerName"), "value_match": value}}

    def _predicate(self, port_range: dict) -> dict:
        return self.random.choice(
            [
                port_range,
                {"not_match": port_range},
                {"any_match": True},
                {"or_match": {"rules": [port_range, {"destination_port_range": {"start": 80, "end": 81}}]}},
            ]
        )

    def connection(self) -> Request:
        v6 = self.random.random() < 0.2
        hosts = V6 if v6 else V4
        address = self.random.choice(hosts)
        source = address if self.random.random() < 0.2 else self.random.choice(hosts)
        tls = self.random.random() < 0.6
        alpn = tuple(self.random.sample(ALPN, k=self.random.randint(0, 3))) if tls else ()
        plain = self.random.choice(["HTTP/1.1", "HTTP/1.0", "HTTP/2", "tcp"])
        return Request(
            authority="x",
            address=address,
            port=self.random.choice([*PORTS, 9999]),
            source=source,
            source_port=self.random.choice([1111, 2222, 3333]),
            direct_source="127.0.0.1",
            tls=tls,
            sni=self.random.choice(NAMES) if tls else "",
            alpn=alpn,
            protocol="HTTP/1.1" if plain == "tcp" else plain,
            tcp=plain == "tcp",
        )


def _input(kind: str) -> dict[str, Any]:
    name = f"type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.{kind}Input"
    return {"name": kind, "typed_config": {"@type": name}}


def _keys(match: dict[str, Any]) -> itertools.product:
    """The keys under which Envoy files a chain; two chains may share none."""
    import ipaddress

    def networks(name: str) -> list[str]:
        found = [f"{entry['address_prefix']}/{entry['prefix_len']}" for entry in match.get(name, ())]
        return [str(ipaddress.ip_network(text, strict=False)) for text in found] or [""]

    return itertools.product(
        [match.get("destination_port", 0)],
        networks("prefix_ranges"),
        sorted({name.lower() for name in match.get("server_names", ())}) or [""],
        [match.get("transport_protocol", "")],
        match.get("application_protocols") or [""],
        networks("direct_source_prefix_ranges"),
        [match.get("source_type", "ANY")],
        networks("source_prefix_ranges"),
        match.get("source_ports") or [0],
    )


@lru_cache(maxsize=4096)
def client_hello(sni: str, alpn: tuple[str, ...]) -> bytes:
    """The first bytes a TLS client sends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    out = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=sni or None)
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return out.read()


def first_bytes(request: Request) -> bytes:
    """What the client of a connection sends: the PROXY line, then TLS, HTTP or neither."""
    family = "TCP6" if ":" in request.address else "TCP4"
    line = f"PROXY {family} {request.source} {request.address} {request.source_port} {request.port}\r\n".encode()
    if request.tls:
        return line + client_hello(request.sni, request.alpn)
    if request.tcp:
        return line + b"\x00\x01\x02\x03" * 100
    if request.protocol == "HTTP/2":
        return line + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    return line + f"GET / {request.protocol}\r\nHost: x\r\n\r\n".encode()


def connect(port: int, request: Request) -> str:
    """The name of the chain that answers a connection, empty if it is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(first_bytes(request))
        found = b""
        try:
            while b">" not in found and (data := client.recv(4096)):
                found += data
        except ConnectionError:
            pass
    return found.decode().strip("<>")


def compare_chains(seed: int, *, listeners: int, connections: int) -> Result:
    """Random listeners, random connections: the chain explained must be the chain that answers."""
    generator = ChainGenerator(seed)
    configs = [generator.listener(f"listener-{index}") for index in range(listeners)]
    result = Result(configurations=listeners)
    with oracle.Oracle(configs, []) as envoy:
        ports, indexed = envoy.ports(), Config(envoy.dump)
        for config in configs:
            for _ in range(connections):
                request = generator.connection()
                asked = Request(
                    **{n: getattr(request, n) for n in request.__dataclass_fields__} | {"listener": config["name"]}
                )
                found = explain(indexed, asked)
                actual = connect(ports[config["name"]], request)
                _judge(result, config, request, found, actual)
        flags = Counter((line["code"], line["flags"], line["details"]) for line in envoy.close())
    missed = flags[(0, "NR", "filter_chain_not_found")]
    if missed != result.kinds["filter_chain_not_found"]:
        result.mismatches.append({"filter_chain_not_found": (result.kinds["filter_chain_not_found"], missed)})
    return result


def _judge(result: Result, config: dict, request: Request, found: Any, actual: str) -> None:
    result.requests += 1
    step = found.step("filter chain")
    if step.undecided:
        result.undecided += 1
        return
    expected = step.chosen
    result.kinds["chain" if expected else found.outcome.response_code_details] += 1
    if expected != actual:
        result.mismatches.append(
            {"request": repr(request), "differ": (expected, actual), "because": step.because, "listener": config}
        )


HAND_OFF = [
    ("0.0.0.0", 80, {}), ("10.1.2.3", 80, {}), ("10.1.2.4", 443, {}), ("::", 8080, {}), ("fd00::1", 8080, {}),
    ("0.0.0.0", 8081, {}), ("::", 8082, {"ipv4_compat": True}), ("0.0.0.0", 8083, {}), ("::", 8083, {}),
]  # fmt: skip


def compare_hand_off(seed: int, *, connections: int) -> Result:
    """Redirected traffic: which listener takes a connection that arrives at one with `use_original_dst`."""
    pick = random.Random(seed)
    listeners = [
        {
            "name": f"{address}_{port}",
            "address": {"socket_address": {"address": address, "port_value": port, **more}},
            "bind_to_port": False,
            "filter_chains": [{"filters": [answering(f"{address}_{port}")]}],
        }
        for address, port, more in HAND_OFF
    ]
    arrival = free_port()
    virtual = oracle.listener("virtual", [answering("virtual")], port=arrival, use_original_dst=True)
    virtual["listener_filters"] = [listener_filter("proxy_protocol")]
    result = Result(configurations=1)
    with oracle.Oracle([*listeners, virtual], []) as envoy:
        indexed = Config(envoy.dump)
        for _ in range(connections):
            hosts = pick.choice([V4, V6])
            port = pick.choice([80, 443, 8080, 8081, 8082, 8083, 9])
            request = Request("x", address=pick.choice(hosts), source=pick.choice(hosts), source_port=1, port=port)
            found = explain(indexed, request)
            actual = connect(arrival, request)
            result.requests += 1
            result.kinds[actual] += 1
            if found.steps[0].chosen != actual:
                result.mismatches.append({"request": repr(request), "differ": (found.steps[0].chosen, actual)})
    return result
