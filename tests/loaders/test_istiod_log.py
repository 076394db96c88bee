"""istiod's lines `Push debounce stable` in every form, and the output of the performance test.

The lines are quoted from public reports of Istio 1.9, 1.12, 1.15 and later (issues 39652 and 41222 of istio/istio).
"""

from __future__ import annotations

import json

import pandas as pd
import pytest

from meshnb.errors import FormatError
from meshnb.loaders.istiod_log import read_push_batches
from meshnb.loaders.performance_test import read_performance_test
from meshnb.tuning.events import events_of_batches
from meshnb.tuning.simulator import Settings, simulate

LOG = """\
2021-04-23T20:53:29.507314Z info ads Push debounce stable[31] 1: 100.981865ms since last change, 100.981653ms since last push, full=true
2021-04-23T20:53:29.507641Z info ads XDS: Pushing:2021-04-23T20:53:29Z/23 Services:15 ConnectedEndpoints:2  Version:2021-04-23T20:53:29Z/23
2022-09-29T17:29:43.741620Z\tinfo\tads\tPush debounce stable[11041] 2 for config ServiceEntry/xxx/some-service: 100.886166ms since last change, 100.888961ms since last push, full=true
2022-06-29T10:00:00.000000Z\tinfo\tads\tPush debounce stable[5177] 3 for config ServiceEntry/data/delay-queue.svc.cluster.local and 2 more configs: 104.271836ms since last change, 3.801250623s since last push, full=true
2026-04-28T04:14:35.966606Z info ads Push debounce stable[5251] 1 for reason unknown:1: 100.237856ms since last change, 100.237756ms since last push, full=true
2026-04-28T04:15:00.000000Z info ads Push debounce stable[5252] 90 for 74 configs: 1m2.5s since last change, 1m10s since last push, full=false
"""  # noqa: E501


def test_every_form_is_read():
    frame = read_push_batches(LOG, istiod="istiod-1.istio-system")
    assert frame["number"].tolist() == [31, 11041, 5177, 5251, 5252]
    assert frame["events"].tolist() == [1, 2, 3, 1, 90]
    assert frame["config"].tolist()[2] == "ServiceEntry/data/delay-queue.svc.cluster.local"
    assert frame["more_configs"].tolist()[2] == 2
    assert frame["more_configs"].tolist()[4] == 74
    assert frame["reason"].tolist()[3] == "unknown:1"
    assert frame["waited_s"].tolist()[2:] == [3.801250623, 0.100237756, 70.0]
    assert frame["full"].tolist() == [True, True, True, True, False]
    assert set(frame["istiod"]) == {"istiod-1.istio-system"}
    assert frame["opened"][4] == pd.Timestamp("2026-04-28T04:13:50Z")


def test_json_lines_of_istiod():
    message = "Push debounce stable[7] 3: 100ms since last change, 250ms since last push, full=true"
    line = json.dumps({"level": "info", "time": "2026-11-23T09:00:00.000000Z", "scope": "ads", "msg": message})
    assert read_push_batches(line)["events"].tolist() == [3]


def test_a_line_that_cannot_be_read_is_named():
    with pytest.raises(FormatError, match="line 2"):
        read_push_batches("hello\n2026-11-23T09:00:00Z info ads Push debounce stable[x] many", file="discovery.log")
    assert read_push_batches("").empty


def test_the_log_gives_back_the_batches_it_came_from():
    """Three changes 60 ms apart, closed after 100 ms of quiet: the model makes the same batch of them."""
    said = "Push debounce stable[{}] {}: 100ms since last change, {}ms since last push, full=true"
    log = "\n".join(f"2026-11-23T09:00:0{n}.000Z info ads {said.format(n, 3, 220)}" for n in (1, 2, 3))
    events = events_of_batches(read_push_batches(log))
    assert [round(event.at_s, 3) for event in events[:3]] == [0.0, 0.06, 0.12]
    found = simulate(events, Settings(), 5)
    assert found.batches["events"].tolist() == [3, 3, 3]
    assert found.batches["closed_s"].round(3).tolist() == [0.22, 1.22, 2.22]


def test_s11_40_output_of_the_performance_test():
    """T13: the script prints seconds, the book milliseconds; the unit is heeded."""
    text = "Pre Pushes: 2540\n...\nPush count: 510\nLatency in the last minute: 0.45 seconds\n"
    frame = read_performance_test(text * 2, name="delay 2.5 s")
    assert frame["pushes"].tolist() == [510, 510]
    assert frame["p99_s"].tolist() == [0.45, 0.45]
    assert frame["before"].tolist() == [2540.0, 2540.0]
    assert frame["name"].tolist() == ["delay 2.5 s 1", "delay 2.5 s 2"]
    assert read_performance_test("Push count: 5\nLatency in the last minute: 450 ms")["p99_s"].tolist() == [0.45]
    with pytest.raises(FormatError, match="no run"):
        read_performance_test("bash: not found")
