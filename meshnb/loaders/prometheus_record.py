"""Recorded queries of a snapshot → frames."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from meshnb.errors import FormatError
from meshnb.loaders.prometheus import read_samples

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded query.

    Args:
        name: its name.
        query: PromQL as it was asked.
        kind: `range` or `instant`.
        file: document it lies in.
        start: start of the window.
        end: end of the window.
        step_s: seconds between two points of a range.
        answers: raw answers.
        error: why there is none, empty if there is.
    """

    name: str
    query: str
    kind: str
    file: str
    start: datetime
    end: datetime
    step_s: float
    answers: tuple[bytes, ...] = ()
    error: str = ""

    def frame(self) -> pd.DataFrame:
        """Its samples; empty, with `attrs["error"]`, if the query failed.

        Raises:
            FormatError: the recorded answer cannot be read.
        """
        frame = read_samples(list(self.answers), query=self.query, file=f"{self.file}, query {self.name}")
        frame.attrs["error"] = self.error
        return frame


def read_recording(data: bytes, *, file: str = "") -> list[Recorded]:
    """The queries of one document.

    Raises:
        FormatError: not a recording, or of a newer format.
    """
    import msgspec

    from meshnb.loaders.prometheus_answer import Recording

    try:
        document = msgspec.json.decode(data, type=Recording)
    except msgspec.MsgspecError as error:
        raise FormatError(f"not recorded queries: {error}", file=file, hint="capture again") from error
    if document.format > FORMAT:
        hint = "upgrade meshnb: pip install -U meshnb"
        raise FormatError(f"recorded queries of format {document.format}", file=file, hint=hint)
    return [
        Recorded(
            one.name,
            one.query,
            one.kind,
            file,
            document.start,
            document.end,
            document.step_s,
            tuple(bytes(answer) for answer in one.answers),
            one.error,
        )
        for one in document.queries
    ]
