"""A server in a thread of the test's process, with a client."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from tao_like.service.app import create_app
from tao_like.service.client import Client
from tao_like.service.context import Context
from tao_like.service.settings import Settings


@dataclass(frozen=True)
class Served:
    """A server at work."""

    url: str
    client: Client
    context: Context
    settings: Settings


@contextmanager
def served(
    folder: Path, *, manages: bool = True, token: str | None = None, **fields: Any
) -> Iterator[Served]:
    """A server on a free port of this machine."""
    settings = Settings(folder, port=0, **fields)
    app = create_app(settings, manages=manages)
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    try:
        yield Served(url, Client(url, token or "none"), app.state.context, settings)
    finally:
        server.should_exit = True
        thread.join()
