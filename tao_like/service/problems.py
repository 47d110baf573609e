"""Errors as RFC 9457 has them: ``application/problem+json``, with the spec's keys and lines."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tao_like.errors import Problem, SpecError, TaoLikeError
from tao_like.tracking.files import to_plain

MEDIA_TYPE = "application/problem+json"


class ApiError(Exception):
    """A request that cannot be served.

    Args:
        status: the HTTP status.
        detail: what was given, the rule, and what to do.
        problems: one by one, with key, file and line.
    """

    def __init__(self, status: int, detail: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(detail)
        self.status, self.detail, self.problems = status, detail, list(problems)


def problem_body(status: int, detail: str, problems: Sequence[Problem] = ()) -> dict[str, Any]:
    """The body of an error."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if problems:
        body["errors"] = [vars(problem) for problem in problems]
    # What was given stands in the sentences, whatever it was.
    plain: dict[str, Any] = to_plain(body)
    return plain


def _response(status: int, detail: str, problems: Sequence[Problem] = (), **headers: str) -> JSONResponse:
    return JSONResponse(
        problem_body(status, detail, problems), status, media_type=MEDIA_TYPE, headers=headers or None
    )


def add_handlers(app: FastAPI) -> None:
    """Have every error of an application leave it in this form."""

    @app.exception_handler(ApiError)
    async def api_error(_request: Request, error: ApiError) -> JSONResponse:
        return _response(error.status, error.detail, error.problems)

    @app.exception_handler(TaoLikeError)
    async def toolkit_error(_request: Request, error: TaoLikeError) -> JSONResponse:
        status = 422 if isinstance(error, SpecError) else 409
        return _response(status, str(error), error.problems)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        problems = [
            Problem(".".join(str(part) for part in found["loc"][1:]), str(found["loc"][0]), 0, found["msg"])
            for found in error.errors()
        ]
        detail = "; ".join(f"{problem.key}: {problem.text}" for problem in problems)
        return _response(422, detail, problems)

    @app.exception_handler(Exception)
    async def unforeseen(_request: Request, error: Exception) -> JSONResponse:
        # What went wrong stands in the server's log, and is nobody else's business.
        return _response(500, f"the server has a fault ({type(error).__name__}); its log has more")

    @app.exception_handler(HTTPException)
    async def http_error(_request: Request, error: HTTPException) -> JSONResponse:
        return _response(error.status_code, str(error.detail), (), **dict(error.headers or {}))
