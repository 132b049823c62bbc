"""`Settings`: what the page allows."""

from __future__ import annotations

import pydantic

from unblur.threads import available_cores


class Settings(pydantic.BaseModel):
    """The limits of the page. Raises pydantic.ValidationError for what is out of range or unknown.

    max_bytes: of one file, such as "50MB". max_pixels: of one picture. workers: pictures that are restored at the
    same time, each in a process of its own. queue: pictures that may wait for one; more are refused with 503.
    seconds: a picture that waits or takes longer is given up. upload_seconds: the same for its way here. rate:
    pictures a minute from one client, beyond which 429 is answered; 0 for no limit. memory: what a worker may use.
    trusted_proxies: addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are believed; nobody's are
    otherwise. root_path: the prefix under which a proxy serves the page, such as "/unblur".
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    max_bytes: pydantic.ByteSize = pydantic.ByteSize(50_000_000)
    max_pixels: int = pydantic.Field(default=50_000_000, ge=1)
    workers: int = pydantic.Field(default_factory=available_cores, ge=1)
    queue: int = pydantic.Field(default=32, ge=0)
    seconds: float = pydantic.Field(default=600, gt=0)
    upload_seconds: float = pydantic.Field(default=60, gt=0)
    rate: int = pydantic.Field(default=240, ge=0)
    memory: pydantic.ByteSize = pydantic.ByteSize(1_500_000_000)
    trusted_proxies: tuple[pydantic.IPvAnyNetwork, ...] = ()
    root_path: str = pydantic.Field(default="", pattern=r"^(/[\w.~-]+)*$")
