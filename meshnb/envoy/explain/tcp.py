"""What a TCP proxy does with a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshnb.envoy.explain.explanation import Outcome, Step
from meshnb.envoy.explain.fields import Message, child, has, items, number, text
from meshnb.envoy.explain.request import Request

if TYPE_CHECKING:
    from meshnb.envoy.explain.config import Config


def walk_tcp(config: Config, proxy: Message, steps: list[Step], request: Request) -> list[Outcome]:
    """The clusters of a TCP proxy, with what Envoy logs if one cannot be used."""
    if has(proxy, "weighted_clusters"):
        clusters = items(child(proxy, "weighted_clusters"), "clusters")
        total = sum(number(entry, "weight") for entry in clusters) or 1
        picks = [(text(e, "name"), number(e, "weight") / total, child(e, "metadata_match")) for e in clusters]
    else:
        picks = [(text(proxy, "cluster"), 1.0, child(proxy, "metadata_match"))]
    return [cluster_outcome(config, name, share, metadata, steps) for name, share, metadata in picks if share > 0]


def cluster_outcome(config: Config, name: str, share: float, metadata: Message, steps: list[Step]) -> Outcome:
    """The outcome of a connection to one cluster."""
    criteria = child(child(metadata, "filter_metadata"), "envoy.lb")
    upstream = config.clusters.upstream(name, metadata=criteria)
    because = "" if share == 1 else f"weight share {share:.2%}"
    if not upstream.found:
        steps.append(Step("cluster", name, upstream.because or because))
        return Outcome("cluster", share, cluster=name, response_code=0, response_flags="NC")
    steps.append(Step("cluster", name, because, facts={"probability": share}))
    steps.append(
        Step(
            "endpoint",
            ", ".join(e.address for e in upstream.endpoints if e.eligible)[:200],
            upstream.because,
            undecided=upstream.undecided,
        )
    )
    code, flags = (0, "UH") if upstream.no_host else (None, "-")
    return Outcome(
        "cluster", share, cluster=name, endpoints=upstream.endpoints, response_code=code, response_flags=flags
    )
