"""`tao-like server`: the REST API and the page in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tao_like.config.blocks.execution import ExecutionSpec

_JOBS_ELSEWHERE = 100
"""Jobs that an engine is given at a time; it has a queue of its own."""


_DATABASE = click.option(
    "--database",
    default="",
    envvar="TAO_LIKE_DATABASE",
    help="PostgreSQL, as postgresql://user:password@host/name; left out: TAO_LIKE_DATABASE, else a file.",
)


@click.group("server", short_help="Serve the REST API and a page in the browser.")
def server() -> None:
    """Serves the REST API and a page in the browser (needs `tao_like[service]`)."""


@server.command("start", short_help="Start the server.")
@click.option(
    "-f",
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("tao_like_service"),
    show_default=True,
    help="Where jobs, data and the database lie.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8042, show_default=True, type=click.IntRange(0, 65535), help="0: a free one.")
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="A folder in which data and models may lie. May be given several times.",
)
@click.option("--allow-host", "hosts", multiple=True, help="Another name by which this server is called.")
@click.option("--require-token", is_flag=True, help="Ask for a token on 127.0.0.1 too.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 1000),
    help="Jobs side by side; left out: one a GPU, else one; 100 of an engine.",
)
@click.option("--gpus", help="GPUs for jobs, such as 0,1; left out: all; none: the CPU.")
@click.option(
    "--execution",
    "execution_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A YAML file with the block `execution`: where jobs run; left out: here.",
)
@_DATABASE
@click.option("--max-upload", default=10.0, show_default=True, help="Largest upload in GiB.")
def start(
    folder: Path,
    host: str,
    port: int,
    roots: tuple[Path, ...],
    hosts: tuple[str, ...],
    require_token: bool,
    jobs: int | None,
    gpus: str | None,
    execution_file: Path | None,
    database: str,
    max_upload: float,
) -> None:
    """Starts the server. Jobs are processes of their own: they outlive it, and it finds them again.

    On 127.0.0.1 it asks for no token. On another address it does; the first start writes one for the
    administrator into the file `token` of its folder.
    """
    _require_service()
    from tao_like.jobs.slots import Slots, gpus_of_machine
    from tao_like.service.server import serve
    from tao_like.service.settings import GIB, Settings

    execution = _execution(execution_file)
    elsewhere = execution.executor != "local"
    if elsewhere and gpus is not None:
        raise click.UsageError(f"--gpus: {execution.executor} gives jobs their devices; leave it out")
    devices = () if elsewhere else gpus_of_machine() if gpus is None else _numbers(gpus)
    settings = Settings(
        folder.absolute(),
        host,
        port,
        tuple(root.absolute() for root in roots),
        hosts,
        require_token,
        Slots(jobs or (_JOBS_ELSEWHERE if elsewhere else max(1, len(devices))), devices, elsewhere),
        int(max_upload * GIB),
        execution=execution,
        database_url=database,
    )
    serve(settings, click.echo)


@server.command("token", short_help="Give somebody a token.")
@click.argument("name")
@click.option("--role", type=click.Choice(["admin", "user", "read"]), default="user", show_default=True)
@click.option("--revoke", is_flag=True, help="End the token of that name instead.")
@click.option(
    "-f",
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path("tao_like_service"),
    show_default=True,
    help="The server's.",
)
@_DATABASE
def token(name: str, role: str, revoke: bool, folder: Path, database: str) -> None:
    """Gives NAME a new token and prints it, once; an older one of that name ends. A server may be at work."""
    _require_service()
    from tao_like.jobs.storage.store import Store
    from tao_like.service.security import make_token
    from tao_like.service.settings import Settings

    store = Store(Settings(folder, database_url=database).database)
    if not revoke:
        click.echo(make_token(store, name, role))
    elif not store.remove_token(name):
        raise click.UsageError(f"There is no token of {name}.")
    store.close()


def _execution(file: Path | None) -> ExecutionSpec:
    """The block of a file that says where jobs run; without one, here."""
    from tao_like.config import load_spec
    from tao_like.config.blocks.common import CommonSpec

    return load_spec(CommonSpec, file).spec.execution


def _numbers(text: str) -> tuple[int, ...]:
    if text == "none":
        return ()
    words = text.split(",")
    if not all(word.isdigit() for word in words) or len(set(words)) != len(words):
        raise click.UsageError(f"--gpus {text}: give numbers, each once, such as 0,1; or none")
    return tuple(int(word) for word in words)


def _require_service() -> None:
    from importlib.util import find_spec

    for name in ("fastapi", "uvicorn", "sqlalchemy"):
        if find_spec(name) is None:
            raise click.UsageError(f"{name} is not installed; pip install 'tao_like[service]'")
