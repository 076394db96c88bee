"""The size of a capture, judged beforehand and compared with the capture."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from replay.recorded import recorded_cluster

from meshnb.sources.capture import CaptureOptions, capture_cluster
from meshnb.sources.capture_estimate import estimate_capture
from meshnb.sources.capture_plan import PER_PROXY_PAGES
from meshnb.sources.kubernetes import Cluster
from meshnb.sources.snapshot import Snapshot

V1 = "catalog-5d4f7c9b8-v1aaa"


@pytest.fixture(scope="module")
def demo():
    return Snapshot.open("demo")


def cluster_of(api):
    return Cluster(api.configuration(), name="replay", timeout_s=20, sleep=lambda _: None)


def test_an_estimate_comes_near_the_capture(demo, tmp_path):
    # pods' logs differ most: without them an estimate of pods that are alike is close
    options = CaptureOptions(since_s=0)
    with recorded_cluster(demo) as api:
        seen = estimate_capture(cluster_of(api), options)
        snapshot = capture_cluster(cluster_of(api), tmp_path / "s.tar.gz", options)
    documents = [*snapshot.documents(), *snapshot.failed()]
    assert seen.documents == sum(not d.path.startswith("kubernetes/") for d in documents)
    assert (seen.istiods, seen.proxies) == (1, 5)
    assert seen.sampled[0] == "istiod-1.istio-system" and len(seen.sampled) == 4
    assert seen.bytes == pytest.approx(sum(d.bytes for d in snapshot.documents()), rel=0.25)
    assert seen.packed == pytest.approx((tmp_path / "s.tar.gz").stat().st_size, rel=0.5)
    assert seen.unknown == ()


def test_objects_are_counted_from_their_first_page(demo):
    with recorded_cluster(demo) as api:
        service = api.lists["services"][0]
        few = estimate_capture(cluster_of(api), CaptureOptions(since_s=0))
        for number in range(100):
            more = copy.deepcopy(service)
            more["metadata"]["name"] = f"s{number}"
            api.lists["services"].append(more)
        asked = len(api.requests)
        many = estimate_capture(cluster_of(api), CaptureOptions(since_s=0))
    assert many.objects - few.objects == 100 and many.bytes > few.bytes
    assert sum("/services?" in r for r in api.requests[asked:]) == 1


def test_pods_that_do_not_answer_are_named_and_the_others_count(demo):
    every = [p.rpartition(".")[0] for p in sorted({d.proxy for d in demo.documents("config_dump")})]
    with recorded_cluster(demo, dead=every) as api:
        seen = estimate_capture(cluster_of(api))
    assert seen.sampled == ("istiod-1.istio-system",)
    assert len(seen.unknown) == 1 and seen.unknown[0].startswith("5 pods like ")


def test_what_istiod_would_send_is_counted_without_asking_for_it(demo):
    options = CaptureOptions(since_s=0, workloads=(V1,))
    with recorded_cluster(demo) as api:
        plain = estimate_capture(cluster_of(api), options)
        asked = len(api.requests)
        expected = estimate_capture(cluster_of(api), replace(options, expected=True))
        assert not [r for r in api.requests[asked:] if "proxyID" in r]
    assert expected.documents - plain.documents == len(PER_PROXY_PAGES)
    assert expected.bytes > plain.bytes
