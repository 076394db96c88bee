"""Response code details and transport failure reasons, of several Envoy versions."""

import json
from pathlib import Path

import pytest

from meshnb.envoy.details import Transport, parse_details, transport_kind

DATA = Path(__file__).parents[1] / "data/logs"
SCENARIOS = json.loads((DATA / "by-scenario.json").read_text())


def kinds(scenario: str) -> set[Transport]:
    records = [r for records in SCENARIOS[scenario].values() for r in records]
    return {kind for r in records if (kind := transport_kind(r["upstream_transport_failure_reason"]))}


@pytest.mark.parametrize(
    ("scenario", "kind"),
    [
        ("3d-app-down", Transport.REFUSED),
        ("5b-gateway-mTLS-to-plaintext", Transport.PLAINTEXT),
        ("5c-SAN-mismatch", Transport.WRONG_NAME),
        ("5d-server-cert-from-other-CA", Transport.UNKNOWN_CA),
        ("5e-expired-server-cert", Transport.EXPIRED),
    ],
)
def test_kinds_as_recorded_from_envoy(scenario, kind):
    assert kinds(scenario) == {kind}


def test_details_and_reason_agree_in_every_record():
    for pods in SCENARIOS.values():
        for record in (r for records in pods.values() for r in records):
            details = parse_details(record["response_code_details"])
            assert details is not None
            assert details.transport == transport_kind(record["upstream_transport_failure_reason"])


@pytest.mark.parametrize(
    ("text", "name", "reset", "transport"),
    [
        ("via_upstream", "via_upstream", "", None),
        ("upstream_reset_before_response_started{overflow}", None, "overflow", None),
        ("upstream_reset_before_response_started{connection_termination}", None, "connection termination", None),
        # Envoy 1.22: a comma, no transport text
        (
            "upstream_reset_before_response_started{connection_failure,TLS_error:_268435581:SSL_routines:"
            "OPENSSL_internal:CERTIFICATE_VERIFY_FAILED}",
            None,
            "connection failure",
            Transport.TLS,
        ),
        ("upstream_reset_before_response_started{connection_failure}", None, "connection failure", None),
        # Envoy 1.36: no verify step
        (
            "upstream_reset_before_response_started{remote_connection_failure|TLS_error:|268435581:SSL_routines:"
            "OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end}",
            None,
            "remote connection failure",
            Transport.TLS,
        ),
        ("upstream_reset_after_response_started{protocol_error}", "upstream_reset_after_response_started",
         "protocol error", None),
        ("downstream_local_disconnect(max_connection_duration_reached)", "downstream_local_disconnect", "", None),
        ("jwt_authn_access_denied{Jwt_is_missing}", "jwt_authn_access_denied", "", None),
    ],
)  # fmt: skip
def test_forms_of_several_versions(text, name, reset, transport):
    details = parse_details(text)
    assert details is not None
    assert details.name == (name or "upstream_reset_before_response_started")
    assert (details.reset, details.transport) == (reset, transport)


def test_the_policy_that_denied_is_named():
    details = parse_details("rbac_access_denied_matched_policy[ns[istioinaction]-policy[deny-items]-rule[2]]")
    assert details is not None
    assert (details.policy, details.rule) == ("istioinaction/deny-items", 2)
    none = parse_details("rbac_access_denied_matched_policy[none]")
    assert none is not None and none.policy == ""


def test_nothing_is_nothing():
    assert parse_details("-") is parse_details(None) is transport_kind("-") is None
