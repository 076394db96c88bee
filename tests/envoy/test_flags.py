"""The dictionary of response flags."""

from __future__ import annotations

from meshnb.envoy.flags import explain_flags, frame, known_flags, parse_flags
from meshnb.model.tables.logs import RESPONSE_FLAGS

# Envoy's CoreResponseFlag, all of them
ENVOY = (  # noqa: SIM905
    "UH UF UO NR URX NC DT DC LH UT LR UR UC DI FI RL UAEX RLSE IH SI DPE UPE UMSDR RFCF NFCF OM DF DO DR UDO"
).split()


def test_every_flag_of_envoy_is_explained():
    """S10-07: short and long name, meaning, likely causes, next step."""
    assert sorted(known_flags()) == sorted(ENVOY)
    flags = frame()
    assert list(flags.columns) == RESPONSE_FLAGS.column_names
    assert flags.name.is_unique
    for flag in known_flags().values():
        assert flag.meaning.endswith(".") and flag.next_step and flag.likely_causes
        assert flag.side in ("downstream", "envoy", "upstream")


def test_every_flag_says_since_which_envoy_there_is():
    """Release notes name DC in 1.9, NC in 1.18; the order is that of Envoy's own enumeration from DC on."""
    since = {flag.flag: tuple(map(int, (flag.since or "").lstrip("≤").split("."))) for flag in known_flags().values()}
    assert since["DC"] == (1, 9) and since["NC"] == (1, 18) and since["UH"] == (1, 0)
    added = "LH RL RLSE DC URX SI IH DPE UMSDR RFCF NFCF DT UPE NC OM DF DO DR UDO".split()  # noqa: SIM905
    known = [since[name] for name in added if not str(known_flags()[name].since).startswith("≤")]
    assert known == sorted(known)


def test_nc_leads_to_the_missing_cluster():
    (flag,) = explain_flags("NC")
    assert flag.name == "NoClusterFound"
    assert "subset" in flag.likely_causes[0]


def test_flags_are_read_in_any_order_and_long_or_short():
    """T19."""
    assert set(parse_flags("URX,UF")) == set(parse_flags("UF,URX"))
    assert parse_flags("UpstreamRequestTimeout") == ("UT",)
    assert parse_flags("-") == parse_flags(None) == parse_flags("") == ()


def test_a_flag_of_a_newer_envoy_is_said_to_be_unknown():
    (flag,) = explain_flags("XYZ")
    assert flag.flag == "XYZ" and "does not know" in flag.meaning
