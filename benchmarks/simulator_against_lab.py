"""The simulator against a control plane that really debounces, queues and pushes to real Envoys: the lab's.

    meshnb lab up --debounce-after 500ms --debounce-max 2s --push-throttle 1
    python benchmarks/simulator_against_lab.py http://127.0.40.2:15014 --debounce-after 0.5 --debounce-max 2 \
        --push-throttle 1 [--json]

Changes VirtualServices in four patterns, takes pushes, debounce, queue and convergence from the lab's metrics, and runs
the same times through `meshnb.tuning.simulate`. What a push costs is `pilot_xds_push_time`, the building and sending
alone: convergence and queue are then predicted, not put in. Times are those at which the lab's answer came back, so a
busy machine blurs them.
"""

from __future__ import annotations

import argparse
import json
import time
import urllib.request
from typing import Any

from meshnb.tuning import Settings, simulate

PATTERNS = {
    "10 changes, 1 s apart": [1.0 * n for n in range(10)],
    "10 changes at once": [0.0] * 10,
    "20 changes, 0.25 s apart": [0.25 * n for n in range(20)],
    "3 bursts of 5, 3 s apart": [3.0 * (n // 5) for n in range(15)],
}
NAMES = (
    "pilot_proxy_convergence_time_count",
    "pilot_proxy_convergence_time_sum",
    "pilot_debounce_time_count",
    "pilot_debounce_time_sum",
    "pilot_proxy_queue_time_sum",
    "pilot_xds_push_time_sum",
)


def metrics(url: str) -> dict[str, float]:
    """The counters compared."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return {name: sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)) for name in NAMES}


def change(url: str, names: list[str]) -> None:
    """Apply VirtualServices in one request and do not wait for the proxies."""
    objects = [
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": name, "namespace": "istioinaction"},
            "spec": {
                "hosts": [f"{name}.example.com"],
                "http": [{"route": [{"destination": {"host": "catalog.istioinaction.svc.cluster.local"}}]}],
            },
        }
        for name in names
    ]
    body = json.dumps({"apply": objects, "wait": False}).encode()
    with urllib.request.urlopen(f"{url}/lab/apply", data=body, timeout=60) as answer:
        answer.read()


def run(url: str, number: int, pattern: list[float], settings: Settings, proxies: int) -> dict[str, Any]:
    """Play a pattern, and what was measured and what the model says of it."""
    before = metrics(url)
    start, arrived = time.monotonic(), []
    for at in sorted(set(pattern)):
        time.sleep(max(0.0, start + at - time.monotonic()))
        count = pattern.count(at)
        change(url, [f"load-{number}-{at:g}-{n}".replace(".", "-") for n in range(count)])
        arrived += [time.monotonic() - start] * count
    time.sleep(settings.debounce_max_s if len(pattern) > 10 else 2 * settings.debounce_after_s + 1)
    time.sleep(settings.debounce_after_s + 1)
    delta = {name: value - before[name] for name, value in metrics(url).items()}
    pushes, batches = delta["pilot_proxy_convergence_time_count"], delta["pilot_debounce_time_count"]
    cost = delta["pilot_xds_push_time_sum"] / pushes if pushes else 0.0
    model = simulate(arrived, settings, proxies, cost)
    waits = (model.batches["closed_s"] - model.batches["opened_s"]).mean()
    summary = model.summary().iloc[0]
    return {
        "events_s": [round(at, 4) for at in arrived],
        "push_cost_s": round(cost, 5),
        "measured": {
            "batches": batches,
            "pushes": pushes,
            "debounce_s": round(delta["pilot_debounce_time_sum"] / max(batches, 1), 4),
            "queue_s": round(delta["pilot_proxy_queue_time_sum"] / max(pushes, 1), 5),
            "convergence_s": round(delta["pilot_proxy_convergence_time_sum"] / max(pushes, 1), 5),
        },
        "model": {
            "batches": len(model.batches),
            "pushes": len(model.pushes),
            "debounce_s": round(float(waits), 4),
            "queue_s": round(float(summary["queue_mean_s"]), 5),
            "convergence_s": round(float(summary["convergence_mean_s"]), 5),
        },
    }


def main() -> None:
    """Play all patterns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--debounce-after", type=float, default=0.1)
    parser.add_argument("--debounce-max", type=float, default=10.0)
    parser.add_argument("--push-throttle", type=int, default=100)
    parser.add_argument("--proxies", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    settings = Settings(
        debounce_after_s=arguments.debounce_after,
        debounce_max_s=arguments.debounce_max,
        push_throttle=arguments.push_throttle,
    )
    base = int(time.time()) % 100_000 * 10
    found = {
        name: run(arguments.url.rstrip("/"), base + n, pattern, settings, arguments.proxies)
        for n, (name, pattern) in enumerate(PATTERNS.items())
    }
    if arguments.json:
        about = {name: getattr(settings, name) for name in ("debounce_after_s", "debounce_max_s", "push_throttle")}
        print(json.dumps({**about, "proxies": arguments.proxies, "runs": found}, indent=1))
        return
    for name, one in found.items():
        print(f"{name:<28} measured {one['measured']}  model {one['model']}")


if __name__ == "__main__":
    main()
