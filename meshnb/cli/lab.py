"""`meshnb lab`: a real mesh on this machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshnb.lab.lab import Change
    from meshnb.lab.plan import LabHome


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `lab` and its commands."""
    lab = commands.add_parser("lab", help="a real mesh on this machine: real Envoys, no root, no cluster")
    actions = lab.add_subparsers(dest="action", metavar="ACTION", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--home", help="folder of the lab; default $MESHNB_LAB_HOME, else one per subnet in the cache")
    shared.add_argument("--subnet", default="127.0.40", help="first three numbers of its addresses (127.0.40)")

    def add(name: str, run: object, text: str) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=text, description=text, parents=[shared])
        parser.set_defaults(run=run)
        return parser

    up = add("up", _up, "start it")
    up.add_argument("--log-format", choices=("json", "text"), default="json", help="encoding of access logs (json)")
    up.add_argument("--stats", choices=("istio", "all"), default="istio", help="metrics to keep: as Istio, or all")
    up.add_argument("--no-prometheus", action="store_true", help="start without Prometheus")
    up.add_argument("--debounce-after", default="100ms", metavar="T", help="quiet time before a push (100ms)")
    up.add_argument("--debounce-max", default="10s", metavar="T", help="longest wait for quiet (10s)")
    up.add_argument(
        "--eds-debounce",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="changes of endpoints alone wait too (yes)",
    )
    up.add_argument("--push-throttle", type=int, default=100, metavar="N", help="proxies served at once (100)")
    add("status", _status, "what runs where")
    traffic = add("traffic", _traffic, "send a bounded number of requests to the gateway")
    traffic.add_argument("--requests", type=int, default=100, metavar="N", help="how many (100)")
    traffic.add_argument("--rate", type=float, default=20.0, metavar="N", help="requests per second (20)")
    traffic.add_argument("--host", default="catalog.istioinaction.io", help="host asked for")
    traffic.add_argument("--path", default="/items", help="path asked for (/items)")
    traffic.add_argument("--method", default="GET", help="method (GET)")
    traffic.add_argument("--timeout", type=float, default=15.0, metavar="S", help="give up after S seconds (15)")
    add("scenarios", _scenarios, "ways to break it, with what is then seen")
    add("break", _break, "break it in a known way").add_argument("scenario", metavar="SCENARIO")
    add("heal", _heal, "make it healthy again")
    add("apply", _apply, "change Istio objects and wait for the proxies' answers").add_argument("file", metavar="FILE")
    load = add("load", _load, "apply so many Services, Gateways and VirtualServices, and measure the pushes")
    load.add_argument("--count", type=int, default=10, metavar="N", help="how many of each (10)")
    load.add_argument("--delay", default="0s", metavar="T", help="time between two, such as 2.5s (none)")
    load.add_argument("--start", type=int, default=0, metavar="N", help="number of the first (0)")
    load.add_argument("--keep", action="store_true", help="leave them there; otherwise they are deleted afterwards")
    capture = add("capture", _capture, "write a snapshot")
    capture.add_argument("folder", metavar="DIR")
    capture.add_argument("--whole-log", action="store_true", help="all of the logs, not only since the last change")
    corpus = add(
        "corpus", _corpus, "record a labelled corpus: every scenario and mixtures, with the cause of each request"
    )
    corpus.add_argument("--out", required=True, metavar="DIR", help="a new or empty folder")
    corpus.add_argument("--seed", type=int, default=0, metavar="N", help="decides paths, clients, rates, shares (0)")
    corpus.add_argument("--requests", type=int, default=80, metavar="N", help="about how many per case (80)")
    add("down", _down, "stop it")
    add("prometheus", _prometheus, "fetch Debian's Prometheus and unpack it in the cache, without root")


def _home(arguments: argparse.Namespace) -> LabHome:
    from meshnb.lab.plan import LabHome

    return LabHome.of(arguments.home, subnet=arguments.subnet)


def _seconds(text: str, option: str) -> float:
    from meshnb.errors import LabError, UsageError
    from meshnb.lab.xds.common import duration

    try:
        return float(duration(text, where=option)[:-1])
    except LabError as error:
        raise UsageError(error.message, hint=error.hint) from error


def _up(arguments: argparse.Namespace) -> int:
    from meshnb.lab.lab import up

    home = _home(arguments)
    started = up(
        home,
        subnet=arguments.subnet,
        log_format=arguments.log_format,
        stats=arguments.stats,
        prometheus=not arguments.no_prometheus,
        debounce_after_s=_seconds(arguments.debounce_after, "--debounce-after"),
        debounce_max_s=_seconds(arguments.debounce_max, "--debounce-max"),
        eds_debounce=arguments.eds_debounce,
        push_throttle=arguments.push_throttle,
    )
    print("The lab is ready." if started else "The lab already runs.")
    _print_status(home)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    _print_status(_home(arguments))
    return 0


def _print_status(home: LabHome) -> None:
    from meshnb.lab.status import ports, status

    now = status(home)
    if not now.running:
        print(f"No lab runs in {home.root}. Start one: meshnb lab up")
        return
    width = max(len(part.name) for part in now.parts)
    for part in now.parts:
        print(
            f"  {part.name:{width}}  {part.where:22} {part.state:10} {f'pid {part.pid}' if part.pid else ''}".rstrip()
        )
    plan = home.load_plan()
    print(f"Envoy {plan.envoy_version}; access logs in {plan.log_format.upper()}; state in {home.root}")
    for what, where in ports(plan).items():
        print(f"{what}: {where}")
    print(f"Broken: {'nothing' if now.scenario == 'healthy' else now.scenario}")
    for line in now.missing:
        print(f"Missing: {line}")


def _traffic(arguments: argparse.Namespace) -> int:
    from meshnb.errors import UsageError
    from meshnb.lab.traffic import traffic

    if arguments.requests < 0 or arguments.rate <= 0:
        raise UsageError("--requests must not be negative and --rate must be above 0")
    print(
        traffic(
            _home(arguments),
            requests=arguments.requests,
            rate=arguments.rate,
            host=arguments.host,
            path=arguments.path,
            method=arguments.method,
            timeout=arguments.timeout,
        )
    )
    return 0


def _scenarios(arguments: argparse.Namespace) -> int:
    from meshnb.lab.scenarios import SCENARIOS

    for scenario in SCENARIOS.values():
        print(scenario.name)
        print(f"  broken:  {scenario.broken}")
        for side, outcomes in (("gateway", scenario.gateway), ("sidecar", scenario.sidecar)):
            print(f"  {side}: {' or '.join(outcomes) or 'no failure'}")
        if scenario.shows:
            print(f"  shows:   {scenario.shows}")
    return 0


def _break(arguments: argparse.Namespace) -> int:
    from meshnb.lab.lab import break_
    from meshnb.lab.scenarios import find_scenario

    scenario = find_scenario(arguments.scenario)
    change = break_(scenario.name, _home(arguments))
    print(f"Broken: {scenario.broken}.")
    _print_change(change)
    options = "".join(f" --{name} {value:g}" for name, value in scenario.traffic.items())
    print(f"See it: meshnb lab traffic{options}")
    return 0


def _heal(arguments: argparse.Namespace) -> int:
    from meshnb.lab.lab import heal

    _print_change(heal(_home(arguments)))
    return 0


def _apply(arguments: argparse.Namespace) -> int:
    from meshnb.lab.lab import apply

    _print_change(apply(arguments.file, _home(arguments)))
    return 0


def _load(arguments: argparse.Namespace) -> int:
    from meshnb.lab.load import load
    from meshnb.lab.world import parse
    from meshnb.tuning import load_yaml

    delay_s = _seconds(arguments.delay, "--delay")
    objects = parse(load_yaml(arguments.count, start=arguments.start), file="load")
    print(load(objects, _home(arguments), delay_s=delay_s, keep=arguments.keep))
    return 0


def _print_change(change: Change) -> None:
    for name in change.changed:
        print(f"changed {name}")
    if not change.changed:
        print("no object changed")
    for proxy, types in change.proxies.items():
        print(f"  {proxy}: {', '.join(f'{kind} {answer}' for kind, answer in types.items())}")
    for error in change.errors:
        print(f"  refused: {error}")


def _capture(arguments: argparse.Namespace) -> int:
    from meshnb.lab.capture import capture
    from meshnb.runbook.prometheus import record_from

    snapshot = capture(arguments.folder, _home(arguments), whole_log=arguments.whole_log, recorder=record_from)
    print(f"{len(snapshot.documents())} documents in {arguments.folder}")
    for document in snapshot.failed():
        print(f"missing {document.path}: {document.error}")
    return 0


def _corpus(arguments: argparse.Namespace) -> int:
    from meshnb.lab.corpus import record_corpus

    home = _home(arguments)
    for case in record_corpus(arguments.out, home, seed=arguments.seed, requests=arguments.requests):
        print(f"{case.name}: {case.requests} requests; {', '.join(f'{k} {n}' for k, n in case.causes.items())}")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    from meshnb.lab.lab import down

    print("The lab is stopped." if down(_home(arguments)) else "No lab ran.")
    return 0


def _prometheus(arguments: argparse.Namespace) -> int:
    from meshnb.lab.prometheus import fetch_prometheus

    print(fetch_prometheus())
    return 0
