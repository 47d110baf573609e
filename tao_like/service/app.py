"""The application: routes, errors, the page, and the manager that lives as long as it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

import tao_like
from tao_like.jobs.executors import executor_of
from tao_like.jobs.manager import Manager
from tao_like.jobs.storage.store import Store
from tao_like.service.context import Context, Responses
from tao_like.service.problems import MEDIA_TYPE, add_handlers
from tao_like.service.routes import datasets, jobs, models, output, system
from tao_like.service.schemas import ProblemOut
from tao_like.service.security import Guard
from tao_like.service.settings import Settings

PREFIX = "/api/v2"
PAGE = Path(__file__).parent / "page"
_PROBLEM = {
    "model": ProblemOut,
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}},
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    401: {**_PROBLEM, "description": "The token is missing or unknown"},
    403: {**_PROBLEM, "description": "The caller may not do so"},
    404: {**_PROBLEM, "description": "There is no such thing"},
    409: {**_PROBLEM, "description": "It cannot be done as things stand"},
    422: {**_PROBLEM, "description": "The request or the spec is wrong"},
}


def create_app(settings: Settings, *, manages: bool = True) -> FastAPI:
    """The application of a server.

    Args:
        settings: its settings.
        manages: start jobs; without, they are only listed and queued.
    """
    store = Store(settings.database)
    manager = Manager(
        store,
        settings.jobs,
        executor_of(settings.execution),
        settings.slots,
        grace=settings.grace,
        environment=settings.execution.environment,
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if manages:
            manager.start()
        try:
            yield
        finally:
            if manages:
                manager.stop()
            store.close()

    app = FastAPI(
        title="tao_like",
        version=tao_like.__version__,
        description="Trains, evaluates and exports vision models as jobs, in the shape of TAO's API v2.",
        lifespan=lifespan,
        openapi_url=f"{PREFIX}/openapi.json",
        # The pages of Swagger and Redoc load their scripts from elsewhere; this server works offline.
        docs_url=None,
        redoc_url=None,
    )
    app.state.context = Context(settings, store, manager, Responses(store))
    add_handlers(app)
    api = APIRouter(prefix=PREFIX, responses=_ERRORS)
    for module in (output, jobs, datasets, models, system):  # the narrower paths first
        api.include_router(module.router)
    app.include_router(api)
    app.mount("/page", StaticFiles(directory=PAGE), name="page")

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    app.add_middleware(Guard, store=store, settings=settings)
    return app
