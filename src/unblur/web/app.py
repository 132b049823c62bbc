"""The application: one page, a REST interface, a page about that."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from unblur import __version__, files
from unblur.engine import LARGEST_SIGMA
from unblur.errors import UnblurError
from unblur.methods import METHODS
from unblur.models import cards, find_weights
from unblur.web import reference
from unblur.web.gate import Gate, Prefix, SecurityHeaders, respond
from unblur.web.jobs import TYPES, Job, open_picture, run
from unblur.web.pool import Pool
from unblur.web.refusal import Refusal, Reply
from unblur.web.settings import Settings

_STATIC = Path(__file__).parent / "static"

#: A name that is a path on some system, or no name at all.
_NO_NAME = re.compile(r"[/\\\x00-\x1f\x7f]|^\.{0,2}$")
_LONGEST_NAME = 200

Format = Literal["same", "jpeg", "png", "tiff", "webp", "avif"]


class Choice(BaseModel):
    """A method or a model that can be asked for by name."""

    name: str
    summary: str
    kind: Literal["method", "model"]
    needs_blur: bool


class About(BaseModel):
    """What this server offers and allows."""

    version: str
    methods: list[Choice]
    formats: list[str]
    max_bytes: int
    max_pixels: int
    max_sigma: float
    workers: int


class Health(BaseModel):
    """Whether the server works."""

    status: Literal["ok"] = "ok"
    version: str = __version__


class Problem(BaseModel):
    """Why a request was not carried out: a code for programs, a sentence for people."""

    error: str
    message: str


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": words}
    for status, words in {
        413: "The file or the picture is too large.",
        415: "No picture of a known format.",
        422: "A damaged picture, or an option out of range.",
        429: "Too many pictures a minute; Retry-After says when.",
        503: "Too many pictures at once; Retry-After says when.",
        504: "The picture took too long and was given up.",
    }.items()
}

Picture = Annotated[UploadFile, File(description="The picture: JPEG, PNG, TIFF, WebP, AVIF or HEIC.")]


def create_app(settings: Settings | None = None) -> FastAPI:
    """The page and the REST interface as an ASGI application; `settings` are its limits."""
    settings = settings or Settings()
    choices = _choices()
    names = {choice.name for choice in choices}
    pool: Pool[Job, Reply] = Pool(run, settings.workers, settings.seconds)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        pool.start()
        try:
            yield
        finally:
            pool.stop()

    app = FastAPI(
        title="unblur",
        version=__version__,
        description="Takes blur out of pictures; nothing else about them changes, and nothing is kept.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Gate, settings=settings)
    app.add_middleware(SecurityHeaders)
    if settings.root_path:
        app.add_middleware(Prefix, root_path=settings.root_path)
    if settings.trusted_proxies:
        app.add_middleware(
            ProxyHeadersMiddleware, trusted_hosts=[str(one) for one in settings.trusted_proxies]
        )
    app.mount("/static", StaticFiles(directory=_STATIC), "static")

    async def do(request: Request, file: UploadFile, **options: Any) -> Response:
        job = Job(
            await file.read(), _checked_name(file.filename), settings.max_pixels, settings.memory, **options
        )
        await file.close()
        if job.data[4:8] != b"ftyp":  # reading the header of those decodes them, which is a worker's work
            await asyncio.to_thread(open_picture, job.data, settings.max_pixels)
        return respond(await pool.run(job, request.is_disconnected))

    @app.post(
        "/api/restore",
        summary="Restore a picture",
        response_class=Response,
        responses=_PROBLEMS
        | {
            200: {
                "description": "The restored picture, with all that it carried; the header X-Unblur-Result tells in"
                " JSON what was found and done. With answer=json the same as a JSON object, with the pictures in"
                " base64: picture, kernel, map, and before and after where a browser could not show them.",
                "content": {kind: {} for kind, _ in TYPES.values()} | {"application/json": {}},
            }
        },
    )
    async def restore(
        request: Request,
        file: Picture,
        method: Annotated[str, Form(description="A method or a model of /api/about.")] = "auto",
        strength: Annotated[float, Form(ge=0, le=1, description="How much of the change to keep.")] = 1.0,
        sigma: Annotated[
            float | None,
            Form(ge=0, le=LARGEST_SIGMA, description="Of a Gaussian blur in pixels, if you know it."),
        ] = None,
        format: Annotated[Format, Form(description="What the result is written as.")] = "same",  # noqa: A002
        answer: Annotated[Literal["image", "json"], Form(description="What to answer with.")] = "image",
    ) -> Response:
        """Takes the blur out of one picture. A sharp one comes back as it was, byte for byte."""
        if method not in names:
            raise Refusal(
                422, "unknown_method", f"There is no such method; one of {', '.join(sorted(names))}."
            )
        return await do(
            request,
            file,
            method=method,
            strength=strength,
            sigma=sigma,
            format=format,
            as_json=answer == "json",
        )

    @app.post(
        "/api/estimate",
        summary="Say how a picture is blurred",
        response_model=dict[str, Any],
        response_description="What was found.",
        responses=_PROBLEMS,
    )
    async def estimate(request: Request, file: Picture) -> Response:
        """Kind, size, direction and noise, how sure that is, and the kernel and a map of the blur as PNG in base64."""
        return await do(request, file, restore=False)

    @app.get("/api/about", summary="What this server offers and allows", response_description="As it says.")
    async def about() -> About:
        """The methods and models that can be asked for, the formats and the limits."""
        return About(
            version=__version__,
            methods=choices,
            formats=sorted(files.READABLE),
            max_bytes=settings.max_bytes,
            max_pixels=settings.max_pixels,
            max_sigma=LARGEST_SIGMA,
            workers=settings.workers,
        )

    @app.get("/healthz", summary="Whether the server works", response_description="It does.")
    async def healthz() -> Health:
        """For probes; it costs nothing."""
        return Health()

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(_STATIC / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(reference.render(app.openapi()))

    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _mistake)
    return app


def _choices() -> list[Choice]:
    """The methods, and the models of which weights are here; nothing is fetched."""
    found = [
        Choice(name=row.name, summary=row.summary, kind="method", needs_blur=row.needs_blur)
        for row in METHODS.values()
        if all(_has_weights(model) for model in row.models)
    ]
    found += [
        Choice(
            name=name,
            summary=f"a network for {' and '.join(card.blur_kinds)} blur",
            kind="model",
            needs_blur=False,
        )
        for name, card in cards().items()
        if card.role == "restorer" and _has_weights(name)
    ]
    return found


def _has_weights(model: str) -> bool:
    try:
        find_weights(model, (".onnx",))
    except UnblurError:
        return False
    return True


def _checked_name(name: str | None) -> str:
    if name is None or _NO_NAME.search(name) or len(name) > _LONGEST_NAME:
        raise Refusal(
            422, "bad_name", f"The file name must be a plain name of at most {_LONGEST_NAME} characters."
        )
    return name


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return respond(error.reply())


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = HTTPStatus(error.status_code).phrase
    return respond(Refusal(error.status_code, words.lower().replace(" ", "_"), f"{error.detail}.").reply())


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    lines = [f"{one['loc'][-1]}: {one['msg'][:1].lower()}{one['msg'][1:]}" for one in error.errors()]
    return respond(Refusal(422, "invalid", f"{'; '.join(lines)}.").reply())


async def _mistake(_request: Request, _error: Exception) -> Response:
    return respond(Refusal(500, "mistake", "A mistake of ours; the server's log says more.").reply())
