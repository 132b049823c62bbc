"""Clips: frames restored by a blur that is steady in time, everything else copied."""

from __future__ import annotations

from pathlib import Path

#: What clips are written as, by what they were read as: what cannot be written as it was becomes Matroska.
_WRITTEN = {
    ".mp4": ".mp4", ".m4v": ".m4v", ".mov": ".mov", ".mkv": ".mkv", ".webm": ".webm",
    ".avi": ".mkv", ".m2ts": ".mkv", ".mpg": ".mkv", ".mts": ".mkv", ".ts": ".mkv",
}  # fmt: skip


def is_clip(path: Path) -> bool:
    """Whether a file is a clip, by its suffix."""
    return path.suffix.lower() in _WRITTEN


def written_suffix(path: Path) -> str:
    """The suffix of the restored clip: its own where it can be written."""
    suffix = _WRITTEN[path.suffix.lower()]
    return path.suffix if suffix == path.suffix.lower() else suffix
