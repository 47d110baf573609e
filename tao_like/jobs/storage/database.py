"""The database behind the jobs: a SQLite file, or PostgreSQL by its address."""

from __future__ import annotations

import sqlite3
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from tao_like.errors import SpecError
from tao_like.jobs.storage.tables import metadata

_LOCK = 0x7A01_13E5
"""The number of the advisory lock that a server keeps; any would do, as long as all servers have the same."""


def open_database(where: Path | str) -> Engine:
    """The database, with its tables.

    Args:
        where: the SQLite file, made where there is none; or an address, ``postgresql://user@host/name``.

    Raises:
        SpecError: the address is of another kind of database, its driver is not installed, or nobody answers.
    """
    if isinstance(where, Path):
        where.parent.mkdir(parents=True, exist_ok=True)
        engine = _sqlite(where)
        metadata.create_all(engine)
        where.chmod(0o600)
        return engine
    engine = _postgresql(where)
    try:
        metadata.create_all(engine)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        shown = engine.url.render_as_string(hide_password=True)
        raise SpecError(f"--database: {shown} cannot be used: {reason}") from error
    return engine


def claim(engine: Engine) -> Connection | None:
    """Keep other servers away from a PostgreSQL database, as long as the connection lives.

    A SQLite file lies in the server's folder, which is locked as a whole.

    Raises:
        SpecError: another server is at work on it.
    """
    if engine.dialect.name == "sqlite":
        return None
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    connection.detach()  # the lock ends with this connection, which no pool may keep
    if not connection.execute(text(f"SELECT pg_try_advisory_lock({_LOCK})")).scalar_one():
        connection.close()
        shown = engine.url.render_as_string(hide_password=True)
        raise SpecError(f"--database: another server is at work on {shown}; stop it, or give another")
    return connection


def _sqlite(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False, "timeout": 10})

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: Any) -> None:
        # WAL: readers do not wait for the writer. FULL: what was acknowledged outlives a power cut.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _postgresql(address: str) -> Engine:
    try:
        url = make_url(address)
    except ArgumentError as error:
        raise SpecError(
            "--database: it is no address; give one such as postgresql://user:password@host/name"
        ) from error
    if url.get_backend_name() != "postgresql":
        raise SpecError(
            f"--database: {url.get_backend_name()} is not supported; give postgresql://..., or leave it out "
            "for a SQLite file in the server's folder"
        )
    if find_spec("pg8000") is None:
        raise SpecError("--database: PostgreSQL needs pg8000; pip install 'tao_like[postgresql]'")
    # A connection that the other side has closed meanwhile is noticed before it is used.
    return create_engine(url.set(drivername="postgresql+pg8000"), pool_pre_ping=True)
