"""Takes a request's body to the disk in pieces, with a limit and a sum."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request

from tao_like.service.problems import ApiError


@dataclass(frozen=True)
class Received:
    """What came: bytes and their sha256."""

    bytes: int
    sha256: str


async def receive(request: Request, target: Path, limit: int) -> Received:
    """Write a body into a file.

    Raises:
        ApiError: 413 where it is larger than ``limit``, 507 where the disk is full, 422 where it is empty.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    digest, size = hashlib.sha256(), 0
    try:
        with target.open("wb") as file:
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                digest.update(chunk)
                await asyncio.to_thread(file.write, chunk)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ApiError(507, "the server's disk is full") from error
        raise
    if not size:
        raise ApiError(
            422, "the body is empty; send the file as it is, as with curl --data-binary @photos.zip"
        )
    return Received(size, digest.hexdigest())


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"the upload is larger than {limit} bytes; the server's --max-upload sets the limit")
