"""`unblur serve`: the page."""

from __future__ import annotations

import ipaddress
import socket
from typing import Annotated

import typer

from unblur.errors import MissingExtraError, OptionError


def serve(
    host: Annotated[str, typer.Option(envvar="UNBLUR_HOST", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="UNBLUR_PORT", min=0, max=65535, help="0 for any.")] = 7860,
    max_size: Annotated[
        str, typer.Option(envvar="UNBLUR_MAX_SIZE", help="Of one file, such as 50MB.")
    ] = "50MB",
    max_megapixels: Annotated[
        float, typer.Option(envvar="UNBLUR_MAX_MEGAPIXELS", help="Of one picture.")
    ] = 50,
    workers: Annotated[
        int | None,
        typer.Option(
            envvar="UNBLUR_WORKERS", help="Pictures restored at the same time. [default: one a core]"
        ),
    ] = None,
    queue: Annotated[
        int, typer.Option(envvar="UNBLUR_QUEUE", help="Pictures that may wait; more are refused.")
    ] = 32,
    seconds: Annotated[
        float, typer.Option(envvar="UNBLUR_SECONDS", help="A picture that takes longer is given up.")
    ] = 600,
    upload_seconds: Annotated[
        float, typer.Option(envvar="UNBLUR_UPLOAD_SECONDS", help="An upload that takes longer is refused.")
    ] = 60,
    rate: Annotated[
        int, typer.Option(envvar="UNBLUR_RATE", help="Pictures a minute from one client; 0 for no limit.")
    ] = 240,
    memory: Annotated[str, typer.Option(envvar="UNBLUR_MEMORY", help="What each worker may use.")] = "1.5GB",
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            envvar="UNBLUR_TRUSTED_PROXIES",
            help="Address or network of a proxy whose X-Forwarded-For is believed.",
        ),
    ] = None,
    root_path: Annotated[
        str, typer.Option(envvar="UNBLUR_ROOT_PATH", help="The prefix under which a proxy serves the page.")
    ] = "",
) -> None:
    """Serve the page and the REST interface until Ctrl-C."""
    import pydantic

    try:
        import uvicorn

        from unblur.web.app import create_app
        from unblur.web.settings import Settings
    except ImportError as error:
        if isinstance(error, MissingExtraError):
            raise
        raise MissingExtraError("the page", "web") from error
    given = {
        "max_bytes": max_size,
        "max_pixels": round(max_megapixels * 1e6),
        "workers": workers,
        "queue": queue,
        "seconds": seconds,
        "upload_seconds": upload_seconds,
        "rate": rate,
        "memory": memory,
        "trusted_proxies": trusted_proxy or (),
        "root_path": root_path,
    }
    try:
        settings = Settings.model_validate(
            {name: value for name, value in given.items() if value is not None}
        )
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise OptionError(f"{first['loc'][0]}: {first['msg']}, got {first['input']!r}") from error
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise OptionError(
            f"cannot listen on {host} port {port} ({error.strerror}); give another --port"
        ) from error
    with listening:
        name = f"[{host}]" if family == socket.AF_INET6 else host
        typer.echo(f"http://{name}:{listening.getsockname()[1]}{settings.root_path}/  (Ctrl-C ends it)")
        if not _is_loopback(host):
            typer.echo(
                "Other machines can reach this page; put a proxy that speaks https before it.", err=True
            )
        config = uvicorn.Config(
            create_app(settings),
            log_level="warning",
            access_log=False,
            server_header=False,
            # Only those that are named are believed; the application sees to that.
            proxy_headers=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=5,
        )
        uvicorn.Server(config).run(sockets=[listening])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
