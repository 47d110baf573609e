"""What a server is told when it starts."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from tao_like.config.blocks.execution import ExecutionSpec
from tao_like.jobs.slots import Slots

DEFAULT_PORT = 8042
GIB = 1 << 30


@dataclass(frozen=True)
class Settings:
    """A server's settings.

    Attributes:
        folder: holds the database, the jobs, uploaded data and the token.
        host: the address to listen on; port: 0 takes a free one.
        roots: further folders in which data and models may lie.
        hosts: names beside ``host`` and ``localhost`` that requests may use for this server.
        require_token: also where nobody but this machine can connect.
        slots: how many jobs run side by side, and on which devices.
        max_upload_bytes: of one upload; max_members, max_unpacked_bytes: of the archive in it.
        grace: seconds that a job has to end after it was asked to.
        execution: where jobs run.
        database_url: of PostgreSQL; empty: a SQLite file in the folder.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    roots: tuple[Path, ...] = ()
    hosts: tuple[str, ...] = ()
    require_token: bool = False
    slots: Slots = field(default_factory=Slots)
    max_upload_bytes: int = 10 * GIB
    max_members: int = 1_000_000
    max_unpacked_bytes: int = 50 * GIB
    grace: float = 30.0
    execution: ExecutionSpec = field(default_factory=ExecutionSpec)
    database_url: str = ""

    @property
    def needs_token(self) -> bool:
        """Whether callers must show a token: wherever others than this machine can connect."""
        return self.require_token or not is_loopback(self.host)

    @property
    def database(self) -> Path | str:
        """The SQLite file, or PostgreSQL's address."""
        return self.database_url or self.folder / "jobs.db"

    @property
    def jobs(self) -> Path:
        """Has a folder for each job."""
        return self.folder / "jobs"

    @property
    def datasets(self) -> Path:
        """Has a folder for each uploaded data set."""
        return self.folder / "datasets"

    @property
    def token_file(self) -> Path:
        """The administrator's token, written at the first start that needs one."""
        return self.folder / "token"

    @property
    def allowed_roots(self) -> tuple[Path, ...]:
        """The folders below which a path in a spec may lie, with links resolved."""
        return tuple(root.resolve() for root in (self.jobs, self.datasets, *self.roots))


def is_loopback(host: str) -> bool:
    """Whether an address is one of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
