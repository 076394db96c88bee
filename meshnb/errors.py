"""Everything meshnb raises on purpose.

    MeshnbError
    ├── UsageError          (ValueError)       the call or command line is wrong                  exit 64
    ├── FormatError         (ValueError)       a document cannot be read; names file and position exit 65
    ├── SchemaError         (TypeError)        a frame lacks columns or holds the wrong types      exit 65
    ├── SourceError         (OSError)          a source cannot give what was asked                 exit 69
    │   ├── NotFound        (LookupError)      no such document, object, proxy or runbook
    │   ├── Unreachable     (ConnectionError)  nothing answers
    │   ├── Forbidden       (PermissionError)  it answers, and refuses
    │   └── SourceTimeout   (TimeoutError)     it did not answer in time
    ├── MissingExtra        (ImportError)      an optional part of meshnb is not installed         exit 69
    ├── LabError            (RuntimeError)     the lab cannot do this now                          exit 69
    └── RunError            (RuntimeError)     a runbook crashed; its report is written            exit 1
        └── Interrupted                        a signal stopped it; its report is written          exit 128 + signal

Catch ``MeshnbError`` for all of them, or the builtin in brackets. ``hint`` says what to do next.
"""

from __future__ import annotations

import os
from pathlib import Path


class MeshnbError(Exception):
    """Root of all errors of meshnb.

    Args:
        message: what is wrong, in one sentence.
        hint: what to do next; a command where there is one.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message

    def _render_traceback_(self) -> list[str]:
        """What IPython prints instead of forty frames; set ``MESHNB_DEBUG=1`` for the whole traceback."""
        if os.environ.get("MESHNB_DEBUG"):
            import traceback

            return traceback.format_exception(self)
        return [f"{type(self).__name__}: {self}"]


class UsageError(MeshnbError, ValueError):
    """The call or the command line is wrong."""

    exit_code = 64


class FormatError(MeshnbError, ValueError):
    """A document cannot be read.

    Args:
        message: what is wrong.
        file: the document, as the user named it.
        position: where in it, for example ``"byte 1024"`` or ``"line 3"``.
        hint: what to do next.
    """

    exit_code = 65

    def __init__(self, message: str, *, file: str | Path = "", position: str = "", hint: str = "") -> None:
        where = ", ".join(part for part in (str(file), position) if part)
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.file = str(file)
        self.position = position


class SchemaError(MeshnbError, TypeError):
    """A frame lacks columns or holds the wrong types."""

    exit_code = 65


class SourceError(MeshnbError, OSError):
    """A source cannot give what was asked."""

    exit_code = 69


class NotFound(SourceError, LookupError):  # noqa: N818 - the name users know from HTTP and kubectl
    """No such document, object, proxy or runbook."""


class Unreachable(SourceError, ConnectionError):  # noqa: N818
    """Nothing answers at the address."""


class Forbidden(SourceError, PermissionError):  # noqa: N818
    """It answers, and refuses."""


class SourceTimeout(SourceError, TimeoutError):  # noqa: N818
    """It did not answer in time."""


class MissingExtra(MeshnbError, ImportError):  # noqa: N818
    """An optional part of meshnb is not installed.

    Args:
        extra: name of the extra, as in ``pip install 'meshnb[extra]'``.
        needed_for: what the user wanted to do.
    """

    exit_code = 69

    def __init__(self, extra: str, *, needed_for: str) -> None:
        super().__init__(f"{needed_for} needs the extra {extra!r}", hint=f"pip install 'meshnb[{extra}]'")
        self.extra = extra


class LabError(MeshnbError, RuntimeError):
    """The lab cannot do this now."""

    exit_code = 69


class RunError(MeshnbError, RuntimeError):
    """A runbook crashed; the executed notebook and the report are written all the same."""


class Interrupted(RunError):  # noqa: N818 - a signal is no mistake
    """A signal stopped a runbook; the report of what was known by then is written.

    Args:
        message: what is wrong, in one sentence.
        signal: name of the signal, such as `SIGTERM`; the exit code is that of a shell, 128 and its number.
        hint: what to do next.

    Example:
        >>> Interrupted("stopped by SIGTERM", signal="SIGTERM").exit_code
        143
    """

    def __init__(self, message: str, *, signal: str = "SIGINT", hint: str = "") -> None:
        from signal import Signals

        super().__init__(message, hint=hint)
        self.signal = signal
        self.exit_code = 128 + Signals[signal]
