"""Is configuration late, does istiod have what it needs, and where is the bottleneck?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from meshnb.checks.registry import check, passed
from meshnb.model.finding import Evidence, Finding, Fix, Severity, Status, Subject

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = ["measure", "verdict", "peak", "unit", "held_s", "at", "statement"]
_ABSENT = " in the window; absent is not zero"
_BAD = ("warning", "critical")
_VERIFY = "meshnb run control-plane -p source=NEW_SNAPSHOT"


def _judge(
    code: str,
    signals: pd.DataFrame,
    measures: tuple[str, ...],
    *,
    fails: str,
    holds: str,
    cause: str,
    fix: Fix | None = None,
    idle: str = "",
) -> Iterator[Finding]:
    """One finding for some measures; without the first of them it is unknown, whatever the others say."""
    rows = signals[signals["measure"].isin(measures)]
    bad = rows[rows["verdict"].isin(_BAD)]
    unknown = rows[rows["verdict"] == "unknown"]
    subject = Subject("ControlPlane")
    if len(bad):
        severity = Severity.ERROR if (bad["verdict"] == "critical").any() else Severity.WARNING
        said = "; ".join(f"{row.what}: {row.statement}" for row in bad.itertuples())
        yield Finding(
            code,
            Status.FAIL,
            severity,
            subject,
            f"{fails} {said}.",
            cause=cause,
            evidence=(Evidence.of("measures above their threshold", bad[_SHOWN], source=str(bad["query"].iloc[0])),),
            fix=(fix,) if fix else (),
            verify=_VERIFY,
        )
        return
    if unknown["measure"].isin(measures[:1]).any():
        reasons = "; ".join(f"{row.what}: {row.statement.removesuffix(_ABSENT)}" for row in unknown.itertuples())
        absent = _ABSENT if unknown["statement"].str.endswith(_ABSENT).any() else ""
        yield Finding(code, Status.UNKNOWN, Severity.ERROR, subject, f"Not measured. {reasons}{absent}.")
        return
    words = [f"{row.what}: {row.statement}" for row in rows[rows["verdict"].isin(["ok", "seen"])].itertuples()]
    quiet = rows.loc[rows["verdict"] == "quiet", "what"].tolist()
    if idle and not words:
        yield passed(code, f"{idle} Nothing was counted of: {', '.join(quiet)}.", subject=subject)
        return
    words += [f"nothing was counted of: {', '.join(quiet)}"] if quiet else []
    words += [f"not measured: {', '.join(unknown['what'])}"] if len(unknown) else []
    yield passed(code, f"{holds} {'; '.join(words)}.", subject=subject)


@check("MNB0350", "Does configuration reach the proxies in time?", requires=["control_plane"])
def late(control_plane: pd.DataFrame) -> Iterator[Finding]:
    """Convergence, slow pushes, queue, and the total with the debounce that convergence leaves out."""
    yield from _judge(
        "MNB0350",
        control_plane,
        ("convergence_p99", "slow_pushes", "queue_p99", "total_delay"),
        fails="Configuration reaches the proxies late:",
        holds="Configuration reaches the proxies in time.",
        idle="Nothing was pushed in the window, so nothing was late.",
        cause="Until a proxy has the new configuration it sends requests to pods that are gone: ghost workloads.",
    )


@check("MNB0351", "Has istiod enough CPU and memory?", requires=["control_plane"])
def saturated(control_plane: pd.DataFrame) -> Iterator[Finding]:
    """Judged at the peaks, against the limit: istiod is idle between pushes, so averages hide it."""
    yield from _judge(
        "MNB0351",
        control_plane,
        ("cpu_of_limit", "cpu_throttled", "memory_of_limit"),
        fails="istiod is short of resources:",
        holds="istiod has room.",
        cause="istiod idles, then needs much at once when something is deployed; at its limit every push takes longer.",
    )


@check("MNB0352", "Does istiod push without errors, and do proxies take what it pushes?", requires=["control_plane"])
def errors(control_plane: pd.DataFrame) -> Iterator[Finding]:
    """Rejects, write timeouts, internal errors, failed sends, clashing listeners."""
    yield from _judge(
        "MNB0352",
        control_plane,
        ("rejects", "write_timeouts", "internal_errors", "push_context_errors", "send_errors", "listener_conflicts"),
        fails="Pushing goes wrong:",
        holds="No errors.",
        cause="A proxy that refuses a push, or does not get it, keeps its old configuration.",
        fix=Fix(
            "meshnb run proxy-out-of-sync -p source=SNAPSHOT",
            "command",
            "Shows which proxy refuses what, in Envoy's words.",
        ),
    )


@check("MNB0353", "Do all istiods serve about as many proxies?", requires=["control_plane"], severity=Severity.WARNING)
def uneven(control_plane: pd.DataFrame) -> Iterator[Finding]:
    """Connections stay where they were opened."""
    yield from _judge(
        "MNB0353",
        control_plane,
        ("imbalance",),
        fails="Proxies are spread unevenly over the istiods:",
        holds="Proxies are spread evenly.",
        cause="Connections stay where they were opened, for 30 minutes by default: an istiod added later gets few.",
        fix=Fix("kubectl -n istio-system delete pod ISTIOD-WITH-MOST-PROXIES", "command", "One at a time."),
    )


@check("MNB0354", "Where is the bottleneck of the control plane?", requires=["bottleneck", "recommendations"])
def bottleneck(bottleneck: pd.DataFrame, recommendations: pd.DataFrame) -> Iterator[Finding]:
    """The end of the decision tree, with the way there as evidence and the levers as fixes."""
    end: dict[str, Any] = bottleneck.iloc[-1].to_dict()
    steps = bottleneck.iloc[:-1]
    asked = Evidence.of(
        f"{len(steps)} questions led there",
        steps[["question", "answer", "evidence", "not_taken"]],
        source="mesh.bottleneck()",
    )
    status = Status(end["answer"])
    subject = Subject("ControlPlane")
    if status is Status.PASS:
        yield passed("MNB0354", end["question"], subject=subject)
        return
    # an unknown finding is shown without its fixes
    advice = f" {recommendations['what'].iloc[0]}" if status is Status.UNKNOWN and len(recommendations) else ""
    unsure = int((steps["answer"] == "unknown").sum())
    fixes = tuple(
        Fix(
            row.setting,
            "yaml" if "\n" in row.setting else "command",
            f"{row.what} When: {row.condition} Mind: {row.guard}",
        )
        for row in recommendations.itertuples()
    )
    severe = end["node"] in ("rejects", "api-server") or str(end["node"]).startswith("saturated")
    yield Finding(
        "MNB0354",
        status,
        Severity.ERROR if severe or status is Status.UNKNOWN else Severity.WARNING,
        subject,
        f"{end['question']} ({end['node']}){advice}",
        cause=end["evidence"],
        evidence=(asked,),
        fix=fixes,
        verify=recommendations["verify"].iloc[0] if len(recommendations) else "",
        confidence=round(max(0.4, 0.95 - 0.15 * unsure), 2),
    )


@check(
    "MNB0355",
    "Is there an istiod left while another restarts?",
    requires=["istiod_settings"],
    severity=Severity.WARNING,
)
def settings(istiod_settings: pd.DataFrame) -> Iterator[Finding]:
    """Replicas and autoscaling; what pods say of tracing and debug endpoints is MNB0401."""
    if istiod_settings.empty:
        yield Finding(
            "MNB0355",
            Status.UNKNOWN,
            Severity.WARNING,
            Subject("ControlPlane"),
            "No Deployment of istiod was captured.",
        )
        return
    values = istiod_settings.set_index("setting")["value"].to_dict()
    found = []
    replicas = str(values.get("replicas") or "")
    scaled = str(values.get("autoscaling") or "")
    if replicas in ("0", "1") and not scaled[:1].isdigit():
        found.append(
            ("replicas", "one istiod: none is left while it restarts", "pilot:\n  replicaCount: 2\n  autoscaleMin: 2")
        )
    if scaled.startswith("1 "):
        found.append(("autoscaling", "autoscaling may go down to one istiod", "pilot:\n  autoscaleMin: 2"))
    if not found:
        yield passed("MNB0355", "At least two istiods.", subject=Subject("Deployment", "istiod"))
        return
    for setting, what, text in found:
        row = istiod_settings[istiod_settings["setting"] == setting]
        yield Finding(
            "MNB0355",
            Status.FAIL,
            Severity.WARNING,
            Subject("Setting", setting),
            f"{what}.",
            evidence=(Evidence.of(f"{setting} as it is in effect", row, source="mesh.istiod_settings()"),),
            fix=(Fix(text, "yaml" if "\n" in text else "command"),),
            verify="kubectl -n istio-system get deployment istiod -o yaml",
        )
