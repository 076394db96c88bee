"""Parameters of a notebook: read from the cell tagged `parameters`, and given values that fit.

Only what the annotation says decides how a text becomes a value: `007` and `12e4567` stay text where the parameter is
a `str`. A name that is not declared is an error before anything runs.
"""

from __future__ import annotations

import ast
import difflib
import io
import re
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshnb.errors import FormatError, UsageError

TYPES = ("str", "int", "float", "bool", "list[str]")
"""Annotations a parameter may have."""

MASK = "[masked]"
"""What stands for the value of a secret parameter in whatever is written."""

_SECRET = re.compile(r"(?i)(?:^|_)(?:password|passwd|passphrase|token|secret|credentials?|api_?key|private_?key)$")
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a notebook.

    Args:
        name: its name.
        type: one of `TYPES`.
        default: its value when none is given.
        help: what it is for, from the comment behind it.
    """

    name: str
    type: str
    default: Any
    help: str = ""

    @property
    def secret(self) -> bool:
        """Whether its name says that its value must not be written anywhere."""
        return bool(_SECRET.search(self.name))

    def convert(self, text: str) -> Any:
        """The value a text stands for, by the annotation alone.

        Raises:
            UsageError: the text does not fit the type.

        Example:
            >>> Parameter("revision", "str", "").convert("12e4567")
            '12e4567'
            >>> Parameter("hours", "int", 1).convert("2")
            2
        """
        try:
            if self.type == "str":
                return text
            if self.type == "bool":
                return {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}[text.strip().lower()]
            if self.type == "list[str]":
                return [part.strip() for part in text.split(",") if part.strip()]
            return int(text) if self.type == "int" else float(text)
        except (KeyError, ValueError):
            expected = {"bool": "true or false", "int": "a whole number", "float": "a number"}[self.type]
            shown = MASK if self.secret else repr(text)
            raise UsageError(
                f"parameter {self.name!r}: {shown} is not {expected}",
                hint=f"for example -p {self.name}={self.default}",
            ) from None

    def check(self, value: Any) -> Any:
        """The value if it is of the type; a whole number is a number.

        Raises:
            UsageError: it is of another type.
        """
        if self.type == "float" and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        fits = {
            "str": isinstance(value, str),
            "int": isinstance(value, int) and not isinstance(value, bool),
            "float": isinstance(value, float),
            "bool": isinstance(value, bool),
            "list[str]": isinstance(value, list | tuple) and all(isinstance(item, str) for item in value),
        }
        if not fits[self.type]:
            shown = MASK if self.secret else repr(value)
            raise UsageError(f"parameter {self.name!r} is a {self.type}, and {shown} is not")
        return list(value) if self.type == "list[str]" else value


def parse_cell(source: str, *, file: str | Path = "") -> tuple[Parameter, ...]:
    """Parameters declared by the source of a cell.

    Args:
        source: lines `name: type = literal  # help`.
        file: the notebook, for errors.

    Raises:
        FormatError: anything else stands in the cell; names the line.

    Example:
        >>> parse_cell('source: str = "demo"  # snapshot to look at')
        (Parameter(name='source', type='str', default='demo', help='snapshot to look at'),)
    """
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise _wrong(f"not Python: {error.msg}", file, error.lineno or 0) from error
    comments = _comments(source)
    parameters = []
    for node in body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None):
            raise _wrong("only lines `name: type = value  # help` may stand here", file, node.lineno)
        kind = ast.unparse(node.annotation)
        if kind not in TYPES:
            raise _wrong(f"{node.target.id}: type {kind} is none of {', '.join(TYPES)}", file, node.lineno)
        parameter = Parameter(node.target.id, kind, None, comments.get(node.end_lineno or node.lineno, ""))
        try:
            default = parameter.check(ast.literal_eval(node.value))
        except (ValueError, TypeError) as error:  # UsageError is a ValueError
            raise _wrong(f"{parameter.name}: the default is not a {kind} literal", file, node.lineno) from error
        parameters.append(Parameter(parameter.name, kind, default, parameter.help))
    return tuple(parameters)


def _wrong(message: str, file: str | Path, line: int) -> FormatError:
    return FormatError(
        message, file=file, position=f"cell parameters, line {line}", hint='write it like: source: str = "demo"  # help'
    )


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("#").strip() for t in tokens if t.type == tokenize.COMMENT}


def of_notebook(notebook: Mapping[str, Any], *, file: str | Path = "") -> tuple[Parameter, ...]:
    """Parameters of a notebook: those of its cell tagged `parameters`; none if no cell is.

    Raises:
        FormatError: the cell holds anything but parameters.
    """
    for cell in notebook.get("cells", ()):
        if "parameters" in cell.get("metadata", {}).get("tags", ()):
            source = cell["source"]
            return parse_cell(source if isinstance(source, str) else "".join(source), file=file)
    return ()


def parse_assignments(texts: Iterable[str]) -> dict[str, str]:
    """`name=value` texts as a mapping; a name given again replaces the value before.

    Raises:
        UsageError: a text without `=`.

    Example:
        >>> parse_assignments(["source=lab", "query=a=b"])
        {'source': 'lab', 'query': 'a=b'}
    """
    result = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{text!r} is not a parameter", hint="write it like -p source=demo")
        result[name.strip()] = value
    return result


def convert(parameters: Sequence[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """Values for parameters: texts converted by annotation, other values checked against it.

    Args:
        parameters: what the notebook declares.
        given: values by name, as texts or as Python values.

    Returns:
        The given ones alone, as Python values.

    Raises:
        UsageError: an unknown name (with the nearest known one), or a value that does not fit.

    Example:
        >>> convert(parse_cell("hours: int = 1"), {"hours": "2"})
        {'hours': 2}
    """
    known = {parameter.name: parameter for parameter in parameters}
    result = {}
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            names = ", ".join(known)
            raise UsageError(
                f"no parameter {name!r}",
                hint=f"did you mean {near[0]!r}?" if near else f"parameters: {names}" if names else "it takes none",
            )
        result[name] = known[name].convert(value) if isinstance(value, str) else known[name].check(value)
    return result
