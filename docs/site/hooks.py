"""What mkdocs does beside building: takes up pages from all over the repository, and mends their links.

A document's links are paths in the repository, so that they work there. On the site they lead to the page
that the file became; a file that is no page is put on the site as it is. A link to what is not there ends the
build.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import spec_reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tao_like.tasks import spec_module, task_names

ROOT = Path(__file__).resolve().parents[2]
SINGLE_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changes.md"}
PROJECT = ["contributing.md", "decisions.md", "changes.md", "license.md"]
FENCES = re.compile(r"^(`{3,}).*?^\1$", re.MULTILINE | re.DOTALL)
LINKS = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]*)(#[^)\s]*)?(?=\))")


def documents() -> dict[str, str]:
    """Every Markdown file that is a page: its path in the repository, and its place on the site."""
    docs = {path.relative_to(ROOT).as_posix(): path.name for path in sorted((ROOT / "docs").glob("*.md"))}
    readmes = {f"tao_like/tasks/{task}/README.md": f"tasks/{task}.md" for task in task_names()}
    return SINGLE_PAGES | docs | {path: place for path, place in readmes.items() if (ROOT / path).is_file()}


def spec_places() -> dict[str, str]:
    """The folders of ready specs, and the files in them, each with its place on the site."""
    places = {"LICENSE": "license.md"}
    for folder in sorted((ROOT / "specs").iterdir()):
        page = f"specs/{folder.name}.md"
        places[f"specs/{folder.name}"] = page
        for path in sorted(folder.glob("*.yaml")):
            places[f"specs/{folder.name}/{path.name}"] = f"{page}#{path.stem}"
    return places


def ready_specs(task: str) -> str:
    """The page that shows a task's ready spec files."""
    lines = [
        f"# Ready specs of {task}",
        "",
        f"`tao-like specs copy {task}` puts them into a folder of yours.",
        "",
    ]
    for path in sorted((ROOT / "specs" / task).glob("*.yaml")):
        lines += [
            f"## {path.name} {{ #{path.stem} }}",
            "",
            "```yaml",
            path.read_text("utf-8").rstrip(),
            "```",
            "",
        ]
    return "\n".join(lines)


def generated_pages() -> Iterator[tuple[str, str]]:
    """The pages that stand in no file: place on the site and text."""
    yield "license.md", f"# Licence\n\n```text\n{(ROOT / 'LICENSE').read_text('utf-8')}```\n"
    for task in task_names():
        yield f"reference/{task}.md", spec_reference.spec_reference(task, spec_module(task).Spec)
        if (ROOT / "specs" / task).is_dir():
            yield f"specs/{task}.md", ready_specs(task)


def outside_fences(text: str, change: Callable[[str], str]) -> str:
    """The text with everything changed that stands in no fenced block."""
    parts, end = [], 0
    for fence in FENCES.finditer(text):
        parts += [change(text[end : fence.start()]), fence.group()]
        end = fence.end()
    return "".join([*parts, change(text[end:])])


def linked_files(source: str) -> set[str]:
    """The files that a document links to and that are no pages, as paths in the repository."""
    known = documents() | spec_places()
    found: set[str] = set()

    def note(text: str) -> str:
        for link in LINKS.finditer(text):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link.group(1)))
            if path not in known:
                found.add(path)
        return text

    outside_fences((ROOT / source).read_text("utf-8"), note)
    return found


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Makes the navigation, so that a new task and a new page in docs/ need no line anywhere."""
    pages, tasks = documents(), task_names()
    guides = [place for source, place in pages.items() if source.startswith("docs/") and place not in PROJECT]
    config.nav = [
        {"Start": "index.md"},
        {"Tasks": [page for page in pages.values() if page.startswith("tasks/")]},
        {"Guides": guides},
        {"Ready specs": [{task: f"specs/{task}.md"} for task in tasks if (ROOT / "specs" / task).is_dir()]},
        {"Spec reference": [{task: f"reference/{task}.md"} for task in tasks]},
        {"Project": PROJECT},
    ]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the pages that lie outside of docs/, those made here, and the files that they link to."""
    for source, place in documents().items():
        if not source.startswith("docs/"):
            files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    for place, text in generated_pages():
        files.append(File.generated(config, place, content=text))
    for path in sorted(set().union(*map(linked_files, documents()))):
        if not (ROOT / path).exists():
            raise PluginError(f"a document links to {path}, which is not there")
        for file in _files_below(ROOT / path):
            files.append(File.generated(config, _copy_of(file), abs_src_path=str(ROOT / file)))
        if (ROOT / path).is_dir():
            files.append(File.generated(config, f"files/{path}.md", content=_listing(path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Has a document's links lead to their places on the site."""
    del config, files
    source = {place: source for source, place in documents().items()}.get(page.file.src_uri)
    if source is None:
        return markdown
    known = documents() | spec_places()

    def mend(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link.group(1)))
        place = known.get(path) or (f"files/{path}.md" if (ROOT / path).is_dir() else _copy_of(path))
        return posixpath.relpath(place, posixpath.dirname(page.file.src_uri) or ".") + (link.group(2) or "")

    return outside_fences(markdown, lambda text: LINKS.sub(mend, text))


def _copy_of(path: str) -> str:
    return f"files/{path}"


def _files_below(path: Path) -> Iterator[str]:
    found = sorted(path.iterdir()) if path.is_dir() else [path]
    yield from (file.relative_to(ROOT).as_posix() for file in found if file.is_file())


def _listing(folder: str) -> str:
    """A page with the files of a folder."""
    names = [posixpath.basename(file) for file in _files_below(ROOT / folder)]
    rows = [f"- [{name}]({posixpath.basename(folder)}/{name})" for name in names]
    return "\n".join([f"# {folder}", "", *rows, ""])
