"""The runbooks there are: inside the installed package, or in the folder `runbooks` of a checkout."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshnb.errors import FormatError, NotFound, UsageError
from meshnb.model.frame import returns
from meshnb.model.tables.runbooks import RUNBOOKS
from meshnb.runbook.parameters import Parameter, of_notebook

if TYPE_CHECKING:
    import pandas as pd

_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Runbook:
    """A notebook with parameters.

    Args:
        name: name of its file without `.ipynb`.
        path: its file.
        title: its first heading.
        about: its first paragraph.
        sections: its other headings, the steps.
        parameters: what can be given to it.
        notebook: the notebook as JSON.
    """

    name: str
    path: Path
    title: str
    about: str
    sections: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    notebook: dict[str, Any]


def folder() -> Path:
    """Where the runbooks lie: in the installed package, else in the checkout it is imported from."""
    installed = _PACKAGE / "_runbooks"
    return installed if installed.is_dir() else _PACKAGE.parent / "runbooks"


def names() -> list[str]:
    """Names of the runbooks, sorted."""
    return sorted(path.stem for path in folder().glob("*.ipynb"))


def find(name: str | Path) -> Runbook:
    """A runbook by its name, or any notebook by its path.

    Args:
        name: a name of `names()`, or the path of an `.ipynb`.

    Raises:
        UsageError: no runbook of that name; names the nearest.
        NotFound: no notebook at that path.
        FormatError: not a notebook, or its parameters cannot be read.

    Example:
        >>> find("503-no-cluster").parameters[0].name
        'source'
    """
    text = str(name)
    if text in names():
        return read(folder() / f"{text}.ipynb")
    path = Path(text).expanduser()
    if path.suffix == ".ipynb" and path.is_file():
        return read(path)
    if path.suffix == ".ipynb":
        raise NotFound(f"no notebook at {path}", hint="see: meshnb list")
    near = difflib.get_close_matches(text, names(), n=1)
    raise UsageError(f"no runbook {text!r}", hint=f"did you mean {near[0]}?" if near else "see: meshnb list")


def read(path: Path) -> Runbook:
    """A runbook from its file.

    Raises:
        FormatError: not a notebook, or its parameters cannot be read.
    """
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells = notebook["cells"]
        texts = [_source(cell) for cell in cells if cell["cell_type"] == "markdown"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"not a notebook: {error}", file=path, hint="give an .ipynb file of format 4") from error
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}", file=path) from error
    headings = [
        (level, text.strip()) for part in texts for level, text in re.findall(r"^(#{1,2}) +(.+)$", part, re.MULTILINE)
    ]
    title = next((text for level, text in headings if level == "#"), path.stem)
    sections = tuple(text for level, text in headings if level == "##")
    return Runbook(path.stem, path, title, _about(texts), sections, of_notebook(notebook, file=path), notebook)


def _source(cell: dict[str, Any]) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _about(texts: list[str]) -> str:
    """The first paragraph that is no heading, as one line without emphasis."""
    for part in texts:
        for paragraph in re.split(r"\n\s*\n", part):
            lines = [line.strip() for line in paragraph.strip().splitlines() if not line.startswith("#")]
            if any(lines):
                return re.sub(r"\*\*|__|(?<!\w)\*|\*(?!\w)", "", " ".join(lines))
    return ""


@returns(RUNBOOKS)
def runbooks() -> pd.DataFrame:
    """The runbooks that come with meshnb.

    Returns:
        One row per runbook; run one with `meshnb run NAME` or open its notebook.

    Example:
        >>> "503-no-cluster" in runbooks().name.tolist()
        True
    """
    return RUNBOOKS.rows(
        {
            "name": book.name,
            "title": book.title,
            "about": book.about or None,
            "parameters": [parameter.name for parameter in book.parameters],
            "path": str(book.path),
        }
        for book in map(find, names())
    )


def show(name: str | Path) -> str:
    """What a runbook is for, what can be given to it, and its steps, as text.

    Raises:
        UsageError: there is none.
        FormatError: not a notebook.
    """
    book = find(name)
    lines = [book.title, ""] + ([book.about, ""] if book.about else [])
    if book.parameters:
        lines += ["Parameters", *_help(book.parameters), ""]
    if book.sections:
        lines += ["Steps", *(f"  {i}. {text}" for i, text in enumerate(book.sections, 1)), ""]
    lines.append(f"Run it:  meshnb run {name}{example(book.parameters)} --out out")
    lines.append(f"Open it: {book.path}")
    return "\n".join(lines)


def example(parameters: tuple[Parameter, ...]) -> str:
    """How the first parameter is given on the command line, with a leading blank; empty without parameters."""
    return f" -p {parameters[0].name}={parameters[0].default or 'VALUE'}" if parameters else ""


def _help(parameters: tuple[Parameter, ...]) -> list[str]:
    width = max(len(f"{p.name}: {p.type}") for p in parameters)
    return [f"  {f'{p.name}: {p.type}':<{width}}  {p.help} (default {default(p)})" for p in parameters]


def default(parameter: Parameter) -> str:
    """A parameter's default as one would type it, `none` if it is empty."""
    value = parameter.default
    if isinstance(value, list):
        value = ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value) or "none"
