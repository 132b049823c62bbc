"""What stands before the application: who may send how much, and what every answer carries."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unblur.web.refusal import Refusal, Reply
from unblur.web.settings import Settings

#: Pictures come from the page's own memory only; nothing comes from elsewhere, and nobody may frame the page.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self';"
    " manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

#: What a multipart form adds to the file in it, at most.
_FORM_BYTES = 1 << 16

#: Clients that are remembered before those that did nothing lately are forgotten.
_CLIENTS = 10_000


def respond(reply: Reply) -> Response:
    """The answer as Starlette sends it."""
    return Response(
        reply.body, reply.status, {"cache-control": "no-store", **reply.headers}, reply.media_type
    )


class Prefix:
    """The page under a path of a proxy's, whether or not the proxy takes that away."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app, self._root_path = app, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an ASGI call."""
        await self._app({**scope, "root_path": self._root_path}, receive, send)


class SecurityHeaders:
    """Every answer carries `_HEADERS`, and is asked for again unless it says otherwise."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an ASGI call."""

        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("cache-control", "no-cache")
            await send(message)

        await self._app(scope, receive, send_with)


class Gate:
    """Counts who sends pictures: so many a minute for a client, so many at once, so many bytes in so many seconds."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._places = settings.workers + settings.queue
        self._rate = Rate(settings.rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an ASGI call."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except Refusal as refusal:
            await respond(refusal.reply())(scope, receive, send)
            return
        self._places -= 1
        try:
            await self._app(scope, self._counted(receive), send)
        finally:
            self._places += 1

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if headers.get("sec-fetch-site") == "cross-site":
            raise Refusal(403, "cross_site", "Pictures are not taken from other sites' pages.")
        if wait := self._rate.wait(client_key(scope)):
            raise Refusal(429, "too_many_requests", f"Too many pictures a minute; wait {wait} s.", wait)
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self._settings.max_bytes + _FORM_BYTES:
            raise _too_large(self._settings)
        if self._places <= 0:
            raise Refusal(503, "busy", "Too many pictures are being restored; try again later.", 5)

    def _counted(self, receive: Receive) -> Receive:
        """`receive` that ends with an Refusal at too many bytes or seconds."""
        left = self._settings.max_bytes + _FORM_BYTES
        deadline = time.monotonic() + self._settings.upload_seconds
        more = True

        async def counted() -> Message:
            nonlocal left, more
            if not more:
                return await receive()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                slow = Refusal(
                    408, "too_slow", f"The upload took longer than {self._settings.upload_seconds:g} s."
                )
                raise slow from None
            left -= len(message.get("body", b""))
            more = bool(message.get("more_body", False))
            if left < 0:
                raise _too_large(self._settings)
            return message

        return counted


class Rate:
    """A bucket of `per_minute` tokens for each client, filled evenly; 0 takes everybody."""

    def __init__(self, per_minute: int) -> None:
        self._most = per_minute
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait(self, client: str) -> int:
        """Take a token: 0, or the whole seconds until there is one."""
        if not self._most:
            return 0
        now, pace = time.monotonic(), self._most / 60
        tokens, seen = self._buckets.get(client, (float(self._most), now))
        tokens = min(tokens + (now - seen) * pace, self._most)
        if len(self._buckets) > _CLIENTS:
            self._buckets = {one: bucket for one, bucket in self._buckets.items() if now - bucket[1] < 60}
        if tokens < 1:
            self._buckets[client] = tokens, now
            return math.ceil((1 - tokens) / pace)
        self._buckets[client] = tokens - 1, now
        return 0


def client_key(scope: Scope) -> str:
    """Whom a request counts for: an IPv4 address, or the /64 that an IPv6 subscriber has."""
    host = scope["client"][0] if scope.get("client") else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return host
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


def _too_large(settings: Settings) -> Refusal:
    return Refusal(413, "too_large", f"The file is larger than the limit of {settings.max_bytes / 1e6:g} MB.")
