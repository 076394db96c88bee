"""What to change: recommendations in their order, and the YAML or command for each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from meshnb.errors import UsageError
from meshnb.model.frame import returns
from meshnb.model.tables.control_plane import RECOMMENDATIONS
from meshnb.tuning.catalogue import query
from meshnb.tuning.decision import Conclusion, levers

if TYPE_CHECKING:
    import pandas as pd

STEP = 0.3
"""How much to change a setting at once: 10 to 30 %."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the mesh's settings; what is not known stays `None`.

    Args:
        settings: value in effect of each setting of istiod.
        sidecars: number of Sidecar objects.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    sidecars: int | None = None

    def seconds(self, name: str, default: float) -> float:
        """A duration setting in seconds."""
        text = self.settings.get(name) or ""
        found = _DURATION.findall(text)
        return sum(float(number) * _SECONDS[unit] for number, unit in found) if found else default

    def number(self, name: str, default: int) -> int:
        """A whole-number setting."""
        text = re.match(r"\d+", self.settings.get(name) or "")
        return int(text[0]) if text else default


@returns(RECOMMENDATIONS)
def recommendations(end: Conclusion, facts: Facts | None = None) -> pd.DataFrame:
    """What to try for a conclusion, in the order that makes less work before it makes more room.

    Args:
        end: where the tree ended.
        facts: what is known of the settings; sharpens values and says what is done already.
    """
    facts = facts or Facts()
    rows = []
    for number, name in enumerate(end.levers, 1):
        lever = levers()[name]
        rows.append(
            {
                "order": number,
                "lever": name,
                "family": lever.family or None,
                "what": lever.what,
                "why": f"{end.why} {lever.why}".strip(),
                "condition": lever.condition,
                "guard": lever.guard,
                "done": _done(name, facts),
                "setting": _SETTINGS[name](facts),
                "verify": query(lever.verify).text(),
            }
        )
    return RECOMMENDATIONS.rows(rows)


def _done(name: str, facts: Facts) -> bool | None:
    if name == "sidecar-scope":
        return None if facts.sidecars is None else facts.sidecars > 0
    if name == "discovery-selectors":
        return bool(facts.settings["discoverySelectors"]) if "discoverySelectors" in facts.settings else None
    if name == "batch-more" and facts.settings:
        return facts.seconds("PILOT_DEBOUNCE_AFTER", 0.1) > 0.1
    return None


def env_setting(values: Mapping[str, str], *, form: str = "istioctl") -> str:
    """Environment variables of istiod as a command or YAML.

    Args:
        values: variables and their values.
        form: `istioctl` (flags for install), `helm` (values of the chart), `kubectl` (set on the Deployment).

    Raises:
        UsageError: no such form, or no value.

    Example:
        >>> print(env_setting({"PILOT_DEBOUNCE_AFTER": "2500ms"}))
        istioctl install --set values.pilot.env.PILOT_DEBOUNCE_AFTER="2500ms"
        >>> print(env_setting({"PILOT_DEBOUNCE_AFTER": "2500ms"}, form="helm"))
        pilot:
          env:
            PILOT_DEBOUNCE_AFTER: "2500ms"
    """
    if not values:
        raise UsageError("no setting given")
    if form == "istioctl":
        return "istioctl install " + " ".join(f'--set values.pilot.env.{n}="{v}"' for n, v in values.items())
    if form == "helm":
        return "\n".join(["pilot:", "  env:", *(f"    {n}: {json.dumps(v)}" for n, v in values.items())])
    if form == "kubectl":
        pairs = " ".join(f"{n}={v}" for n, v in values.items())
        return f"kubectl -n istio-system set env deployment/istiod {pairs}"
    raise UsageError(f"no form {form!r}", hint="istioctl, helm or kubectl")


def verify_env(*names: str) -> str:
    """The command that shows variables as the Deployment has them.

    Example:
        >>> print(verify_env("PILOT_DEBOUNCE_AFTER"))
        kubectl -n istio-system set env deployment/istiod --list | grep -E 'PILOT_DEBOUNCE_AFTER'
    """
    return f"kubectl -n istio-system set env deployment/istiod --list | grep -E '{'|'.join(names)}'"


def resources(*, cpu: str = "", memory: str = "", replicas: int | None = None) -> str:
    """Resources of istiod as values of its chart; a replica count below two is refused.

    Example:
        >>> print(resources(cpu="1000m", memory="1Gi", replicas=2))
        pilot:
          replicaCount: 2
          autoscaleMin: 2
          resources:
            requests:
              cpu: 1000m
              memory: 1Gi
    """
    if replicas is not None and replicas < 2:
        raise UsageError("fewer than two istiods leave the mesh without one at a restart", hint="replicas=2 or more")
    lines = ["pilot:"]
    if replicas:
        lines += [f"  replicaCount: {replicas}", f"  autoscaleMin: {replicas}"]
    if cpu or memory:
        lines += ["  resources:", "    requests:"]
        lines += [f"      cpu: {cpu}"] if cpu else []
        lines += [f"      memory: {memory}"] if memory else []
    return "\n".join(lines)


def discovery_selectors(*, enabled: Mapping[str, str] | None = None, excluded: Mapping[str, str] | None = None) -> str:
    """MeshConfig that makes istiod look at some namespaces only.

    Args:
        enabled: label a namespace must have.
        excluded: label a namespace must not have.

    Example:
        >>> print(discovery_selectors(excluded={"istio-exclude": "true"}))
        meshConfig:
          discoverySelectors:
            - matchExpressions:
                - key: istio-exclude
                  operator: NotIn
                  values: ["true"]
    """
    if not enabled and not excluded:
        raise UsageError("no label given", hint='enabled={"istio-discovery": "enabled"}')
    selector: list[str] = []
    if enabled:
        selector += ["matchLabels:", *(f"  {key}: {json.dumps(value)}" for key, value in enabled.items())]
    if excluded:
        selector.append("matchExpressions:")
        for key, value in excluded.items():
            selector += [f"  - key: {key}", "    operator: NotIn", f"    values: [{json.dumps(value)}]"]
    head, *rest = selector
    return "\n".join(["meshConfig:", "  discoverySelectors:", f"    - {head}", *(f"      {line}" for line in rest)])


def default_sidecar(*hosts: str, namespace: str = "istio-system") -> str:
    """The mesh-wide default Sidecar: only these hosts, everything else must be asked for.

    It keeps configuration minimal, makes each workload declare what it calls, and so guides owners. It comes last.

    Example:
        >>> print(default_sidecar("istio-system/*", "prometheus/*"))
        apiVersion: networking.istio.io/v1
        kind: Sidecar
        metadata:
          name: default
          namespace: istio-system
        spec:
          egress:
            - hosts:
                - "istio-system/*"
                - "prometheus/*"
          outboundTrafficPolicy:
            mode: REGISTRY_ONLY
    """
    lines = ["apiVersion: networking.istio.io/v1", "kind: Sidecar", "metadata:", "  name: default"]
    lines += [f"  namespace: {namespace}", "spec:", "  egress:", "    - hosts:"]
    lines += [f"        - {json.dumps(host)}" for host in hosts or ("istio-system/*",)]
    return "\n".join([*lines, "  outboundTrafficPolicy:", "    mode: REGISTRY_ONLY"])


def _workload_sidecar(facts: Facts) -> str:
    return """# mesh.sidecar_proposals() writes it from calls seen; mesh.sidecar_what_if(FILE) tells what would break
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata:
  name: WORKLOAD
  namespace: NAMESPACE
spec:
  workloadSelector:
    labels:
      app: WORKLOAD
  egress:
    - hosts:
        - "istio-system/*"
        - "NAMESPACE/HOST-IT-CALLS"
"""


def _milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def _batch_more(facts: Facts) -> str:
    after = facts.seconds("PILOT_DEBOUNCE_AFTER", 0.1)
    return env_setting({"PILOT_DEBOUNCE_AFTER": _milliseconds(after * (1 + STEP))}, form="kubectl")


def _batch_less(facts: Facts) -> str:
    longest = facts.seconds("PILOT_DEBOUNCE_MAX", 10.0)
    return env_setting({"PILOT_DEBOUNCE_MAX": _milliseconds(longest * (1 - STEP))}, form="kubectl")


def _throttle(factor: float) -> Callable[[Facts], str]:
    def text(facts: Facts) -> str:
        now = facts.number("PILOT_PUSH_THROTTLE", 0)
        if not now:
            return (
                "kubectl -n istio-system set env deployment/istiod PILOT_PUSH_THROTTLE=VALUE  # of now, by 10 to 30 %"
            )
        return env_setting({"PILOT_PUSH_THROTTLE": str(max(1, round(now * factor)))}, form="kubectl")

    return text


_SETTINGS: Mapping[str, Callable[[Facts], str]] = {
    "sidecar-scope": _workload_sidecar,
    "discovery-selectors": lambda facts: discovery_selectors(enabled={"istio-discovery": "enabled"}),
    "batch-more": _batch_more,
    "batch-less": _batch_less,
    "push-more": _throttle(1 + STEP),
    "push-less": _throttle(1 - STEP),
    "scale-out": lambda facts: resources(replicas=max(2, facts.number("replicas", 1) + 1)),
    "scale-up": lambda facts: resources(cpu="2000m", memory="2Gi", replicas=max(2, facts.number("replicas", 2))),
    "rebalance": lambda facts: "kubectl -n istio-system delete pod ISTIOD-WITH-MOST-PROXIES",
    "fix-config": lambda facts: "meshnb run proxy-out-of-sync -p source=SNAPSHOT",
    "api-server": lambda facts: "kubectl get --raw '/metrics' | grep apiserver_request_duration_seconds",
    "scrape-istiod": lambda facts: (
        "kubectl -n istio-system port-forward deploy/istiod 15014 & curl -s localhost:15014/metrics"
    ),
}


def rollout_plan(sidecars: list[str]) -> list[dict[str, Any]]:
    """Order in which Sidecars come into a mesh, with the gate before each next step.

    Args:
        sidecars: workloads to begin with, `NAMESPACE/WORKLOAD`.

    Returns:
        Steps with `step`, `what`, `before` (what to ask first) and `gate` (what must hold before the next).

    Example:
        >>> [step["step"] for step in rollout_plan(["shop/web"])]
        ['agree', 'shop/web', 'default']
    """
    gate = (
        "No new 502 or UF/NR at the workload for a day, every host it called is listed, and .measured(after) has no "
        "cluster that was predicted to stay among those that are gone."
    )
    what_if = "mesh.sidecar_what_if({}): no call that was seen fails, and no calls are unknown."
    plan = [
        {
            "step": "agree",
            "what": "Agree with the owners on the hosts each workload calls.",
            "before": "mesh.sidecar_proposals(): what each was seen to call, and since when.",
            "gate": "They said yes.",
        }
    ]
    plan += [
        {
            "step": name,
            "what": f"Apply a Sidecar that selects {name} alone.",
            "before": what_if.format(f'"{name.replace("/", "-")}.yaml"'),
            "gate": gate,
        }
        for name in sidecars
    ]
    last = {
        "step": "default",
        "what": "Apply the mesh-wide default last; from then on each workload must name what it calls.",
        "before": what_if.format('"default.yaml"'),
        "gate": "Every workload with calls outside the default has a Sidecar.",
    }
    return [*plan, last]
