"""Reading a raw document: from a path, bytes or a decoded object, plain or gzipped, and saying what it really is."""

from __future__ import annotations

import gc
import gzip
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from meshnb.errors import FormatError, NotFound, SchemaError, UsageError

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | Mapping[str, Any]
"""What readers take: a path, the bytes of a document, or the decoded document."""

_BYTE = re.compile(r"byte (\d+)\)")
_CLUSTERS_LINE = re.compile(rb"^\S[^\n]*?::\S+::\S", re.MULTILINE)


def read_document(source: Source, *, name: str = "") -> tuple[bytes, str]:
    """The bytes of a document and how to name it in errors.

    Args:
        source: a path (`.gz` or gzipped content is unpacked), bytes, or a decoded document, which is written the way
            Envoy prints it.
        name: how to name it; the path if empty.

    Raises:
        NotFound: no such file.
        FormatError: a broken gzip file, or an object that is not JSON.
        UsageError: neither path, bytes nor mapping.
    """
    if isinstance(source, Mapping):
        try:
            text = json.dumps(source, indent=1, ensure_ascii=False)
            return text.encode() + b"\n", name or "document"
        except (TypeError, ValueError, RecursionError) as error:
            raise FormatError(f"not a JSON document: {error}", file=name or "document") from error
    if isinstance(source, bytes | bytearray | memoryview):
        data, name = bytes(source), name or "document"
    elif isinstance(source, str | os.PathLike):
        data, name = _read_file(Path(source).expanduser()), name or str(source)
    else:
        raise UsageError(
            f"cannot read a document from {type(source).__name__}", hint="give a path, bytes or the decoded JSON object"
        )
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise FormatError(f"broken gzip file: {error}", file=name, hint="copy it again; it may be cut") from error
    return data.removeprefix(b"\xef\xbb\xbf"), name


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"no file {path}") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder", hint="open a snapshot folder with meshnb.open") from error
    except (OSError, ValueError) as error:
        raise NotFound(f"cannot read {path}: {error}") from error


def what_is(data: bytes) -> str:
    """What a document looks like, in words for an error text; empty if that cannot be told."""
    head = data[:4096].lstrip()
    if not head:
        return "an empty document"
    if head[:1] == b"<":
        return "an HTML or XML page"
    if head[:1] == b"{" and b'"cluster_statuses"' in head:
        return "a /clusters page (JSON)"
    if head[:1] == b"{" and b'"listener_statuses"' in head:
        return "a /listeners page (JSON)"
    if head[:1] == b"{" and (b'"response_flags"' in head or b'"upstream_cluster"' in head) and b"}\n{" in data[:65536]:
        return "an access log (JSON lines)"
    if b"-----BEGIN" in head[:64]:
        return "a PEM file"
    if head.startswith((b"# TYPE ", b"# HELP ")):
        return "a Prometheus metrics page"
    if re.match(rb"\[\d{4}-\d\d-\d\dT[^]]+\] \"", head):
        return "an access log (text)"
    if head[:1] not in b"{[" and _CLUSTERS_LINE.search(head):
        return "a /clusters page (text)"
    if head[:1] in b"{[" and b'"workloads"' in data and b'"services"' in data:
        return "a ztunnel config dump"
    if re.match(rb'\{[^{}]{0,512}"(kind|apiVersion)"', head):
        return "a Kubernetes object"
    if head[:1] in b"{[":
        return ""
    return "not JSON"


def unreadable(
    error: Exception, data: bytes, *, file: str, base: int = 0, what: str = "", own: str = "\0"
) -> FormatError:
    """The error for a document that is not the JSON expected.

    Args:
        error: what the decoder raised.
        data: the whole document.
        file: how to name it.
        base: where in the document the decoder began.
        what: the part being read, for the text.
        own: what the reader reads, in the words of `what_is`.
    """
    message = str(error)
    found = _BYTE.search(message)
    position = base + int(found[1]) if found else len(data) if "truncated" in message else base
    hint = (
        "if Envoy printed it so, report it with this part of the document"
        if what
        else "give the answer of /config_dump?include_eds"
    )
    seen = "" if base else what_is(data)
    if seen and not seen.startswith(own):
        # a page of another kind is reported as what it is, from its beginning
        message, position, hint = f"this is {seen}", 0, hint_for(seen) or hint
    elif "truncated" in message:
        message, hint = "the document is cut short", "copy it again; a pipe or a terminal may have cut it"
    elif "trailing characters" in message and data[position - 1 : position] in (b"{", b"["):
        message, hint, position = "a second document begins here", "split the file: one document each", position - 1
    elif isinstance(error, RecursionError):
        message = "nested too deeply"
    about = f"{what}: " if what else ""
    return FormatError(f"{about}{message}", file=file, position=f"byte {position}", hint=hint)


def hint_for(seen: str) -> str:
    """What to do with a document that `what_is` named; empty if there is no reader for it."""
    readers = {
        "a /clusters page": "meshnb.read_clusters_admin",
        "an access log": "meshnb.read_access_log",
        "a ztunnel config dump": "meshnb.read_ztunnel_dump",
    }
    return next((f"read it with {reader}" for start, reader in readers.items() if seen.startswith(start)), "")


def offset_of(part: msgspec.Raw, whole: bytes) -> int:
    """Where a part lies in the document it was decoded from."""
    import pyarrow as pa

    offset: int = pa.py_buffer(part).address - pa.py_buffer(whole).address
    return offset if 0 <= offset <= len(whole) else 0


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector: a table is built from many objects in no cycles, and looking for them is slow."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


@contextmanager
def values_of(file: str) -> Iterator[None]:
    """Blame a value that fits no column, such as a number of forty digits, on the document it stands in."""
    try:
        yield
    except SchemaError as error:
        raise FormatError(error.message, file=file, hint="look for a value out of range") from error
