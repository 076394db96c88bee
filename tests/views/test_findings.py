import json
import re
from dataclasses import replace

import books

from meshnb.model.finding import Evidence, Findings, Fix, Severity, Status, Subject
from meshnb.views.findings import FINDINGS_MEDIA, FindingList, as_html, as_text, evidence_text


def bundle(*findings, title=""):
    return FindingList(findings, title=title)._repr_mimebundle_()


def test_failure_shows_cause_evidence_fix_and_verify():
    html = bundle(books.broken())["text/html"]
    for text in (
        "VirtualService istioinaction/catalog-v1-v2", "No DestinationRule defines the subsets.", "mesh.routes()",
        "80 of 100 requests got 503 NC", "kind: DestinationRule", "Labels are those of the pods.",
        "meshnb run 503-no-cluster -p source=lab", "80 % of the requests looked at", "confidence 90 %", "IST0101",
    ):  # fmt: skip
        assert text in html
    assert "<details><summary>2 destinations without a cluster" in html
    assert '<th scope="col"' in html and "user-select:all" in html


def test_several_fixes_are_counted():
    fixes = (Fix("a: 1"), Fix("kubectl b", kind="command"))
    html = as_html(FindingList([books.broken(fix=fixes)]))
    assert html.index("Fix 1 of 2") < html.index("a: 1") < html.index("Fix 2 of 2") < html.index("kubectl b")


def test_state_is_told_by_symbol_and_word_not_by_colour_alone():
    html = as_html(FindingList([books.broken(), books.unknown(), books.passed()]))
    text = re.sub("<[^>]+>", "", html)
    for said in ("✖ error", "? unknown", "✔ pass"):
        assert said in text


def test_what_could_not_be_looked_at_is_shown_and_is_not_a_pass():
    found = FindingList([books.unknown(), books.passed()], title="Verdict")
    assert found.state == "unknown" and found.verdict is Status.UNKNOWN
    assert "Could not look: no istiod_debug" in as_html(found)
    assert found.headline == "1 unknown, 1 passed"


def test_nothing_checked_is_said():
    assert "nothing was checked" in bundle()["text/html"]
    assert bundle(title="Verdict")["text/plain"] == "Verdict: nothing was checked"


def test_many_passes_are_folded():
    many = [books.passed(f"MNB01{i:02}") for i in range(5)]
    assert '<summary class="dim">5 checks passed</summary>' in bundle(*many)["text/html"]
    assert "checks passed" not in bundle(*many[:3])["text/html"]


def test_of_many_failures_the_first_are_whole_and_the_rest_can_be_opened():
    many = [books.broken(subject=Subject("VirtualService", f"route-{i:02}")) for i in range(30)]
    many += [replace(books.unknown(), subject=Subject("Mesh", f"mesh-{i:02}")) for i in range(25)]
    text = as_html(FindingList(many, title="Verdict"))
    assert "30 errors" in text and "25 unknown" in text
    assert text.count('<div class="finding error">') == 10 and text.count('<details class="finding error">') == 20
    assert '<summary class="dim">15 more that could not be looked at</summary>' in text
    assert all(f"route-{i:02}" in text for i in range(30)) and all(f"mesh-{i:02}" in text for i in range(25))
    assert text.count("kind: DestinationRule") == 30, "nothing is left out, also not in print"


def test_verdict_and_failures_are_headings_for_those_who_listen():
    text = as_html(FindingList([books.broken(), books.passed()], title="Verdict"))
    assert '<b role="heading" aria-level="2">Verdict</b>' in text
    assert '<b role="heading" aria-level="3">VirtualService istioinaction/catalog-v1-v2</b>' in text
    assert "<b>Mesh</b>" in text


def test_times_in_evidence_are_written_as_in_tables():
    rows = ({"start_time": "2026-11-23T16:34:03.203000Z", "path": "/2026"},)
    evidence = Evidence("requests cut off", rows)
    text = as_html(FindingList([books.broken(evidence=(evidence,))]))
    assert '<td class="t">2026-11-23 16:34:03.203</td>' in text and "<td>/2026</td>" in text
    assert "2026-11-23 16:34:03.203" in evidence_text(evidence)


def test_what_stands_between_backticks_is_code():
    text = as_html(FindingList([books.broken(summary="run `meshnb list` <now>")]))
    assert "run <code>meshnb list</code> &lt;now&gt;" in text


def test_text_of_a_mesh_is_escaped():
    evil = "<script>alert(1)</script>"
    finding = books.broken(summary=evil, cause=evil, verify=evil, docs=f"https://a.example/{evil}")
    assert "<script>" not in bundle(finding)["text/html"]
    assert 'href="javascript:' not in bundle(books.broken(docs="javascript:alert(1)"))["text/html"]


def test_record_reads_back_as_the_same_findings():
    record = bundle(books.broken(), books.passed(), title="Verdict")[FINDINGS_MEDIA]
    assert record["version"] == 1 and record["title"] == "Verdict"
    assert Findings.from_json(json.dumps(record)) == Findings([books.broken(), books.passed()])


def test_columns_of_evidence_keep_their_order_in_a_stored_notebook():
    record = json.loads(json.dumps(bundle(books.broken())[FINDINGS_MEDIA], sort_keys=True))
    again = Findings.from_json(json.dumps(record))
    assert list(again[0].evidence[0].rows[0]) == ["route", "cluster", "weight"]


def test_parts_of_a_list_stay_lists_and_lose_the_title():
    found = FindingList([books.broken(), books.passed()], title="Verdict")
    assert type(found[:1]) is FindingList and type(found.status("fail")) is FindingList
    assert found[:1].title == "" and found.status("fail").failed(Severity.ERROR)


def test_text_has_fix_and_verify_for_a_terminal():
    text = as_text(FindingList([books.broken()], title="Verdict"))
    assert text.startswith("Verdict: 1 error\nerror    MNB0101")
    assert "           kind: DestinationRule" in text
    assert "verify: meshnb run 503-no-cluster -p source=lab" in text
