"""Random valid route configurations, and requests near the borders of their decisions; same seed, same cases."""

from __future__ import annotations

import random
import re
from typing import Any

from meshnb.envoy.explain import Request

HOSTS = ["a.example", "b.example", "www.a.example", "x.www.a.example", "example", "a.b.example", "shop", "a.other"]
DOMAINS = [
    *HOSTS, "*.example", "*.a.example", "*-b.example", "*a.example", "*.www.a.example", "a.*", "www.*", "a.b.*", "sh*",
    "a.example:80", "b.example:8080", "*.example:80", "a.example:*", "A.Example", "WWW.A.EXAMPLE", "[::1]", "[::1]:80",
    "a.example.", "10.0.0.1", "10.0.0.1:80", "*",
]  # fmt: skip
PATHS = [
    "/", "/a", "/a/", "/a/b", "/a/b/c", "/items", "/items/", "/items/1", "/items/12/x", "/Items", "/ITEMS/7", "/itemsx",
    "/a.b", "/a;v=1", "/a;v=1/b", "/items;x", "/%61", "/a%2Fb", "/a%2fb", "/a//b", "//a", "/a/./b", "/a/../items",
    "/a/%2e%2e/items", "/a b".replace(" ", "%20"), "/a/b/", "/ab", "/aab", "/aaab", "/x-1_y~z", "/items/123/x",
    "/a\\b", "/items/1/../2",
]  # fmt: skip
REGEXES = [
    ".*", "/.*", "/items/[0-9]+", "/items(/.*)?", "/(a|b)/.*", "(?i)/items", "(?i:/ITEMS)/\\d+", "/a.*", "/[^/]+/b",
    "/a{2,3}b", "/items/\\d{1,3}/x?", "/\\w+", "^/a$", "/a|/b", "/items/[[:digit:]]+", "/.?", "/a/b/?", "\\/a\\.b", "",
    "/\\pL+", "(/[a-z]+)+", "/items/\\d+\\b.*", "/a[^a]b",
]  # fmt: skip
HEADER_NAMES = ["x-a", "x-b", "x-n", ":method", "user-agent", "host", ":authority", ":path", "x-missing", "cookie"]
VALUES = ["", "1", "0", "7", "10", "-3", "abc", "ABC", "abcd", "xabc", "a", "a,b", "9223372036854775808", "5 ", "1.5"]
QUERIES = ["", "?", "?q=1", "?q=2", "?q", "?q=", "?q=1&q=2", "?Q=1", "?p=abc", "?p=ABC&q=1", "?q=%31", "?&q=1"]
TIMEOUTS = {
    "timeout": ["0s", "3s", "0.250s", "100s"],
    "max_grpc_timeout": ["0s", "2s", "60s"],
    "grpc_timeout_offset": ["0.5s", "5s"],
    "max_stream_duration": [
        {"max_stream_duration": "0s"},
        {"grpc_timeout_header_max": "0s"},
        {"max_stream_duration": "9s"},
    ],
}
METHODS = ["GET", "GET", "GET", "POST", "HEAD", "OPTIONS", "PUT"]


class Generator:
    """Makes configurations and requests.

    Args:
        seed: same seed, same cases.
        clusters: names of clusters routes may use.
    """

    def __init__(self, seed: int, *, clusters: list[str]) -> None:
        self.random = random.Random(seed)
        self.clusters = clusters

    def _maybe(self, chance: float) -> bool:
        return self.random.random() < chance

    def string_match(self, values: list[str]) -> dict[str, Any]:
        pick = self.random.choice
        value = pick([v for v in values if v] or ["a"])
        kind = pick(["exact", "exact", "prefix", "suffix", "contains", "safe_regex"])
        if kind == "safe_regex":
            regexes = ["[0-9]+", "a.*", "(?i)abc", "-?\\d+", ".+", "a|b", value_regex(value)]
            return {"safe_regex": {"regex": pick(regexes)}}
        cut = self.random.randint(1, len(value))
        part = {"exact": value, "prefix": value[:cut], "suffix": value[-cut:], "contains": value[:cut]}[kind]
        return {kind: part, **({"ignore_case": True} if self._maybe(0.3) else {})}

    def header_match(self) -> dict[str, Any]:
        pick = self.random.choice
        name = pick(HEADER_NAMES)
        values = {
            ":method": METHODS, "host": HOSTS, ":authority": HOSTS, ":path": PATHS[:9],
        }.get(name, VALUES)  # fmt: skip
        kind = pick(["string", "string", "string", "range", "present", "absent", "old"])
        match: dict[str, Any] = {"name": name}
        if kind == "string":
            match["string_match"] = self.string_match(values)
        elif kind == "range":
            start = self.random.randint(-5, 10)
            match["range_match"] = {"start": start, "end": start + self.random.randint(1, 10)}
        elif kind in ("present", "absent"):
            match["present_match"] = kind == "present"
        elif self._maybe(0.8):
            old = pick(["exact_match", "prefix_match", "suffix_match", "contains_match", "safe_regex_match"])
            value = pick([v for v in values if v])
            match[old] = {"regex": value_regex(value)} if old == "safe_regex_match" else value
        if self._maybe(0.25):
            match["invert_match"] = True
        if self._maybe(0.25):
            match["treat_missing_header_as_empty"] = True
        return match

    def query_match(self) -> dict[str, Any]:
        match: dict[str, Any] = {"name": self.random.choice(["q", "p", "Q", "x", "none"])}
        kind = self.random.choice(["string", "string", "present", "absent", "bare"])
        if kind == "string":
            match["string_match"] = self.string_match(["1", "2", "abc", "%31", "a=b"])
        elif kind != "bare":
            match["present_match"] = kind == "present"
        return match

    def path_match(self) -> dict[str, Any]:
        pick = self.random.choice
        kind = pick(["prefix", "prefix", "prefix", "path", "path", "path_separated_prefix", "safe_regex", "connect"])
        match: dict[str, Any]
        if kind == "safe_regex":
            match = {"safe_regex": {"regex": pick(REGEXES) or ".*"}}
        elif kind == "connect":
            match = {"connect_matcher": {}}
        elif kind == "path_separated_prefix":
            match = {kind: pick([p for p in PATHS if not p.endswith("/") and "?" not in p])}
        else:
            match = {kind: pick([*PATHS, ""] if kind == "prefix" else PATHS)}
        if self._maybe(0.25):
            match["case_sensitive"] = self._maybe(0.3)
        return match

    def route(self, host: int, index: int, *, catch_all: bool) -> dict[str, Any]:
        match = {"prefix": "/"} if catch_all else self.path_match()
        if not catch_all:
            if self._maybe(0.4):
                match["headers"] = [self.header_match() for _ in range(self.random.randint(1, 2))]
            if self._maybe(0.2):
                match["query_parameters"] = [self.query_match()]
            if self._maybe(0.05):
                match["grpc"] = {}
            if self._maybe(0.1):
                denominator = self.random.choice(["HUNDRED", "TEN_THOUSAND", "MILLION"])
                full = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}[denominator]
                default = {"numerator": self.random.choice([0, full, full]), "denominator": denominator}
                match["runtime_fraction"] = {"default_value": default}
                if self._maybe(0.3):
                    match["runtime_fraction"]["runtime_key"] = self.random.choice(["on", "off", "unset"])
        return {"name": f"{host}/{index}", "match": match, **self.action(match)}

    def action(self, match: dict[str, Any]) -> dict[str, Any]:
        kind = self.random.choice(["cluster", "cluster", "weighted", "header", "direct", "redirect", "redirect"])
        if kind == "direct":
            return {"direct_response": {"status": self.random.choice([200, 201, 204, 302, 404, 418, 503])}}
        if kind == "redirect":
            return {"redirect": self.redirect(match)}
        action: dict[str, Any] = {}
        pick = self.random.choice
        if kind == "cluster":
            action["cluster"] = pick(self.clusters)
        elif kind == "header":
            action["cluster_header"] = pick(["x-cluster", "X-Cluster", "x-a"])
        else:
            count = self.random.randint(1, 3)
            weights = [self.random.choice([0, 1, 10, 33, 100]) for _ in range(count)]
            weights[0] = weights[0] or 1
            entries = [{"name": pick(self.clusters), "weight": weight} for weight in weights]
            if self._maybe(0.3):
                entries[0]["host_rewrite_literal"] = "weighted.example"
            action["weighted_clusters"] = {"clusters": entries, "header_name": "x-random"}
        if self._maybe(0.1):
            action["cluster_not_found_response_code"] = pick(["NOT_FOUND", "INTERNAL_SERVER_ERROR"])
        for name, values in TIMEOUTS.items():
            if self._maybe(0.25):
                action[name] = pick(values)
        rewrite = pick(["", "", "prefix", "regex"])
        if rewrite == "prefix" and "connect_matcher" not in match:
            action["prefix_rewrite"] = pick(["/new", "/", "/new/", "/x/y"])
        elif rewrite == "regex" and "connect_matcher" not in match:
            action["regex_rewrite"] = self.regex_rewrite()
        host = pick(["", "", "", "literal", "header", "path"])
        if host == "literal":
            action["host_rewrite_literal"] = "rewritten.example"
        elif host == "header":
            action["host_rewrite_header"] = pick(["x-a", "x-missing"])
        elif host == "path":
            action["host_rewrite_path_regex"] = {
                "pattern": {"regex": "^/([a-z]+).*$"},
                "substitution": "\\1.example",
            }
        return {"route": action}

    def regex_rewrite(self) -> dict[str, Any]:
        regex, substitution = self.random.choice(
            [("/a", "/z"), ("^/(\\w+)/(\\w+)", "/\\2/\\1"), ("[0-9]*", "n"), ("/items", "/\\0"), ("(a)|(b)", "[\\1]")]
        )
        return {"pattern": {"regex": regex}, "substitution": substitution}

    def redirect(self, match: dict[str, Any]) -> dict[str, Any]:
        pick = self.random.choice
        redirect: dict[str, Any] = {}
        scheme = pick(["", "https", "scheme", "same"])
        if scheme == "https":
            redirect["https_redirect"] = True
        elif scheme:
            redirect["scheme_redirect"] = {"scheme": "ftp", "same": "http"}[scheme]
        if self._maybe(0.4):
            redirect["host_redirect"] = pick(["to.example", "to.example:1"])
        if self._maybe(0.3):
            redirect["port_redirect"] = pick([80, 443, 8443])
        path = pick(["", "path", "prefix", "regex"])
        if path == "path":
            redirect["path_redirect"] = pick(["/there", "/there?z=1", "/there?"])
        elif path == "prefix" and "connect_matcher" not in match:
            redirect["prefix_rewrite"] = pick(["/new", "/", "/new/"])
        elif path == "regex":
            redirect["regex_rewrite"] = self.regex_rewrite()
        if self._maybe(0.3):
            redirect["strip_query"] = True
        if self._maybe(0.5):
            redirect["response_code"] = pick(["FOUND", "SEE_OTHER", "TEMPORARY_REDIRECT", "PERMANENT_REDIRECT"])
        return redirect

    def route_config(self) -> dict[str, Any]:
        """A route configuration with disjoint domains."""
        domains = list({domain.lower(): domain for domain in self.random.sample(DOMAINS, k=len(DOMAINS))}.values())
        hosts = []
        for index in range(self.random.randint(1, 6)):
            mine = [domains.pop() for _ in range(self.random.randint(1, 3)) if domains]
            routes = [self.route(index, n, catch_all=False) for n in range(self.random.randint(1, 6))]
            if self._maybe(0.4):
                routes.append(self.route(index, len(routes), catch_all=True))
            host = {"name": f"host-{index}", "domains": mine, "routes": routes}
            if self._maybe(0.05):
                host["require_tls"] = "ALL"
            hosts.append(host)
        config: dict[str, Any] = {"name": "routes", "virtual_hosts": hosts}
        if self._maybe(0.3):
            config["ignore_port_in_host_matching"] = True
        if self._maybe(0.2):
            config["ignore_path_parameters_in_path_matching"] = True
        return config

    def manager_options(self) -> dict[str, Any]:
        """Options of the connection manager."""
        options: dict[str, Any] = {"generate_request_id": False}
        port = self.random.choice(["", "", "strip_any_host_port", "strip_matching_host_port"])
        if port:
            options[port] = True
        for name, chance in (("normalize_path", 0.4), ("merge_slashes", 0.3), ("strip_trailing_host_dot", 0.3)):
            if self._maybe(chance):
                options[name] = True
        if self._maybe(0.4):
            options["path_with_escaped_slashes_action"] = self.random.choice(
                ["KEEP_UNCHANGED", "REJECT_REQUEST", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD"]
            )
        if self._maybe(0.3):
            options["upgrade_configs"] = [{"upgrade_type": self.random.choice(["CONNECT", "websocket"])}]
        return options

    def request(self, config: dict[str, Any], port: int) -> Request:
        """A request near a decision: shaped after one route, then changed a little."""
        host = self.random.choice(config["virtual_hosts"])
        route = self.random.choice(host["routes"])
        headers: list[tuple[str, str]] = []
        path = self._near_path(route["match"])
        method = "CONNECT" if "connect_matcher" in route["match"] and self._maybe(0.3) else self.random.choice(METHODS)
        query = self.random.choice(QUERIES) if self._maybe(0.5) else ""
        for matcher in route["match"].get("headers", ()):
            if self._maybe(0.8):
                method, path = self._near_header(matcher, headers, method, path)
        for matcher in route["match"].get("query_parameters", ()):
            if self._maybe(0.7):
                query = f"?{matcher['name']}={self._near_value(matcher.get('string_match', {}))}"
        for name in ("x-a", "x-b", "x-n"):
            if self._maybe(0.15):
                headers.append((name, self.random.choice(VALUES).strip()))
        if self._maybe(0.5):
            headers.append(("x-random", str(self.random.choice([0, 1, 9, 33, 50, 99, 100, 2**64 - 1, 2**64, "x"]))))
        else:
            headers.append(("x-random", str(self.random.randint(0, 300))))
        if self._maybe(0.5):
            headers.append(("x-cluster", self.random.choice([*self.clusters, "gone"])))
        if "grpc" in route["match"] and self._maybe(0.8):
            kinds = ["application/grpc", "application/grpc+proto", "application/grpc-web", "application/grpcx"]
            headers.append(("content-type", self.random.choice(kinds)))
        if self._maybe(0.3):
            kinds = ["application/grpc", "application/grpc+proto", "application/json"]
            headers.append(("content-type", self.random.choice(kinds)))
            headers.append(
                ("grpc-timeout", self.random.choice(["1S", "1500m", "1M", "1500001u", "123456789S", "x", "3"]))
            )
        if self._maybe(0.05):
            headers.append(("x-forwarded-proto", self.random.choice(["https", "http"])))
        if method in ("POST", "PUT"):
            headers.append(("content-length", "0"))
        authority = self._near_host(host["domains"], port)
        if method == "CONNECT":
            if not re.search(r"^[^:\[\]]+:[0-9]+$", authority):
                host = re.split(r"[:\[]", authority)[0] or "shop"
                authority = f"{host}:{self.random.choice([80, 8080, port])}"
            return Request(authority, "/", method, tuple(headers), address="127.0.0.1", port=port)
        return Request(authority, path + query, method, tuple(headers), address="127.0.0.1", port=port)

    def _near_host(self, domains: list[str], port: int) -> str:
        host = self.random.choice(domains) if self._maybe(0.7) else self.random.choice(HOSTS)
        host = host.replace("*", self.random.choice(["", "x", "a", "www.a", "x.y"]), 1)
        host = host or self.random.choice(HOSTS)
        change = self.random.random()
        if change < 0.25 and not host.endswith("]") and ":" not in host:
            host += self.random.choice([":80", ":8080", f":{port}", ":", ":08080"])
        elif change < 0.32:
            host = host.upper()
        elif change < 0.38:
            host = "x." + host
        elif change < 0.42:
            host += "."
        elif change < 0.45:
            host = host[:-1] or host
        return host

    def _near_path(self, match: dict[str, Any]) -> str:
        base = next((match[k] for k in ("prefix", "path", "path_separated_prefix") if k in match), "")
        if not base or self._maybe(0.2):
            base = self.random.choice(PATHS)
        change = self.random.random()
        if change < 0.15:
            base += self.random.choice(["/", "x", "/x", ";p=1", "//", "/..", "/."])
        elif change < 0.22:
            base = base.swapcase()
        elif change < 0.28:
            base = base[:-1] or "/"
        elif change < 0.32:
            base = base.replace("/", "//", 1)
        elif change < 0.35:
            base = base.replace("/", self.random.choice(["%2F", "%5c", "/%2e/"]))
        return base if base.startswith("/") else "/" + base

    def _near_header(
        self, matcher: dict[str, Any], headers: list[tuple[str, str]], method: str, path: str
    ) -> tuple[str, str]:
        name = matcher["name"]
        if "range_match" in matcher:
            edges = matcher["range_match"]
            value = str(self.random.choice([edges["start"], edges["end"], edges["start"] - 1, edges["end"] - 1]))
        else:
            value = self._near_value(matcher.get("string_match", {}))
        if name == ":method":
            return (value if value in METHODS else method), path
        if name.startswith(":") or name == "host":
            return method, path
        if self._maybe(0.9):
            headers.append((name, value))
            if self._maybe(0.1):
                headers.append((name, self.random.choice(["b", "1"])))
        return method, path

    def _near_value(self, matcher: dict[str, Any]) -> str:
        value = next((matcher[k] for k in ("exact", "prefix", "suffix", "contains") if k in matcher), None)
        if value is None:
            value = self.random.choice(VALUES)
        change = self.random.random()
        if change < 0.15:
            value += "x"
        elif change < 0.3:
            value = "x" + value
        elif change < 0.4:
            value = value.swapcase()
        return value.strip().replace(" ", "")


def value_regex(value: str) -> str:
    """A regex that matches a value and a little more."""
    return "".join(f"\\{char}" if char in ".\\+*?()|[]{}^$" else char for char in value) + ".?"
