"""The remedy as one section: analyze the file, apply, clusters, describe, analyze, call (S10-34, S10-21)."""

from __future__ import annotations

import meshnb

HOST = "catalog.istioinaction.io"
STEPS = ["analyze the file", "apply", "clusters", "describe", "analyze", "call"]


def test_before_the_fix_every_step_has_its_command_and_is_open():
    """S10-34: the six steps in the order of the notes."""
    df = meshnb.open("demo/missing-subset").remedy(host=HOST).df
    assert df.step.tolist() == STEPS
    assert df.state.tolist() == ["by hand", "open", "open", "open", "open", "open"]
    commands = dict(zip(df.step, df.command, strict=True))
    assert commands["analyze the file"] == "istioctl analyze fix.yaml -n istioinaction"
    assert commands["apply"] == "meshnb lab apply fix.yaml"
    assert commands["clusters"].startswith("istioctl proxy-config clusters istio-ingressgateway-")
    assert commands["describe"].startswith("istioctl x describe pod catalog-")
    assert commands["call"] == f"meshnb probe http://GATEWAY/ --host {HOST} --rate 2 --for 30s"
    assert set(df.subject) == {"VirtualService istioinaction/catalog-v1-v2"}


def test_a_capture_after_the_fix_shows_which_steps_hold():
    """S10-34: the healthy demo has what the fix of the broken one asks for."""
    df = meshnb.open("demo/missing-subset").remedy(host=HOST, after="demo/healthy").df.set_index("step")
    assert df.state.to_dict() == {
        "analyze the file": "by hand",
        "apply": "done",
        "clusters": "done",
        "describe": "done",
        "analyze": "by hand",
        "call": "done",
    }
    assert df.seen["describe"] == "2 subsets, each with endpoints"
    assert df.seen["call"].startswith("0 of ")


def test_a_fix_that_was_not_applied_fails_step_by_step():
    df = meshnb.open("demo/missing-subset").remedy(host=HOST, after="demo/missing-subset").df.set_index("step")
    failed = df[df.state == "failed"]
    assert failed.index.tolist() == ["apply", "clusters", "describe", "call"]
    assert failed.seen["apply"] == "no DestinationRule istioinaction/catalog"
    assert failed.seen["call"] == "120 of 120 requests got 503"


def test_without_a_finding_there_is_nothing_to_do_and_without_a_host_no_call():
    assert meshnb.open("demo").remedy(host=HOST).df.empty
    assert meshnb.open("demo/missing-subset").remedy().df.step.tolist() == STEPS[:-1]
