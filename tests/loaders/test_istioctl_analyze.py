"""What istioctl analyze prints, in its three formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshnb.checks.analysis import analysis_findings
from meshnb.errors import FormatError
from meshnb.loaders.istioctl_analyze import messages, read_analysis, read_analyzers
from meshnb.model.finding import Severity, Status

MESSAGES = Path(__file__).parents[2] / "../shared/data/istio/messages.json"
WORDS = 'Referenced host+subset in destinationrule not found: "catalog.istioinaction.svc.cluster.local+version-v1"'
LOG = f"""\
Error [IST0101] (VirtualService istioinaction/catalog-v1-v2) {WORDS}
Error [IST0101] [east] (VirtualService istioinaction/catalog-v1-v2 catalog.yaml:12) {WORDS}
Info [IST0102] (Namespace default) The namespace is not enabled for Istio injection. Run 'kubectl label namespace default istio-injection=enabled' to enable it.
Error: Analyzers found issues when analyzing namespace: istioinaction.
See https://istio.io/v1.17/docs/reference/config/analysis for more information about causes and resolutions.
"""  # noqa: E501 - as it is printed


def test_s10_14_the_log_format():
    """S10-14: saved output of the default format."""
    table = read_analysis(LOG)
    assert table.code.tolist() == ["IST0101", "IST0101", "IST0102"]
    assert table.level.tolist() == ["error", "error", "info"]
    assert table[["kind", "namespace", "object"]].values.tolist()[0] == [
        "VirtualService",
        "istioinaction",
        "catalog-v1-v2",
    ]
    assert (table.file[1], table.line[1], table.cluster[1]) == ("catalog.yaml", 12, "east")
    assert (table.kind[2], table.namespace[2], table.object[2]) == ("Namespace", "default", "default")
    assert table.message[0] == WORDS


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_s10_14_json_and_yaml(form):
    """S10-14: -o json and -o yaml."""
    import yaml

    items = [
        {
            "code": "IST0101",
            "documentationUrl": "https://istio.io/latest/docs/reference/config/analysis/ist0101/",
            "level": "Error",
            "message": WORDS,
            "origin": "VirtualService istioinaction/catalog-v1-v2",
            "reference": "catalog.yaml:12",
        }
    ]
    text = json.dumps(items) if form == "json" else yaml.safe_dump(items)
    row = read_analysis(text).iloc[0]
    assert (row.code, row.kind, row.object, row.file, row.line) == (
        "IST0101",
        "VirtualService",
        "catalog-v1-v2",
        "catalog.yaml",
        12,
    )


def test_s10_17_a_run_without_messages():
    """S10-17: No validation issues found."""
    assert read_analysis("\n✔ No validation issues found when analyzing catalog.yaml.\n").empty
    assert read_analysis("[]").empty


def test_something_else_is_an_error():
    for text in ("command not found", '{"a": 1}', "- 7"):
        with pytest.raises(FormatError, match="istioctl analyze prints"):
            read_analysis(text, file="analysis.txt")


VERBOSE = """\
Analyzed resources in namespace: istioinaction
Skipped analyzers:
\tgateway.SecretAnalyzer
\tinjection.Analyzer
Executed analyzers:
\tvirtualservice.GatewayAnalyzer

✔ No validation issues found when analyzing namespace: istioinaction.
"""


def test_s10_15_analyzers_that_ran_and_were_skipped_are_told_apart():
    """S10-15: no finding is not the same as not checked."""
    analyzers = read_analyzers(VERBOSE)
    assert analyzers.groupby("state").analyzer.apply(list).to_dict() == {
        "executed": ["virtualservice.GatewayAnalyzer"],
        "skipped": ["gateway.SecretAnalyzer", "injection.Analyzer"],
    }
    found = analysis_findings(read_analysis(VERBOSE), analyzers)
    assert [f.status for f in found] == [Status.UNKNOWN, Status.PASS]
    assert "2 analyzers were skipped" in found[0].summary
    (unsure,) = analysis_findings(read_analysis("No validation issues found"))
    assert unsure.status is Status.UNKNOWN


def test_s10_15_the_list_of_analyzers():
    """S10-15: --list-analyzers."""
    table = read_analyzers("* annotations.K8sAnalyzer:\nChecks for misplaced annotations\n* auth.X:\nChecks policies\n")
    assert table.analyzer.tolist() == ["annotations.K8sAnalyzer", "auth.X"]
    assert table.description.tolist() == ["Checks for misplaced annotations", "Checks policies"]
    with pytest.raises(FormatError):
        read_analyzers("nothing")


def test_s10_14_messages_are_findings_with_meaning_and_fix():
    """S10-14, S10-18: into findings, with remediation."""
    found = analysis_findings(read_analysis(LOG))
    assert [f.severity for f in found if f.status is Status.FAIL] == [Severity.ERROR, Severity.ERROR, Severity.INFO]
    first = found[0]
    assert first.refs == ("IST0101",) and "DestinationRule" in first.fix[0].text
    assert str(first.subject) == "VirtualService istioinaction/catalog-v1-v2"


def test_s10_18_every_message_of_istio_is_known_with_its_level():
    """S10-18: codes, names and levels are Istio's; each has a meaning and a fix."""
    known = messages()
    assert len(known) == 68
    assert all(entry["meaning"] and entry["fix"] for entry in known.values())
    if not MESSAGES.exists():
        pytest.skip("Istio's list of messages is not beside this checkout")
    listed = {m["code"]: (m["name"], m["level"].lower()) for m in json.loads(MESSAGES.read_text())["messages"]}
    assert {code: (entry["name"], entry["level"]) for code, entry in known.items()} == listed
