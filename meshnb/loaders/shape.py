"""Documents of an unexpected shape are errors that name the document, wherever in a reader they show."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from meshnb.errors import FormatError, SchemaError

F = TypeVar("F", bound=Callable[..., Any])


def shaped(what: str) -> Callable[[F], F]:
    """Let a reader raise `FormatError` where a value of its document is of another type than it takes for granted.

    Args:
        what: what the document should be, as in "not WHAT: …".

    Example:
        >>> @shaped("a list of pods")
        ... def read(data, *, file=""):
        ...     return [pod["name"] for pod in data]
        >>> read([7], file="pods.json")
        Traceback (most recent call last):
        meshnb.errors.FormatError: pods.json: not a list of pods: 'int' object is not subscriptable
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def read(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except FormatError:
                raise
            except (AttributeError, IndexError, KeyError, OverflowError, SchemaError, TypeError, ValueError) as error:
                raise FormatError(f"not {what}: {error}", file=str(kwargs.get("file", ""))) from error

        return read  # type: ignore[return-value]

    return decorate
