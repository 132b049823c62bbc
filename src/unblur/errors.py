"""Every error that unblur raises on purpose.

The tree::

    UnblurError
    ├── InputError (also ValueError)      what was given cannot be used; the command line exits with 2
    │   ├── ImageError                    an array that is not an image
    │   ├── FileError                     a file that cannot be read as what it should be
    │   │   └── TooLargeError             more pixels than the limit
    │   ├── KernelError                   a blur kernel that is not one
    │   └── OptionError                   an option out of range, unknown, or at odds with another
    ├── OutputError (also OSError)        a result that cannot be written
    └── MissingExtraError (also ImportError)   an optional dependency that is not installed

A message is one line: what is wrong, where, and what to do about it.
"""

from __future__ import annotations


class UnblurError(Exception):
    """Base of every deliberate error; catch this to catch them all."""


class InputError(UnblurError, ValueError):
    """What was given cannot be used."""


class ImageError(InputError):
    """An array that is not an image: wrong shape, dtype, range, or not finite."""


class FileError(InputError):
    """A file that is missing, empty, truncated, or not what its name says."""


class TooLargeError(FileError):
    """A picture with more pixels than the limit."""


class KernelError(InputError):
    """A blur kernel with a wrong shape, negative weights, or no weight at all."""


class OptionError(InputError):
    """An option that is unknown, out of range, or at odds with another."""


class OutputError(UnblurError, OSError):
    """A result that cannot be written: no permission, no space, or it exists already."""


class MissingExtraError(UnblurError, ImportError):
    """An optional dependency is needed and not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional dependency: pip install 'unblur[{extra}]'")
        self.extra = extra
