"""The documentation site is built strictly, and holds what the repository holds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from tao_like.config import iter_fields
from tao_like.tasks import spec_module, task_names

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    # The hooks import the package, which need not be installed where pytest finds it.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def targets(page: Path) -> list[str]:
    """Where the links of a page's own text lead."""
    article = page.read_text("utf-8").partition("<article")[2].partition("</article>")[0]
    return [unescape(target) for target in re.findall(r'<a[^>]* href="([^"]+)"', article)]


def test_links_of_the_readme_lead_to_what_they_name(site: Path) -> None:
    found = targets(site / "index.html")
    assert {"from_tao.html", "contributing.html", "tasks/classification.html"} <= set(found)
    assert "specs/classification.html#prune" in found
    spec = (ROOT / "specs" / "classification" / "prune.yaml").read_text("utf-8").splitlines()[0]
    assert spec.lstrip("# ") in unescape((site / "specs" / "classification.html").read_text("utf-8"))


def test_every_link_inside_the_site_has_its_file_and_its_anchor(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        for target in targets(page):
            path, _, anchor = target.partition("#")
            if re.match(r"\w+:", target) or target.startswith("/"):
                continue
            leads_to = page.parent / path if path else page
            assert leads_to.is_file(), f"{page.name} links to {target}"
            if anchor:
                assert f'id="{anchor}"' in unescape(leads_to.read_text("utf-8")), f"{page.name}: {target}"


@pytest.mark.parametrize("task", task_names())
def test_the_reference_says_of_every_key_what_its_declaration_says(site: Path, task: str) -> None:
    page = unescape((site / "reference" / f"{task}.html").read_text("utf-8"))
    rows = dict(re.findall(r'<td><code id="([^"]+)">.*?</td>(.*?)</tr>', page, re.DOTALL))
    for field in iter_fields(spec_module(task).Spec):
        row = rows[field.key]
        for word in (*field.choices, *field.aliases, field.unit):
            assert str(word) in row, f"{field.key}: {word}"
        for number in re.findall(r"-?\d+(?:\.\d+)?", field.range):
            assert number in row, f"{field.key}: {field.range}"
        text = re.sub(r"</?code>|`", "", row)
        assert field.help.replace("`", "").rstrip(".") in text, field.key


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    tags = r"<(?:script|link|img|iframe|source)\b[^>]*(?:src|href)=[\"']?(?:https?:)?//[^>]*>"
    for page in site.rglob("*.html"):
        loaded = [tag for tag in re.findall(tags, page.read_text("utf-8")) if 'rel="canonical"' not in tag]
        assert not loaded, f"{page.name}: {loaded}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//", sheet.read_text("utf-8")), sheet.name


def test_what_programs_call_is_described(site: Path) -> None:
    page = (site / "python.html").read_text("utf-8")
    for name in (
        "tao_like.run",
        "tao_like.runtime.load",
        "tao_like.bundle.read_bundle",
        "tao_like.errors.SpecError",
    ):
        assert f'id="{name}"' in page
