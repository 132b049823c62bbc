"""A folder of files, on this machine or behind any URL that fsspec knows; files appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import fsspec.core

from unblur.errors import FileError, MissingExtraError, OptionError, OutputError
from unblur.locks import locked

#: Under a destination: the manifest, the status and what is not finished yet.
STATE = "_unblur"

#: Where a file is written before it takes its name; emptied at the begin and the end of a run.
PARTIAL = f"{STATE}/partial"

#: Stores in which an upload is seen by nobody before it is complete.
_PUTS_WHOLE = frozenset(
    ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "r2", "cos", "memory")
)


class Entry(NamedTuple):
    """A file of a store: its name below the root, and its size in bytes."""

    name: str
    bytes: int


class Store:
    """A folder: `url` is a path, or a URL such as s3://bucket/prefix.

    Credentials and endpoints are found as fsspec and the library of the store find them: in the environment
    (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, ...) or their configuration files.

    Raises OptionError for a URL of an unknown kind, MissingExtraError where its library is not installed.
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        try:
            self._fs, root = fsspec.core.url_to_fs(os.fspath(url), use_listings_cache=False)
        except ImportError as error:
            raise MissingExtraError(f"{url}: this kind of URL", "cluster") from error
        except ValueError as error:
            raise OptionError(f"{url}: not a folder or a known kind of URL ({error})") from error
        protocols = [self._fs.protocol] if isinstance(self._fs.protocol, str) else self._fs.protocol
        self.local = "file" in protocols
        self._puts_whole = not _PUTS_WHOLE.isdisjoint(protocols)
        self.root: str = os.path.realpath(root) if self.local else root.rstrip("/")
        self.url: str = self.root if self.local else self._fs.unstrip_protocol(self.root)

    def files(self, leave_out: Store | None = None) -> Iterator[Entry]:
        """All files below, folder by folder in order of names, without those of another store inside this one.

        One folder's list at a time is in memory. Links to folders are not followed.
        Raises FileError for a folder that cannot be listed, or a name that is no text.
        """
        left_out = leave_out.url if leave_out else None
        folders = [self.root]
        while folders:
            folder = folders.pop()
            below = []
            for name, facts in sorted(self._list(folder).items()):
                if self.local and facts.get("islink") and os.path.isdir(name):
                    continue
                if facts["type"] == "directory":
                    inside = self._fs.unstrip_protocol(name) if not self.local else name
                    if inside != left_out:
                        below.append(name)
                    continue
                try:
                    name.encode()
                except UnicodeEncodeError as error:
                    raise FileError(f"{name!a}: the name is not UTF-8; rename the file") from error
                yield Entry(name[len(self.root) + 1 :], facts["size"] or 0)
            folders += reversed(below)

    def _list(self, folder: str) -> dict[str, dict[str, Any]]:
        try:
            facts = self._fs.ls(folder, detail=True)
        except Exception as error:
            raise FileError(f"{folder}: cannot be listed: {one_line(error)}") from error
        # An object store may list the folder itself.
        named = {fact["name"].rstrip("/"): fact for fact in facts}
        return {name: fact for name, fact in named.items() if name != folder}

    def names(self, folder: str) -> list[str]:
        """The names in a folder of this store, in order; none where there is no such folder."""
        path = f"{self.root}/{folder}".rstrip("/")
        try:
            listed = {name.rstrip("/") for name in self._fs.ls(path, detail=False)}
        except FileNotFoundError:
            return []
        # An object store may list the folder itself.
        return sorted(name.rsplit("/", 1)[-1] for name in listed if name != path)

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises what the store raises, FileNotFoundError where there is none."""
        data: bytes = self._fs.cat_file(f"{self.root}/{name}")
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write or replace a file: one upload to an object store, elsewhere under another name and then renamed.

        Raises OutputError.
        """
        path = f"{self.root}/{name}"
        try:
            if self.local:
                self._write_local(Path(path), data)
            elif self._puts_whole:
                self._fs.pipe_file(path, data)
            else:
                partial = f"{self.root}/{PARTIAL}/{secrets.token_hex(8)}"
                for file in (partial, path):
                    self._fs.makedirs(file.rsplit("/", 1)[0], exist_ok=True)
                self._fs.pipe_file(partial, data)
                self._fs.mv(partial, path)
        except Exception as error:
            raise OutputError(f"{path}: cannot be written: {one_line(error)}") from error

    def _write_local(self, path: Path, data: bytes) -> None:
        partial = Path(self.root, PARTIAL, secrets.token_hex(8))
        for wanted in (partial, path):
            wanted.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        with contextlib.suppress(OSError):  # the name itself; some network folders cannot do this
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all in it; nothing happens where there is none."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm(f"{self.root}/{name}", recursive=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs of this machine out of a local folder meanwhile. Raises OutputError where one is in."""
        if not self.local:
            yield
            return
        path = Path(self.root, STATE, "lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            raise OutputError(f"{self.root}: cannot be written: {one_line(error)}") from error
        with locked(path, f"{self.root}: another run is at work here"):
            yield


def one_line(error: BaseException) -> str:
    """What an error says, on one line, with its type where it says little."""
    text = " ".join(str(error).split())
    return text if " " in text else f"{type(error).__name__} {text}".strip()
