"""Many config dumps at once, in one process or in several."""

from __future__ import annotations

from pathlib import Path

import pytest

import meshnb
from meshnb.errors import UsageError
from meshnb.loaders.fleet import FRAMES, read_config_dumps

DATA = Path(__file__).parents[1] / "data" / "envoy"
PATHS = [DATA / f"{name}-config_dump.json" for name in ("gateway", "sidecar-v2b", "odd")]


@pytest.mark.parametrize("workers", [1, 2])
def test_s11_44_tables_over_all_proxies(tmp_path, workers):
    cut = tmp_path / "cut.json"
    cut.write_bytes(b'{"configs": [')
    dumps = read_config_dumps([*PATHS, cut, "gone.json"], tables=tuple(FRAMES), workers=workers)
    for name in FRAMES:
        if name == "secrets":  # its days_left are told from now
            continue
        rows = [getattr(meshnb.read_config_dump(path), name)() for path in PATHS]
        made = dumps[name]
        assert len(made) == sum(map(len, rows)), name
        assert made.dtypes.equals(FRAMES[name].empty().dtypes), name
        start = 0
        for part in rows:
            assert made.iloc[start : start + len(part)].reset_index(drop=True).equals(part), name
            start += len(part)
    assert set(dumps.unreadable) == {str(cut), "gone.json"}
    assert "cut short" in dumps.unreadable[str(cut)]


def test_a_mapping_names_the_proxies():
    dumps = read_config_dumps({"a.b": PATHS[0], "c.d": PATHS[1]}, tables=("clusters",), workers=2)
    assert dumps["clusters"].proxy.unique().tolist() == ["a.b", "c.d"]


def test_nothing_to_read_and_wrong_names():
    assert read_config_dumps([])["clusters"].empty
    with pytest.raises(UsageError, match="tables"):
        read_config_dumps(PATHS, tables=("cluster",))
