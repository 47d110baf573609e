"""The page: it is there, it loads nothing from elsewhere, and nothing that is not there."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest
from serving import served

import tao_like

PAGE = Path(tao_like.__file__).parent / "service" / "page"
FILES = sorted(path for path in PAGE.iterdir() if path.suffix in (".html", ".js", ".css"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_loads_its_own_files_alone(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|@import|//cdn|eval\(|innerHTML|insertAdjacentHTML", text)
    named = re.findall(r'(?:from|src=|href=)\s*"(?:\./|/page/)([\w.]+)"', text)
    assert all((PAGE / name).is_file() for name in named)
    if path.suffix == ".js":
        for names, source in re.findall(r'import \{([^}]*)\} from "\./([\w.]+)"', text):
            exported = re.findall(
                r"export (?:async )?(?:function|const|class) (\w+)",
                (PAGE / source).read_text(encoding="utf-8"),
            )
            assert {name.strip() for name in names.split(",")} <= set(exported)


def test_it_is_served_with_a_policy(tmp_path: Path) -> None:
    with served(tmp_path, manages=False, require_token=True) as server:
        for path, kind in (
            ("/", "text/html"),
            ("/page/app.js", "text/javascript"),
            ("/page/style.css", "text/css"),
        ):
            with urllib.request.urlopen(server.url + path, timeout=30) as response:
                assert response.headers["Content-Type"].startswith(kind)
                assert "default-src 'self'" in response.headers["Content-Security-Policy"]
                assert response.read()
