"""Writes DuckDB's SQL of log summaries and of the causes' questions beside them: `python scripts/make_sql.py`.

Both are Ibis expressions. Importing Ibis and compiling them takes as long as reading a gigabyte of log, so they are
stored. `tests/loaders/test_log_summaries.py` and `tests/checks/test_questions.py` fail while they say something else
than the expressions.
"""

from __future__ import annotations

import meshnb.checks.causes  # noqa: F401 - asks all questions
from meshnb.checks.questions import QUESTIONS, STORED
from meshnb.loaders.log_summaries import COMPILED, PLACEHOLDERS, compile_ranking, compile_summary


def main() -> None:
    """Write every file."""
    COMPILED.mkdir(exist_ok=True)
    for count in range(1, len(PLACEHOLDERS) + 1):
        (COMPILED / f"summary-{count}.sql").write_text(compile_summary(PLACEHOLDERS[:count]) + "\n")
    (COMPILED / "ranking.sql").write_text(compile_ranking(PLACEHOLDERS[0]) + "\n")
    STORED.mkdir(exist_ok=True)
    for old in STORED.glob("*.sql"):
        old.unlink()
    for question in QUESTIONS.values():
        for file, on in question.variants():
            (STORED / file).write_text(question.compiled(on) + "\n")


if __name__ == "__main__":
    main()
