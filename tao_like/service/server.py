"""Starts the server: one process, one event loop, and the jobs' thread."""

from __future__ import annotations

import socket
from collections.abc import Callable

from tao_like.errors import SpecError
from tao_like.jobs.lock import only_server
from tao_like.service.settings import Settings


def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Serve until a signal comes. Jobs go on after that.

    Raises:
        SpecError: the address is taken or unknown, or another server is at work on the folder.
    """
    import uvicorn

    from tao_like.jobs.storage.database import claim
    from tao_like.service.app import create_app
    from tao_like.service.security import first_token

    settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with only_server(settings.folder), _listening(settings) as listener:
        app = create_app(settings)
        claimed = claim(app.state.context.store.engine)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        if settings.needs_token and first_token(app.state.context.store, settings.token_file):
            say(f"A token for the administrator is in {settings.token_file}")
        say(f"tao_like is at http://{shown}:{port}/ and its API at http://{shown}:{port}/api/v2/")
        say(f"Jobs and data lie in {settings.folder.resolve()}; Ctrl-C stops the server, and jobs go on")
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, lifespan="on"
        )
        config.timeout_graceful_shutdown = 3  # somebody follows a job
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            if claimed is not None:
                claimed.close()


def _listening(settings: Settings) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        raise SpecError(
            f"--host {settings.host} --port {settings.port}: {error.strerror or error}"
        ) from error
    return listener
