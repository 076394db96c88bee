"""`meshnb explain SOURCE URL`: what Envoy does with one request, step by step."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshnb.cli import CLEAN, _output
from meshnb.errors import UsageError

if TYPE_CHECKING:
    from meshnb.envoy.explain import Explanation


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "explain",
        help="say which listener, route, cluster and endpoints a request takes, and why",
        description="Say what Envoy does with one request: what is chosen at each step, and what loses by which "
        "comparison. What a dump cannot decide is reported as undecided.",
    )
    parser.add_argument("source", metavar="SOURCE", help="a config dump (GET /config_dump?include_eds) or a snapshot")
    parser.add_argument("url", metavar="URL", help="http://host/path, https://host/path, or tcp://address:port")
    parser.add_argument("--proxy", default="", metavar="POD.NAMESPACE", help="proxy of a snapshot, or how it begins")
    parser.add_argument("--method", default="GET", metavar="METHOD", help="HTTP method (default GET)")
    parser.add_argument(
        "-H", "--header", action="append", default=[], metavar="NAME:VALUE", help="request header; may be repeated"
    )
    parser.add_argument("--port", type=int, metavar="PORT", help="destination port, if not that of the URL")
    parser.add_argument("--address", default="", metavar="IP", help="destination IP")
    parser.add_argument("--listener", default="", metavar="NAME", help="listener to start at")
    parser.add_argument("--tls", action=argparse.BooleanOptionalAction, help="client speaks TLS (default: for https)")
    parser.add_argument("--sni", metavar="NAME", help="server name in TLS (default: the host)")
    parser.add_argument("--alpn", metavar="A,B", help="protocols offered in TLS (default: h2,http/1.1)")
    parser.add_argument("--source", dest="client", default="", metavar="IP", help="IP of the client")
    parser.add_argument("--principal", metavar="ID", help="identity in the client's certificate (spiffe://…)")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="text (default) or json")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the explanation."""
    found = _explain(arguments)
    if arguments.output == "json":
        _output.put(json.dumps(found.to_dict(), indent=1, ensure_ascii=False) + "\n")
    else:
        _output.put(f"{found}\n")
    return CLEAN


def _explain(arguments: argparse.Namespace) -> Explanation:
    from meshnb.envoy.explain import Config, Request, explain

    request = Request.to(
        arguments.url,
        method=arguments.method,
        headers=_headers(arguments.header),
        port=arguments.port,
        **_known(arguments),
    )
    path = Path(arguments.source).expanduser()
    if path.is_file() and not _is_archive(path):
        from meshnb.loaders.config_json import read_config_json

        if arguments.proxy:
            raise UsageError("--proxy is for snapshots; a config dump is of one proxy")
        return explain(Config(read_config_json(path), name=str(path)), request)
    from meshnb.runbook.mesh import open as open_mesh

    return open_mesh(arguments.source).explain(request, proxy=arguments.proxy)


def _is_archive(path: Path) -> bool:
    return path.name.endswith((".tar", ".tar.gz", ".tgz"))


def _headers(given: list[str]) -> list[tuple[str, str]]:
    found = []
    for text in given:
        name, colon, value = text.partition(":") if not text.startswith(":") else text[1:].partition(":")
        if not colon or not name.strip():
            raise UsageError(f"not a header: {text!r}", hint="give it as -H 'x-user: jason'")
        found.append((f":{name}" if text.startswith(":") else name.strip(), value.strip()))
    return found


def _known(arguments: argparse.Namespace) -> dict[str, Any]:
    known: dict[str, Any] = {
        "address": arguments.address,
        "listener": arguments.listener,
        "source": arguments.client,
        "principal": arguments.principal,
    }
    if arguments.tls is not None:
        known["tls"] = arguments.tls
    if arguments.sni is not None:
        known["sni"] = arguments.sni
    if arguments.alpn is not None:
        known["alpn"] = tuple(part for part in arguments.alpn.split(",") if part)
    return known
