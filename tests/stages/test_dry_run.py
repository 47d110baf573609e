"""What a spec's network costs, before it is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_text_to_image import SMALLEST, data_overrides, write_pairs

from tao_like.cli.main import main
from tao_like.errors import DatasetError
from tao_like.stages.dry_run import dry_run
from tao_like.tasks.text_to_image.model.dalle import DalleTransformer


def test_parts_are_counted_and_an_image_is_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*SMALLEST, *data_overrides(write_pairs(tmp_path)), "model.arch=dalle"]
    found = dry_run("text_to_image", None, words)
    assert set(found.parameters) == {"dvae", "transformer"}
    # Of the sizes that are asked for; 4 tokens of every vocabulary are no words, and a comma is one.
    vocabulary = 4 + len({word for path in tmp_path.rglob("*.txt") for word in _words(path)})
    alone = DalleTransformer(
        vocabulary=vocabulary, text_length=12, codes=240, grid=8, width=16, layers=1, heads=2
    )
    assert found.parameters["transformer"] == sum(one.numel() for one in alone.parameters())
    total = sum(found.parameters.values())
    # Four bytes a parameter at the least, and in training its gradient, two moments and the average too.
    assert 4 * total / 1e6 <= found.megabytes["run"] < 6 * total / 1e6
    assert found.megabytes["train"] == pytest.approx(5 * found.megabytes["run"])
    assert all(0 < seconds < 60 for seconds in found.seconds.values())
    assert found.makes == "image"
    with pytest.raises(SystemExit) as end:
        main(["text_to_image", "dry_run", *words])
    assert end.value.code == 0
    assert f"Parameters: {total:,} (dvae" in capsys.readouterr().out
    assert not (tmp_path / "results").exists()


def _words(path: Path) -> list[str]:
    if path.parent.name != "train":
        return []
    return path.read_text("utf-8").replace(",", " , ").split()


def test_it_needs_what_the_size_follows_from() -> None:
    with pytest.raises(DatasetError, match="no train data"):
        dry_run("text_to_image", None)
