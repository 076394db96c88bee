"""Text tables as kubectl and istioctl print them: a header, columns set apart by at least two spaces."""

from __future__ import annotations

import re

from meshnb.errors import FormatError

_GAP = re.compile(r"\t+| {2,}")


def decode_text(data: bytes | str) -> str:
    """Text without the colours of a terminal."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def read_text_table(text: str, *, first: str, file: str = "", hint: str = "") -> list[dict[str, str]]:
    r"""The rows below a header, a mapping from column to cell; empty cells are empty text.

    Args:
        text: what was printed; lines before the header (a prompt, a warning) are skipped.
        first: how the header starts, `NAME` or `NAMESPACE|NODE`.
        file: how to name the document in an error.
        hint: command that prints such a table.

    Raises:
        FormatError: there is no such header, or a row does not fit it.

    Example:
        >>> read_text_table("NAME    CPU(cores)\ncatalog    3m\n", first="NAME")
        [{'NAME': 'catalog', 'CPU(cores)': '3m'}]
    """
    header: list[str] = []
    starts: list[int] = []
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.rstrip()
        if re.match(rf"\s*(?:{first})(?:\s|$)", line):
            header = _GAP.split(line.strip())
            starts = [match.start() for match in re.finditer(r"(?:^|(?<=\s\s)|(?<=\t))\S", line)]
            continue
        if not header or not line.strip():
            continue
        rows.append(dict(zip(header, _cells(line, header, starts, file, number), strict=True)))
    if not header:
        raise FormatError(f"no table: no line starts with {first.replace('|', ' or ')}", file=file, hint=hint)
    return rows


def _cells(line: str, header: list[str], starts: list[int], file: str, number: int) -> list[str]:
    cells = _GAP.split(line.strip())
    if len(cells) == len(header):
        return cells
    # an empty cell leaves a hole; then only the columns' positions tell
    ends = [*starts[1:], len(line)]
    cells = [line[start:end] for start, end in zip(starts, ends, strict=True)]
    if any(cell and not cell.endswith(" ") for cell in cells[:-1]) or len(cells) != len(header):
        raise FormatError(
            f"{len(_GAP.split(line.strip()))} cells under {len(header)} columns",
            file=file,
            position=f"line {number}",
            hint="keep the spaces as they were printed",
        )
    return [cell.strip() for cell in cells]
