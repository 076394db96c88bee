"""`fix.yaml`: what can be applied, and nothing else."""

from __future__ import annotations

import yaml

from meshnb.model.finding import Finding, Findings, Fix, Severity, Status, Subject
from meshnb.report.run import fix_yaml

RULE = "apiVersion: networking.istio.io/v1beta1\nkind: DestinationRule\nmetadata: {name: a}\n"


def finding(name, *fixes, status=Status.FAIL):
    return Finding("MNB0101", status, Severity.ERROR, Subject("VirtualService", name), "summary", fix=fixes)


def test_each_failing_finding_gives_its_first_fix_as_one_document():
    text = fix_yaml(
        Findings([finding("a", Fix(RULE), Fix(RULE + "spec: {}")), finding("b", Fix(RULE.replace("a}", "b}")))])
    )
    assert [document["metadata"]["name"] for document in yaml.safe_load_all(text)] == ["a", "b"]
    assert "# MNB0101 VirtualService a" in text


def test_commands_values_and_passes_are_left_out():
    found = [
        finding("a", Fix("kubectl delete pod x", kind="command")),
        finding("b", Fix("meshConfig:\n  accessLogFile: /dev/stdout\n")),
        finding("c", Fix(RULE), status=Status.PASS),
    ]
    assert fix_yaml(Findings(found)) == ""


def test_of_two_changes_of_one_object_the_first_is_taken_and_the_other_named():
    """Each is the whole object with one change: the second would undo the first."""
    text = fix_yaml(Findings([finding("a", Fix(RULE + "spec: {x: 1}")), finding("b", Fix(RULE + "spec: {y: 1}"))]))
    assert [document["spec"] for document in yaml.safe_load_all(text)] == [{"x": 1}]
    assert "# MNB0101 VirtualService b: changes the same object. Capture and run again." in text


def test_the_same_fix_of_two_findings_is_one_document():
    text = fix_yaml(Findings([finding("a", Fix(RULE)), finding("b", Fix(RULE))]))
    assert text.count("kind: DestinationRule") == 1
