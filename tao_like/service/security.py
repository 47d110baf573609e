"""Who may call, and under which name of the server."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tao_like.jobs.job import Token
from tao_like.jobs.storage.store import Store
from tao_like.service.problems import MEDIA_TYPE, problem_body
from tao_like.service.settings import Settings, is_loopback

ADMIN = "admin"
_READING = ("GET", "HEAD", "OPTIONS")
_OPEN_PATHS = ("/api/v2/health",)
_STREAMED = (":upload", ":predict")
"""Paths whose bodies are files, which go to the disk in pieces and have limits of their own."""
_LARGEST_BODY = 8 << 20
"""Bytes of all other bodies: they are held in memory, and a spec is at most a megabyte."""
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; style-src 'self'; object-src 'none'; "
        b"frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
)


def hash_of(secret: str) -> str:
    """What is stored of a token. Nobody finds its 256 random bits by trying, so it needs no salt."""
    return hashlib.sha256(secret.encode()).hexdigest()


def make_token(store: Store, name: str, role: str) -> str:
    """Give somebody a new secret; an older one under the name ends."""
    secret = secrets.token_urlsafe(32)
    store.set_token(Token(name, role, hash_of(secret), time.time()))
    return secret


def first_token(store: Store, path: Path) -> str | None:
    """The administrator's secret, where nobody has one; written to a file that its owner alone can read."""
    if store.tokens():
        return None
    secret = make_token(store, ADMIN, ADMIN)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
    return secret


def owner_of(secret: str, tokens: Iterable[Token]) -> Token | None:
    """Whose secret it is. Takes as long for a nearly right one as for any other."""
    given = hash_of(secret)
    found = None
    for token in tokens:
        if secrets.compare_digest(given, token.sha256):
            found = token
    return found


class Guard:
    """Looks at every request before the application does.

    A name that is not the server's own is refused, since a foreign page may have its name point to this
    address; so is a request that changes something and comes from a foreign page. The role ``read`` may read,
    ``user`` may do all but give out tokens.
    """

    def __init__(self, app: ASGIApp, store: Store, settings: Settings) -> None:
        self.app, self.store, self.settings = app, store, settings
        own = {"localhost", settings.host.strip("[]"), *settings.hosts}
        if is_loopback(settings.host):
            own |= {"127.0.0.1", "::1"}
        self._hosts = {name.lower() for name in own}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, or answer it with an error."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refused(scope, headers)
        if refused is not None:
            await _refuse(send, *refused)
            return

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        if scope["path"].endswith(_STREAMED):
            await self.app(scope, receive, send_on)
            return
        if _declared(headers) > _LARGEST_BODY:
            await _refuse(send, 413, _TOO_LARGE)
            return
        left = _LARGEST_BODY

        async def receive_some() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, _TOO_LARGE)
            return message

        await self.app(scope, receive_some, send_on)

    def _refused(self, scope: Scope, headers: dict[bytes, str]) -> tuple[int, str] | None:
        host = _name_of(headers.get(b"host", ""))
        if host not in self._hosts:
            return 421, f"this server is not called {host!r}; start it with --allow-host to have it so"
        method, path = scope["method"], scope["path"]
        reads = method in _READING
        origin = headers.get(b"origin")
        if not reads and (
            (origin is not None and urlsplit(origin).netloc.lower() != headers.get(b"host", "").lower())
            or headers.get(b"sec-fetch-site") == "cross-site"
        ):
            return 403, "a page of another site may not change anything here"
        scope.setdefault("state", {})["who"] = Token("local", ADMIN, "", 0.0)
        if not self.settings.needs_token or path in _OPEN_PATHS or not path.startswith("/api/"):
            return None
        scheme, _, secret = headers.get(b"authorization", "").partition(" ")
        who = owner_of(secret.strip(), self.store.tokens()) if scheme.lower() == "bearer" else None
        if who is None:
            return (
                401,
                "give a token: Authorization: Bearer TOKEN; the administrator's is in the file `token`",
            )
        scope["state"]["who"] = who
        if who.role == "read" and not reads:
            return 403, f"the role of {who.name} is `read`, which changes nothing"
        return None


_TOO_LARGE = f"the body is larger than {_LARGEST_BODY} bytes"


def _declared(headers: dict[bytes, str]) -> int:
    """The length of a body as its header says; 0 where it says nothing."""
    text = headers.get(b"content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _name_of(host: str) -> str:
    """The name in a Host header, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


async def _refuse(send: Send, status: int, detail: str) -> None:
    body = json.dumps(problem_body(status, detail)).encode()
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        *_HEADERS,
    ]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
