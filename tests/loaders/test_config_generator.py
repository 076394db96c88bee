"""The dump of the benchmark is one that Envoy would take, and its tables have the rows it was made with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import meshnb

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
generator = __import__("config_dump_generator")


def test_tables_of_a_generated_dump():
    services = 30
    document = generator.dump(services)
    text = generator.text(services)
    assert text.decode() == json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    dump = meshnb.read_config_dump(text)
    clusters, endpoints, routes = dump.clusters(), dump.endpoints(), dump.routes()
    assert len(clusters) == 60
    assert set(clusters.tls_mode) == {"AUTO"}
    assert set(endpoints.cluster) == set(clusters.cluster)
    assert set(routes.cluster) <= set(clusters.cluster)
    assert routes.virtual_host.nunique() == services
    assert dump.sizes().bytes.sum() == len(text)
    assert dump.proxy == "web-0.team-0"


@pytest.mark.lab
def test_envoy_takes_a_small_instance(tmp_path):
    from meshnb.lab.envoy import find_envoy

    envoy, _ = find_envoy()
    file = tmp_path / "bootstrap.json"
    file.write_text(json.dumps(generator.bootstrap(4)))
    done = subprocess.run(
        [envoy, "--mode", "validate", "-c", file, "-l", "error"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "OK" in done.stdout + done.stderr
