"""Every character of a path, plain and escaped, through each way a connection manager normalizes it."""

from __future__ import annotations

import random

import explain_oracle as oracle
import pytest
from explain_differential import difference

from meshnb.envoy.explain import Config, Request, explain

pytestmark = pytest.mark.lab

OPTIONS = {
    "normal": {"normalize_path": True},
    "merged": {"merge_slashes": True},
    "both": {"normalize_path": True, "merge_slashes": True},
    "forward": {"path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD", "normalize_path": True},
    "redirect": {"path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT"},
    "reject": {"path_with_escaped_slashes_action": "REJECT_REQUEST", "merge_slashes": True},
    "none": {},
}


def paths() -> list[str]:
    plain = [f"/a{chr(code)}b" for code in range(0x21, 0x7F) if chr(code) != "#"]
    escaped = [f"/a%{code:02X}b" for code in range(256)] + [f"/a%{code:02x}" for code in range(0x20, 0x7F)]
    pick = random.Random(5)
    pieces = ["/", "//", "a", ".", "..", "%2e", "%2E%2e", "%2F", "%5c", "\\", ";x", "%", "%4", "%zz", "b", "?c=/../%2f"]
    mixed = ["/" + "".join(pick.choices(pieces, k=pick.randint(1, 7))) for _ in range(400)]
    return [
        *plain,
        *escaped,
        *mixed,
        "/..",
        "/.",
        "/../..",
        "/a/..",
        "/a/.",
        "/./",
        "//",
        "///",
        "/%2e%2e",
        "/a/../..//",
    ]


def test_paths_are_normalized_as_envoy_does():
    route = {"name": "all", "match": {"prefix": "/"}, "direct_response": {"status": 200}}
    table = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}
    listeners = [oracle.listener(name, [oracle.manager(table, "@LOG@", **more)]) for name, more in OPTIONS.items()]
    wrong = []
    with oracle.Oracle(listeners, []) as envoy:
        ports, config = envoy.ports(), Config(envoy.dump)
        sent = []
        for name in OPTIONS:
            client = oracle.Client(ports[name])
            for path in paths():
                client.send(oracle.http_request(Request("a", path), len(sent)))
                sent.append((name, path))
            client.close()
        logged = {int(line["case"]): line for line in envoy.close() if line["case"]}
    for case, (name, path) in enumerate(sent):
        request = Request("a", path, listener=name)
        outcome = explain(config, request).outcome
        line = logged[case]
        differs = difference(outcome, request, line)
        if differs:
            wrong.append((name, path, differs))
        elif outcome.kind == "direct_response":
            # The path that routes are matched with is the one logged.
            steps = explain(config, request).step("request")
            if (steps.chosen if steps else path) != line["path"]:
                wrong.append((name, path, steps.chosen if steps else path, line["path"]))
    assert len(sent) > 5000
    assert not wrong, f"{len(wrong)}: {wrong[:20]}"
