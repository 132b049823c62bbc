"""Restoring millions of pictures: from one folder or bucket into another, on one machine or a cluster.

`run.run` is the door. Beneath it: `store` (folders, local or behind a URL), `manifest` (what is to be done and what
became of it, in Parquet), `pool` (who does what, retries, back-pressure; knows no transport), `local` and `ray` (where
the workers are), `worker` (one picture at a time).
"""

from __future__ import annotations

from importlib.util import find_spec

from unblur.errors import MissingExtraError

if not (find_spec("fsspec") and find_spec("pyarrow")):
    raise MissingExtraError("a corpus", "cluster")
