"""`tao-like jobs`: the jobs of a server."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tao_like.jobs.attached import AttachedJob
    from tao_like.service.client import Client
    from tao_like.service.responses import Job

_COLORS = {"Done": "green", "Error": "red", "Canceled": "red", "Running": "cyan"}


@click.group("jobs", short_help="The jobs of a server: list, show, logs, cancel and more.")
@click.option("--server", "url", help="Its address; left out: TAO_LIKE_SERVER, the file, or this machine.")
@click.pass_context
def jobs(context: click.Context, url: str | None) -> None:
    """Talks to a server that `tao-like server start` has started.

    Address and token come from the variables TAO_LIKE_SERVER and TAO_LIKE_TOKEN, or from `url` and `token`
    in ~/.config/tao_like/server.yaml. A job is named by its id, or by the beginning of it. show, logs, cancel
    and attach also take the folder of a job that was handed to an executor without a server.
    """
    context.ensure_object(dict)["url"] = url


def _client() -> Client:
    from tao_like.service.client import Client

    return Client((click.get_current_context().obj or {}).get("url"))


def _job(client: Client, given: str) -> str:
    """The id that begins so. Raises UsageError."""
    if len(given) == 36:
        return given
    found = [job["id"] for job in client.list_jobs(limit=500) if job["id"].startswith(given)]
    if len(found) != 1:
        many = "several jobs have an id that begins" if found else "no job has an id that begins"
        raise click.UsageError(f"{many} with {given}; see tao-like jobs list")
    return found[0]


def _attached(given: str) -> AttachedJob | None:
    """The job of a folder; None where it is no such folder."""
    from tao_like.jobs.attached import AttachedJob

    return AttachedJob.read(Path(given)) if Path(given).is_dir() else None


@jobs.command("list", short_help="List jobs, the newest first.")
@click.option("-n", "--number", default=20, show_default=True, type=click.IntRange(1), help="At most.")
@click.option("--status", multiple=True, help="Such as Running; may be given several times.")
@click.option("--task", help="Of this task alone.")
def list_jobs(number: int, status: tuple[str, ...], task: str | None) -> None:
    """Lists jobs, the newest first."""
    from itertools import islice

    query: dict[str, Any] = {"limit": min(number, 500), "status": list(status) or None, "task": task}
    for job in islice(_client().list_jobs(**query), number):
        click.echo(_line(job))


def _line(job: Job) -> str:
    status = click.style(f"{job['status']:<9}", fg=_COLORS.get(job["status"], "yellow"))
    progress = job["progress"]
    told = str(job["error"] or progress.get("message", ""))
    if job["status"] == "Running" and progress.get("eta"):
        told = f"{told}, {progress['eta']} to go"
    what = f"{job['task']} {job['action']}"
    first = told.splitlines()[0][:80] if told else ""
    return f"{job['id'][:8]}  {status} {what:<28} {job['name'][:20]:<20} {first}"


@jobs.command("show", short_help="Show a job with its spec, as YAML.")
@click.argument("job")
def show(job: str) -> None:
    """Shows a job with its spec, as YAML."""
    if (attached := _attached(job)) is not None:
        click.echo(attached.state())
        return
    from tao_like.config.writing.yaml_text import dump

    client = _client()
    click.echo(dump(dict(client.get_job(_job(client, job)))), nl=False)


@jobs.command("logs", short_help="Print what a job has written.")
@click.argument("job")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
def logs(job: str, follow: bool) -> None:
    """Prints what a job has written; with -f, also what it writes until it has ended."""
    import time

    offset = 0
    if (attached := _attached(job)) is not None:
        read, settles = attached.log, attached.has_ended
    else:
        client = _client()
        identity = _job(client, job)
        read = partial(client.read_log, identity)
        settles = partial(_has_settled, client, identity)
    while True:
        settled = not follow or settles()
        data = read(offset)
        offset += len(data)
        click.echo(data.decode("utf-8", "replace"), nl=False)
        if settled and not data:
            return
        if not data:
            time.sleep(0.5)


def _has_settled(client: Client, identity: str) -> bool:
    return client.get_job(identity)["status"] in ("Done", "Error", "Canceled", "Paused")


@jobs.command("attach", short_help="Follow a job that was handed over with --detach.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
def attach(folder: Path) -> None:
    """Shows what the job of FOLDER tells until it has ended, and ends as it does."""
    from rich.console import Console

    from tao_like.jobs.attached import follow

    attached = _attached(str(folder))
    if attached is None:
        raise click.UsageError(f"{folder} is not the folder of a job; --detach has named it")
    if code := follow(attached, Console()):
        raise SystemExit(code)


@jobs.command("submit", short_help="Ask for a job.")
@click.argument("task")
@click.argument("action")
@click.option("-e", "--experiment_spec_file", "spec", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--dataset", "dataset_id", help="Id of a data set.")
@click.option("--parent", "parent_job_id", help="Id of the job whose model it takes.")
@click.option("--name", default="", help="For people.")
@click.option("--priority", default=0, help="Higher ones start first.")
@click.option("--resume-when-lost", is_flag=True, help="Go on after a power cut.")
@click.option("--wait", is_flag=True, help="Wait until it has ended, and print what it tells.")
def submit(
    task: str, action: str, spec: Path | None, wait: bool, resume_when_lost: bool, **fields: Any
) -> None:
    """Asks for a job, such as: tao-like jobs submit classification train --dataset ID -e spec.yaml."""
    client = _client()
    if fields["parent_job_id"]:
        fields["parent_job_id"] = _job(client, fields["parent_job_id"])
    text = None
    if spec is not None:
        if not spec.is_file():
            raise click.UsageError(f"There is no file {spec}.")
        text = spec.read_text(encoding="utf-8")
    job = client.create_job(
        task,
        action,
        spec_yaml=text,
        on_lost="resume" if resume_when_lost else "fail",
        **fields,
    )
    click.echo(job["id"])
    if wait:
        for event in client.stream_job_events(job["id"]):
            if event["event"] == "log":
                click.echo(event["data"]["text"])
        client.wait(job["id"])


@jobs.command("files", short_help="List what a job has left.")
@click.argument("job")
def files(job: str) -> None:
    """Lists the files that a job has left."""
    client = _client()
    for file in client.list_job_files(_job(client, job)):
        click.echo(f"{file['bytes']:>12}  {file['path']}")


@jobs.command("download", short_help="Fetch a file of a job, or all as a zip.")
@click.argument("job")
@click.argument("path", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Left out: the file's own name.")
def download(job: str, path: str | None, output: Path | None) -> None:
    """Fetches a file of a job, or all of them as a zip."""
    client = _client()
    identity = _job(client, job)
    target = output or Path(Path(path).name if path else f"{identity[:8]}.zip")
    click.echo(client.download_job_file(identity, target, path))


def _verb(name: str, text: str) -> click.Command:
    @click.command(name, short_help=text, help=text)
    @click.argument("job")
    def command(job: str) -> None:
        if name == "cancel" and (attached := _attached(job)) is not None:
            attached.cancel()
            click.echo(attached.state())
            return
        client = _client()
        click.echo(_line(getattr(client, f"{name}_job")(_job(client, job))))

    return command


@jobs.command("delete", short_help="Remove a job that has ended.")
@click.argument("job")
def delete(job: str) -> None:
    """Removes a job that has ended, with all that it has left."""
    client = _client()
    client.delete_job(_job(client, job))


for _name, _text in (
    ("cancel", "Ask a job to end."),
    ("pause", "Stop a training so that it can go on."),
    ("resume", "Have a stopped training go on."),
    ("retry", "Have a job that failed or was canceled run again."),
):
    jobs.add_command(_verb(_name, _text))
