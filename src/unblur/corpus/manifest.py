"""What is to be done and what became of it, in Parquet under `DST/_unblur`.

- `corpus.json`: source, settings, numbers. Written last: without it there is no corpus yet.
- `manifest/00000.parquet`, ...: the shards, some thousand pictures each: `MANIFEST`.
- `status/00000.parquet`: what became of a shard that is done, a row a picture: `STATUS`. While a shard is at work its
  rows are in parts, `status/00000.00000.parquet` and so on.

Only the process that drives a run writes here, and it keeps in memory no more than the shards at work.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from unblur.corpus.store import PARTIAL, STATE, Store
from unblur.errors import FileError, OptionError, OutputError
from unblur.files import FORMATS, READABLE

Row: TypeAlias = dict[str, Any]
"""What became of one picture: the columns of `STATUS`."""

#: Pictures in a shard: what a run holds in memory, and what a driver that is killed may lose sight of.
SHARD_FILES = 10_000

MANIFEST = pa.schema([("input", pa.string()), ("output", pa.string()), ("bytes", pa.int64())])

#: bytes and sha256 of the files, sizes in pixels, `seconds` from reading to writing, `attempts` of the last run.
#: A picture in quarantine has an `error` and no output.
STATUS = pa.schema(
    [
        ("input", pa.string()),
        ("output", pa.string()),
        ("bytes", pa.int64()),
        ("output_bytes", pa.int64()),
        ("sha256", pa.string()),
        ("output_sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("blur", pa.string()),
        ("blur_parameters", pa.map_(pa.string(), pa.float64())),
        ("method", pa.string()),
        ("left_alone", pa.list_(pa.string())),
        ("seconds", pa.float64()),
        ("attempts", pa.int32()),
        ("error", pa.string()),
    ]
)


@dataclass(frozen=True)
class Settings:
    """How pictures are restored, the same for a whole corpus; see `unblur.restore`.

    kernel: the rows of a blur kernel. memory: for each worker.
    """

    method: str = "auto"
    strength: float = 1.0
    sigma: float | None = None
    kernel: list[list[float]] | None = None
    iterations: int | None = None
    memory: str | None = None


class Job(NamedTuple):
    """One picture to restore: its shard, and its names below source and destination."""

    shard: int
    input: str
    output: str


@dataclass(frozen=True)
class Summary:
    """A corpus in numbers.

    files: pictures in the manifest. done: with an output, `left_alone` of them as they were. quarantined: given up.
    remaining: neither. megapixels, seconds, bytes, output_bytes: sums over those done. methods, blurs: how often.
    """

    source: str
    files: int
    done: int = 0
    quarantined: int = 0
    left_alone: int = 0
    remaining: int = 0
    bytes: int = 0
    output_bytes: int = 0
    megapixels: float = 0.0
    seconds: float = 0.0
    methods: Mapping[str, int] = field(default_factory=dict)
    blurs: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The numbers as plain JSON types."""
        return asdict(self)


class Ledger:
    """What became of one shard so far."""

    def __init__(self, store: Store, shard: int, retry: bool) -> None:
        self._store, self._shard = store, shard
        self._files = _read(store, _manifest(shard))
        self._whole = _shard_name(shard) in _shards(store)
        parts = self._parts()
        self._rows = dict(_rows(store, shard, self._whole, parts))
        self._new: list[Row] = []
        self._next = 1 + max((int(part.split(".")[1]) for part in parts), default=-1)
        if retry:
            given_up = [name for name, row in self._rows.items() if row["error"] is not None]
            for name in given_up:
                del self._rows[name]
            if given_up and self._whole:
                self._write_part(list(self._rows.values()))
                store.remove(f"{STATE}/status/{_shard_name(shard)}")
                self._whole = False

    @property
    def done(self) -> int:
        """Rows so far."""
        return len(self._rows)

    def jobs(self) -> list[Job]:
        """What has no row yet."""
        return [
            Job(self._shard, file["input"], file["output"])
            for file in self._files
            if file["input"] not in self._rows
        ]

    def add(self, row: Row) -> None:
        """Note what became of a picture."""
        self._rows[row["input"]] = row
        self._new.append(row)

    @property
    def complete(self) -> bool:
        """Every picture has a row."""
        return len(self._rows) == len(self._files)

    def flush(self) -> None:
        """Write what is new; the whole shard as one file once it is complete."""
        if self.complete and not self._whole:
            ordered = [self._rows[file["input"]] for file in self._files]
            _write(self._store, f"{STATE}/status/{_shard_name(self._shard)}", ordered, STATUS)
            self._whole = True
            for part in self._parts():
                self._store.remove(f"{STATE}/status/{part}")
        elif self._new:
            self._write_part(self._new)
        self._new = []

    def _write_part(self, rows: list[Row]) -> None:
        name = f"{self._shard:05}.{self._next:05}.parquet"
        _write(self._store, f"{STATE}/status/{name}", rows, STATUS)
        self._next += 1

    def _parts(self) -> list[str]:
        return _parts(self._store, self._shard)


@dataclass(frozen=True)
class Corpus:
    """A corpus that was begun: `files` pictures in `shards` shards of `shard_files` each, the last of fewer."""

    source: str
    settings: Settings
    files: int
    shards: int
    shard_files: int

    def size(self, shard: int) -> int:
        """Pictures in a shard."""
        return min(self.shard_files, self.files - shard * self.shard_files)


def begin(source: Store, destination: Store, settings: Settings, resume: bool) -> Corpus:
    """The corpus at `destination`: a new one, or with `resume` the one that was begun there.

    A new one is listed from `source` first: all pictures of a format that can be read.
    Raises FileError where there are none, OutputError for a corpus that exists and is not to be resumed or a new one
    in a folder that holds anything else, OptionError for one that was begun with other settings, or a destination
    that is the source.
    """
    if source.url == destination.url:
        raise OptionError(
            f"{source.url}: source and destination are the same; pictures are never overwritten"
        )
    if begun := _begun(destination):
        if not resume:
            raise OutputError(
                f"{destination.url}: holds a corpus already; go on with --resume, or name another"
            )
        wanted = {"source": source.url, **asdict(settings)}
        for name, value in {"source": begun.source, **asdict(begun.settings)}.items():
            if value != wanted[name]:
                raise OptionError(
                    f"{destination.url}: was begun with {name} {value}, not {wanted[name]}; resume it as it was"
                )
        return begun
    if others := [name for name in destination.names("") if name != STATE]:
        raise OutputError(
            f"{destination.url}: holds {others[0]!r} already; name a folder that is empty or not there yet"
        )
    for stale in ("manifest", "status"):
        destination.remove(f"{STATE}/{stale}")
    files = shards = 0
    rows: list[Row] = []
    for row in _listing(source, destination):
        rows.append(row)
        files += 1
        if len(rows) == SHARD_FILES:
            _write(destination, _manifest(shards), rows, MANIFEST)
            shards, rows = shards + 1, []
    if rows:
        _write(destination, _manifest(shards), rows, MANIFEST)
        shards += 1
    if not files:
        raise FileError(f"{source.url}: no pictures in this folder")
    corpus = Corpus(source.url, settings, files, shards, SHARD_FILES)
    destination.write(f"{STATE}/corpus.json", json.dumps(asdict(corpus), indent=1).encode())
    return corpus


def _listing(source: Store, destination: Store) -> Iterator[Row]:
    for entry in source.files(leave_out=destination):
        path = PurePosixPath(entry.name)
        suffix = path.suffix.lower()
        if suffix in READABLE:
            # Appended, not replaced: a.heic and a.png must not become one file.
            output = entry.name if FORMATS[suffix].write else f"{entry.name}.png"
            yield {"input": entry.name, "output": output, "bytes": entry.bytes}


def _begun(destination: Store) -> Corpus | None:
    try:
        facts = json.loads(destination.read(f"{STATE}/corpus.json"))
    except FileNotFoundError:
        return None
    except Exception as error:
        raise FileError(f"{destination.url}: {STATE}/corpus.json cannot be read: {error}") from error
    return Corpus(**{**facts, "settings": Settings(**facts["settings"])})


def unfinished(corpus: Corpus, destination: Store, retry: bool) -> tuple[list[int], int]:
    """The shards that are not complete, and the number of pictures in the others.

    With `retry` those with pictures in quarantine are not complete either.
    """
    whole = _shards(destination)
    left, done = [], 0
    for shard in range(corpus.shards):
        if _shard_name(shard) not in whole or (retry and _gave_up(destination, shard)):
            left.append(shard)
        else:
            done += corpus.size(shard)
    return left, done


def tidy(destination: Store) -> None:
    """Remove what a run that was cut off may have left."""
    with contextlib.suppress(OSError):  # an actor that is just being ended may still write there
        destination.remove(PARTIAL)


def rows(url: str | Store) -> Iterator[Row]:
    """What became of each picture so far, shard by shard. Raises FileError where there is no corpus."""
    store, corpus = _existing(url)
    whole = _shards(store)
    for shard in range(corpus.shards):
        is_whole = _shard_name(shard) in whole
        yield from dict(_rows(store, shard, is_whole, [] if is_whole else _parts(store, shard))).values()


def status(url: str | Store) -> Summary:
    """A corpus in numbers. Raises FileError where there is none."""
    store, corpus = _existing(url)
    counts: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    methods: Counter[str] = Counter()
    blurs: Counter[str] = Counter()
    for row in rows(store):
        if row["error"] is not None:
            counts["quarantined"] += 1
            continue
        counts["done"] += 1
        counts["left_alone"] += row["method"] == "none"
        methods[row["method"]] += 1
        blurs[row["blur"]] += 1
        for name in ("bytes", "output_bytes", "seconds"):
            sums[name] += row[name]
        sums["megapixels"] += row["width"] * row["height"] / 1e6
    return Summary(
        source=corpus.source,
        files=corpus.files,
        done=counts["done"],
        quarantined=counts["quarantined"],
        left_alone=counts["left_alone"],
        remaining=corpus.files - counts["done"] - counts["quarantined"],
        bytes=sums["bytes"],
        output_bytes=sums["output_bytes"],
        megapixels=round(float(sums["megapixels"]), 6),
        seconds=round(float(sums["seconds"]), 3),
        methods=dict(methods.most_common()),
        blurs=dict(blurs.most_common()),
    )


def _existing(url: str | Store) -> tuple[Store, Corpus]:
    store = url if isinstance(url, Store) else Store(url)
    corpus = _begun(store)
    if corpus is None:
        raise FileError(f"{store.url}: no corpus here; `unblur corpus run SRC {store.url}` begins one")
    return store, corpus


# Files


def _manifest(shard: int) -> str:
    return f"{STATE}/manifest/{_shard_name(shard)}"


def _shard_name(shard: int) -> str:
    return f"{shard:05}.parquet"


def _shards(store: Store) -> set[str]:
    """Names of the shards that are done."""
    return {name for name in store.names(f"{STATE}/status") if name.count(".") == 1}


def _parts(store: Store, shard: int) -> list[str]:
    begin_ = f"{shard:05}."
    return [n for n in store.names(f"{STATE}/status") if n.startswith(begin_) and n.count(".") == 2]


def _rows(store: Store, shard: int, whole: bool, parts: list[str]) -> Iterator[tuple[str, Row]]:
    """Input and row; a later row of the same input counts."""
    for name in [_shard_name(shard)] if whole else parts:
        for row in _read(store, f"{STATE}/status/{name}"):
            yield row["input"], row


def _gave_up(store: Store, shard: int) -> bool:
    return any(row["error"] is not None for row in _read(store, f"{STATE}/status/{_shard_name(shard)}"))


def _read(store: Store, name: str) -> list[Row]:
    try:
        return pq.read_table(pa.BufferReader(store.read(name))).to_pylist()
    except pa.ArrowException as error:
        raise FileError(f"{store.url}/{name}: damaged ({error})") from error


def _write(store: Store, name: str, rows_: list[Row], schema: pa.Schema) -> None:
    data = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows_, schema), data, compression="zstd")
    store.write(name, data.getvalue())
