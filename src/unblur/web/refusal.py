"""How the page says no: one status, one code, one sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from starlette.exceptions import HTTPException


@dataclass(frozen=True)
class Reply:
    """An answer as it goes out. headers: besides the type and the length of the body."""

    body: bytes
    media_type: str = "application/json"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(HTTPException):
    """A request that is not carried out. retry: seconds after which it may be, or None."""

    def __init__(self, status: int, code: str, message: str, retry: int | None = None) -> None:
        super().__init__(status, message)
        self.code, self.retry = code, retry

    def reply(self) -> Reply:
        """The refusal as JSON: {"error": code, "message": sentence}."""
        body = json.dumps({"error": self.code, "message": self.detail}, ensure_ascii=False).encode()
        headers = {} if self.retry is None else {"retry-after": str(self.retry)}
        return Reply(body, status=self.status_code, headers=headers)
