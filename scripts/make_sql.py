"""Writes DuckDB's SQL of the log summaries to meshnb/loaders/compiled: `python scripts/make_sql.py`.

The summaries are Ibis expressions. Importing Ibis and compiling one takes as long as reading 300 MB of log, so the
usual ones are stored. `tests/loaders/test_log_summaries.py` fails while they say something else than the expressions.
"""

from __future__ import annotations

from meshnb.loaders.log_summaries import COMPILED, PLACEHOLDERS, compile_ranking, compile_summary


def main() -> None:
    """Write every file."""
    COMPILED.mkdir(exist_ok=True)
    for count in range(1, len(PLACEHOLDERS) + 1):
        (COMPILED / f"summary-{count}.sql").write_text(compile_summary(PLACEHOLDERS[:count]) + "\n")
    (COMPILED / "ranking.sql").write_text(compile_ranking(PLACEHOLDERS[0]) + "\n")


if __name__ == "__main__":
    main()
