"""Log files as Arrow batches of lines: plain, gzip and zstd, of any size, however damaged.

Lines are found in blocks of a few MB, so neither the file nor a Python object per line is ever in memory. What cannot
be a line of text (bytes that are not UTF-8, NUL bytes, megabytes without a newline) is marked, not dropped.
"""

from __future__ import annotations

import codecs
import filecmp
import glob
import io
import json
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from meshnb.errors import MeshnbError, NotFound, Unreachable
from meshnb.loaders.access_log_format import JSON_KEYS

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 4 << 20
MAX_LINE = 16 << 20
EXCERPT = 160
SAMPLE_LINES = 200
_SAMPLE, _PLACES = 16 << 10, 32  # how much is looked at in how many places for keys that are not Istio's

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BOM, _UTF16 = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_BLANK = re.compile(rb"\n[ \t\r]*\n")
_SUFFIXES = (".log", ".txt", ".json", ".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log file to read.

    Args:
        path: where it lies.
        name: how to name it to the user.
        proxy: `POD.NAMESPACE` that wrote it, empty if unknown.
        spool: what keeps `path` from being deleted, for standard input.
    """

    path: Path
    name: str
    proxy: str = ""
    spool: object = None

    @property
    def pod(self) -> str:
        """The pod that wrote it, empty if unknown."""
        return self.proxy.rpartition(".")[0] or self.proxy


@dataclass(frozen=True, slots=True)
class Damage:
    """Why a file, or a line of it, could not be read as text."""

    file: LogFile
    line: int | None
    reason: str
    excerpt: str = ""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def find_files(paths: str | Path | LogFile | Iterable[str | Path | LogFile]) -> list[LogFile]:
    """Log files behind paths, globs and folders, in order, each once.

    Args:
        paths: files, globs, folders (searched for `*.log`, `*.txt`, `*.json`, `*.jsonl`, also `.1`, `.gz`, `.zst`), or
            `-` for standard input.

    Raises:
        NotFound: nothing is there.
    """
    if isinstance(paths, (str, Path, LogFile)):
        paths = [paths]
    found: dict[str, LogFile] = {}
    for item in paths:
        if isinstance(item, LogFile):
            found.setdefault(str(item.path), item)
            continue
        if str(item) == "-":
            found.setdefault("-", spooled(sys.stdin.buffer))
            continue
        files = _expand(item)
        if not files:
            raise NotFound(f"no log file at {item}", hint="give files, globs, folders, or - for standard input")
        for path in files:
            found.setdefault(str(path), LogFile(path, str(path), _proxy_of(path)))
    if not found:
        raise NotFound("no log file given", hint="give files, globs, folders, or - for standard input")
    return list(found.values())


def without_copies(files: Sequence[LogFile]) -> tuple[list[LogFile], list[Damage]]:
    """Files without those that are the same byte for byte as one before, and which those are.

    The same log saved twice would count every request twice.
    """
    kept: dict[int, list[LogFile]] = {}
    copies = []
    for file in files:
        try:
            size = file.path.stat().st_size
        except OSError:
            size = -1
        same = (other for other in kept.get(size, ()) if size > 0 and filecmp.cmp(other.path, file.path, shallow=False))
        original = next(same, None)
        if original is not None:
            copies.append(Damage(file, None, f"the same as {original.name}, not read again"))
        else:
            kept.setdefault(size, []).append(file)
    left = {id(copy.file) for copy in copies}
    return [file for file in files if id(file) not in left], copies


def _expand(item: str | Path) -> list[Path]:
    path = Path(item).expanduser()
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file() and _is_log(p))
    if path.exists():
        return [path]
    return sorted(Path(match) for match in glob.glob(str(path), recursive=True) if Path(match).is_file())  # noqa: PTH207


def spooled(data: bytes | BinaryIO) -> LogFile:
    """Standard input, or bytes, as a temporary file, since a log may be looked at more than once."""
    spool = tempfile.NamedTemporaryFile(prefix="meshnb-")  # noqa: SIM115 - lives as long as the LogFile
    shutil.copyfileobj(io.BytesIO(data) if isinstance(data, bytes) else data, spool)
    spool.flush()
    return LogFile(Path(spool.name), "standard input", spool=spool)


def _is_log(path: Path) -> bool:
    """Whether a file of a folder is a log, by its name: rotated and compressed ones too."""
    suffixes = [s for s in path.suffixes if s not in (".gz", ".zst") and not s[1:].isdigit()]
    return path.name != "manifest.json" and bool(suffixes) and suffixes[-1] in _SUFFIXES


def _proxy_of(path: Path) -> str:
    """The proxy, if the file lies as in a snapshot: `logs/POD.NAMESPACE/istio-proxy.log`."""
    if path.parent.parent.name == "logs" and "." in path.parent.name:
        return path.parent.name
    return ""


class Lines:
    """The lines of log files, once through.

    Args:
        files: what to read.

    Attributes:
        damage: what could not be read so far, filled while reading.
        counts: lines of each file so far.
        error: why reading ended early, since an engine hides what a stream raised.
    """

    def __init__(self, files: Sequence[LogFile]) -> None:
        self.files = files
        self.damage: list[Damage] = []
        self.counts = [0] * len(files)
        self.error: MeshnbError | None = None

    def reader(self) -> pa.RecordBatchReader:
        """All lines: `file_id`, `no` (from 1), `line` (with its newline), `bad` (why it is no text)."""
        import pyarrow as pa

        schema = pa.schema([("file_id", pa.int32()), ("no", pa.int64()), ("line", pa.string()), ("bad", pa.string())])
        return pa.RecordBatchReader.from_batches(schema, self._guarded(schema))

    def _guarded(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._batches(schema)
        except MeshnbError as error:
            self.error = error
            raise

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        import numpy as np
        import pyarrow as pa

        for file_id, file in enumerate(self.files):
            for block, bad in self._blocks(file):
                lines, reasons = _lines(block, bad)
                count, first = len(lines), self.counts[file_id] + 1
                self.counts[file_id] += count
                columns = [
                    pa.array(np.full(count, file_id, np.int32)),
                    pa.array(np.arange(first, first + count)),
                    lines,
                    reasons,
                ]
                yield pa.record_batch(columns, schema=schema)

    def _blocks(self, file: LogFile) -> Iterator[tuple[bytearray, str]]:
        """Blocks of whole lines, each with why it is bad as a whole."""
        with open_log(file.path) as stream:
            rest, long = b"", False
            while True:
                try:
                    chunk = stream.read(BLOCK)
                except (EOFError, OSError, zlib.error, ValueError) as error:
                    self.damage.append(Damage(file, None, f"cut short or damaged: {error}"))
                    chunk = b""
                if not chunk:
                    break
                if long:
                    end = chunk.find(b"\n") + 1
                    if not end:
                        continue
                    chunk, long = chunk[end:], False
                end = chunk.rfind(b"\n") + 1
                if not end and len(rest) + len(chunk) > MAX_LINE:
                    yield bytearray((rest + chunk)[:EXCERPT]), f"longer than {MAX_LINE >> 20} MiB"
                    rest, long = b"", True
                    continue
                if end:
                    block = bytearray(rest)
                    block += memoryview(chunk)[:end]
                    yield block, ""
                    rest = b""
                rest += chunk[end:]
            if rest:
                yield bytearray(rest), ""


def _lines(block: bytearray, bad: str) -> tuple[pa.Array, pa.Array]:
    """The lines of a block and why each is no text; the newline stays, which saves a copy."""
    import numpy as np
    import pyarrow as pa

    if bad:
        text = block.decode(errors="replace").replace("\0", "\ufffd")
        return pa.array([text]), pa.array([bad])
    if block.find(0) < 0 and (block.isascii() or _is_utf8(block)):
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10)
        unfinished = not len(ends) or ends[-1] != len(block) - 1
        offsets = np.zeros(len(ends) + 1 + unfinished, np.int32)
        np.add(ends, 1, out=offsets[1 : len(ends) + 1], casting="unsafe")
        offsets[-1] = len(block)
        count = len(offsets) - 1
        return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(block)), pa.nulls(
            count, pa.string()
        )
    lines = bytes(block).split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    texts = [line.decode(errors="replace").replace("\0", "\ufffd") for line in lines]
    return pa.array(texts, pa.string()), pa.array([_bad(line) for line in lines], pa.string())


def _bad(line: bytes) -> str | None:
    if b"\0" in line:
        return "holds NUL bytes"
    return None if _is_utf8(line) else "not UTF-8"


def _is_utf8(data: bytes | bytearray) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def open_log(path: Path) -> BinaryIO:
    """A log file as a stream of UTF-8 bytes, unpacked if it is gzip or zstd (told by its first bytes).

    Raises:
        NotFound: it is not there.
        Unreachable: it cannot be read.
    """
    try:
        stream = io.BufferedReader(path.open("rb", buffering=0), BLOCK)
    except FileNotFoundError as error:
        raise NotFound(f"no log file at {path}") from error
    except OSError as error:
        raise Unreachable(f"cannot read {path}: {error.strerror}", hint="check its permissions") from error
    head = stream.peek(4)[:4]
    if head.startswith(_GZIP):
        return _Stream(_unpack(stream, lambda: zlib.decompressobj(31), "gzip", zlib.error), stream)
    if head == _ZSTD:
        import zstandard

        new: Callable[[], Any] = zstandard.ZstdDecompressor().decompressobj
        return _Stream(_unpack(stream, new, "zstd", zstandard.ZstdError), stream)
    if head[:2] in _UTF16:  # what PowerShell writes for `kubectl logs … > file`
        return _Stream((text.encode() for text in _utf16(stream)), stream)
    if head.startswith(_BOM):
        stream.read(len(_BOM))
    return stream


class _Stream(io.RawIOBase, BinaryIO):
    """Chunks of bytes as a stream; a chunk may be larger or smaller than asked for."""

    def __init__(self, chunks: Iterator[bytes], source: BinaryIO) -> None:
        self._chunks, self._source = chunks, source

    def read(self, size: int = -1, /) -> bytes:
        return next((chunk for chunk in self._chunks if chunk), b"")

    def close(self) -> None:
        self._source.close()
        super().close()


def _unpack(stream: _Readable, new: Callable[[], _Unpacker], what: str, damage: type[Exception]) -> Iterator[bytes]:
    """What is there of a compressed file, part after part, before its damage is told."""
    unpacker, started = new(), False
    while packed := stream.read(BLOCK >> 4):
        while packed:
            started = True
            try:
                text = unpacker.decompress(packed)
            except damage as error:
                raise EOFError(f"the {what} file is damaged: {error}") from error
            yield text
            packed = b""
            if unpacker.eof:
                packed = unpacker.unused_data.lstrip(b"\0")
                unpacker, started = new(), False
    if started:
        raise EOFError(f"the {what} file ends early")


def _utf16(stream: BinaryIO) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
    while chunk := stream.read(BLOCK):
        yield decoder.decode(chunk)
    yield decoder.decode(b"", final=True)


def sampled_keys(file: LogFile) -> list[str]:
    """Keys of JSON lines, in order: of the first ones, and of some in many places if the file is not compressed."""
    keys: dict[str, None] = {}
    try:
        for line in _sampled_lines(file):
            start = line.find(b"{")
            record = _json_object(line[start:]) if 0 <= start < 300 else {}
            if record.keys() & JSON_KEYS.keys():
                keys |= dict.fromkeys(record)
    except (OSError, EOFError, ValueError, zlib.error):
        pass  # what is damaged is told when it is read
    return list(keys)


def _sampled_lines(file: LogFile) -> Iterator[bytes]:
    """The first lines of a file, then whole lines from places all over it."""
    with open_log(file.path) as stream:
        yield from stream.read(BLOCK >> 4).splitlines()[:SAMPLE_LINES]
        plain = isinstance(stream, io.BufferedReader)
    if plain:
        with file.path.open("rb", buffering=0) as stream:
            size = file.path.stat().st_size
            for place in range(1, _PLACES + 1):
                stream.seek(max(0, size - _SAMPLE) * place // _PLACES)
                yield from stream.read(_SAMPLE).splitlines()[1:]


def _json_object(text: bytes) -> dict[str, object]:
    try:
        record = json.loads(text)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def has_blank_lines(files: Iterable[LogFile]) -> bool:
    """Whether a file has a blank line, so that rows and lines of a filtered log do not number alike."""
    for file in files:
        with open_log(file.path) as stream:
            last = b""
            while block := stream.read(BLOCK):
                if _BLANK.search(last + block):
                    return True
                last = block[-80:]
    return False
