"""A coverage-guided fuzz of the readers of Envoy's admin documents, bounded in time.

    pip install atheris
    python benchmarks/config_fuzz_atheris.py -max_total_time=60

atheris (libFuzzer) mutates the recorded documents of tests/data/envoy byte by byte towards code not reached yet. Only
meshnb's own errors may come out; any other ends the run with a traceback and the input in a file `crash-…`.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["meshnb"]):
    import meshnb
    from meshnb.errors import MeshnbError
    from meshnb.loaders.ztunnel import read_ztunnel_dump

DATA = Path(__file__).parents[1] / "tests" / "data" / "envoy"
SEED_BYTES = 60_000
TABLES = ("listeners", "routes", "clusters", "endpoints", "secrets", "ecds", "authz", "bootstrap", "sizes")


def once(data: bytes) -> None:
    """Ask for every table of one document, whatever it claims to be."""
    for read in (meshnb.read_config_dump, meshnb.read_clusters_admin, read_ztunnel_dump):
        try:
            document = read(data)
            for table in TABLES if read is meshnb.read_config_dump else ():
                getattr(document, table)()
        except MeshnbError:
            continue


def main() -> None:
    """Fuzz, starting from the recorded documents."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="meshnb-fuzz-") as corpus:
        for path in DATA.iterdir():
            if path.is_file() and path.stat().st_size <= SEED_BYTES:
                (Path(corpus) / path.name).write_bytes(path.read_bytes())
        atheris.Setup([*sys.argv, corpus, f"-max_len={SEED_BYTES}"], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
