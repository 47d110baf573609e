"""The notebooks: clean, runnable from top to bottom, and beside each call the command that does the same."""

from __future__ import annotations

import json
import re
import runpy
from itertools import pairwise
from pathlib import Path

import pytest
from documents import CAPS, assert_commands_exist, commands
from notebook_runs import MAKERS, NAMES, NOTEBOOKS, NotebookRun, read_cells, run_notebook
from PIL import Image
from sample_images import CLASSES as OTHER_CLASSES
from test_specs import SMALL

from tao_like.cli.main import main
from tao_like.samples import (
    catalog,
    digit_scenes,
    lidar_scenes,
    shapes_captions,
    shapes_scenes,
    skeleton_actions,
)
from tao_like.tasks import spec_module, task_names

ROOT = Path(__file__).parents[1]
ONE_EPOCH = (
    "train.num_epochs=1",
    "train.optim.warmup_epochs=0",
    "train.accelerator=cpu",
    "train.validation_interval=1",
    "dataset.batch_size=8",
)
IMAGES_LEFT = 2
ON_OTHER_DATA = ("classification",)
"""Notebooks that are run as their last section says, on images of somebody's own."""
SCENES_LEFT = 8
FRAMES_LEFT = 4
PILLARS = "dataset.data_processor=[{name: transform_points_to_voxels, voxel_size: [0.32, 0.32, 4]}]"
ACTIONS_LEFT = 2
EXPECTED = {
    "classification": OTHER_CLASSES,
    "clip": tuple({one.label for one in shapes_captions.all_shapes()}),
    "pointpillars": lidar_scenes.KINDS,
    "pose_classification": skeleton_actions.ACTIONS,
    "segmentation": shapes_scenes.CLASSES,
    "instance_segmentation": shapes_scenes.CLASSES,
}
"""Classes of the data of a notebook that are no digits."""


def caps_of(task: str) -> dict[str, tuple[str, ...]]:
    """Less of everything, for each stage of a task.

    An epoch of few steps in the place of the usual two steps: the curves have a point an epoch.
    """
    caps = {stage: (*CAPS.get(stage, ()), "dataset.workers=0") for stage in spec_module(task).STAGES}
    caps["train"] = ("dataset.workers=0", *ONE_EPOCH, *SMALL[task])
    if task == "pointpillars":
        # The smaller range holds no whole number of the pillars that `init` chooses.
        caps["train"] += (PILLARS,)
    if task in MAKERS:
        caps["train"] += ("train.dvae.num_epochs=1",)
        return caps
    # Networks are too narrow to lose eight channels at a time.
    caps["prune"] += ("prune.steps=1", "prune.granularity=1")
    return caps


def task_of(path: Path) -> str:
    """The task that a notebook's commands call."""
    words = [words[1] for text in read_cells(path, "markdown") for words in commands(text) if len(words) > 1]
    return next(word for word in words if word in task_names())


def write_little(patch: pytest.MonkeyPatch) -> None:
    """Has `write_sample` write few images, scenes, frames and actions."""
    original = catalog.write_sample

    def write(name: str, folder: Path) -> Path:
        if name != "digits":
            return original(name, folder)
        for place in {path.parent for path in original(name, folder).rglob("*.png")}:
            for path in sorted(place.iterdir())[IMAGES_LEFT:]:
                path.unlink()
        return folder

    patch.setattr(catalog, "write_sample", write)
    for split in digit_scenes.COUNTS:
        patch.setitem(digit_scenes.COUNTS, split, SCENES_LEFT)
        patch.setitem(shapes_scenes.COUNTS, split, SCENES_LEFT)
        patch.setitem(lidar_scenes.COUNTS, split, FRAMES_LEFT)
    for split in shapes_captions.IMAGES:
        patch.setitem(shapes_captions.IMAGES, split, 1)
    for split in skeleton_actions.SEQUENCES:
        patch.setitem(skeleton_actions.SEQUENCES, split, ACTIONS_LEFT)


# `make acceptance` runs all of them, and in full.
SAMPLE = ("00_start_here",)
MARKED = [
    pytest.param(path, marks=() if name in SAMPLE else pytest.mark.acceptance, id=name)
    for path, name in zip(NOTEBOOKS, NAMES, strict=True)
]


@pytest.fixture(scope="module", params=MARKED)
def notebook(request: pytest.FixtureRequest) -> Path:
    """Each notebook in turn."""
    path: Path = request.param
    return path


@pytest.fixture(scope="module")
def run(notebook: Path, class_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> NotebookRun:
    """The notebook after all its cells have run, on little data and with few steps."""
    own_data = class_folders if notebook.stem in ON_OTHER_DATA else None
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp(notebook.stem))
        write_little(patch)
        return run_notebook(notebook, patch, caps_of(task_of(notebook)), own_data)


def test_a_notebook_holds_no_output(notebook: Path) -> None:
    text = notebook.read_text("utf-8")
    clean = runpy.run_path(str(ROOT / ".ci" / "clean_notebooks.py"))["cleaned"]
    assert text == clean(text), "run: python .ci/clean_notebooks.py"
    content = json.loads(text)
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in content["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in content["cells"]:
        assert re.fullmatch(r"[a-z0-9-]{1,64}", cell["id"])
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


def test_each_code_cell_stands_below_a_text(notebook: Path) -> None:
    kinds = [cell["cell_type"] for cell in json.loads(notebook.read_text("utf-8"))["cells"]]
    assert kinds[0] == "markdown"
    assert ("code", "code") not in list(pairwise(kinds))


def test_notebooks_that_share_a_folder_do_not_write_different_samples_to_one_place() -> None:
    written: dict[str, set[str]] = {}
    for path in NOTEBOOKS:
        for text in read_cells(path, "code"):
            for sample, folder in re.findall(r'write_sample\("(\w+)", Path\("(\w+)"\)\)', text):
                written.setdefault(folder, set()).add(sample)
    assert len(written) > 3
    assert all(len(samples) == 1 for samples in written.values()), written


def test_commands_and_files_that_are_named_exist(notebook: Path) -> None:
    for text in read_cells(notebook, "markdown"):
        assert_commands_exist(text)
        for target in re.findall(r"\]\(([^)#]+)", text):
            assert "://" in target or (notebook.parent / target).exists(), target
        for target in re.findall(r"\b(?:docs|specs|benchmarks)/[\w./]*\w", text):
            assert (ROOT / target).exists(), target


def test_the_command_beside_a_call_does_the_same(notebook: Path, run: NotebookRun) -> None:
    given = [words for text in read_cells(notebook, "markdown") for words in commands(text)]
    stages = [words for words in given if words[0] == "tao-like" and words[2:4] and words[3] == "-e"]
    assert [(task, stage, spec, overrides) for _, task, stage, _, spec, *overrides in stages] == run.calls


def test_the_command_beside_init_writes_the_same_spec(
    notebook: Path, run: NotebookRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.folder)
    given = [words[1:] for text in read_cells(notebook, "markdown") for words in commands(text)]
    (init,) = (words for words in given if words[1:2] == ["init"])
    spec = Path(init[init.index("-o") + 1])
    written = spec.read_text("utf-8")
    spec.unlink()
    with pytest.raises(SystemExit) as end:
        # The command names the sample; a notebook may have run on other data.
        main([*init[:2], str(run.names["DATA"]), *init[3:]])
    assert end.value.code == 0
    assert spec.read_text("utf-8") == written


def test_a_notebook_ends_with_a_comparison_in_which_one_file_is_int8(
    notebook: Path, run: NotebookRun
) -> None:
    if notebook.stem in MAKERS:
        pytest.skip("images are not compared by an accuracy")
    rows = run.names["compared"].rows
    assert len(rows) >= 2
    assert rows[-1]["form"] == "ONNX int8"


def test_cells_show_images_that_are_not_empty(run: NotebookRun) -> None:
    images = [shown for shown in run.shown if isinstance(shown, Image.Image)]
    assert len(images) >= 5
    for image in images:
        assert len(set(image.convert("L").resize((64, 64)).tobytes())) > 1


def test_other_data_takes_the_place_of_the_sample_where_one_line_is_changed(
    notebook: Path, run: NotebookRun
) -> None:
    if notebook.stem in MAKERS:
        pytest.skip("there are no classes")
    expected = set(EXPECTED.get(notebook.stem, map(str, range(10))))
    classes = run.names["model"].metadata.classes
    assert classes
    assert set(classes) <= expected


@pytest.mark.parametrize("title", ["Now with your own data", "For those who know TAO"])
def test_a_notebook_says_how_to_go_on(title: str, notebook: Path) -> None:
    headings = re.findall(r"^## (?:\d+\. )?(.*)$", "\n".join(read_cells(notebook, "markdown")), re.MULTILINE)
    assert title in headings
