"""Settings that must stand before torch or a download library is imported."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

LONG_FILES = (
    *("detection_stages", "specs", "pointpillars_stages", "text_to_image_stages", "instances_stages"),
    *("segmentation_stages", "clip_stages", "pose_stages", "classification_stages", "readme", "notebooks"),
    *("processes", "sharding", "resume_places", "search", "detection_architectures"),
    *("detection_predictions", "resume", "service_training", "attached"),
)
"""Files that take half a minute or more; they run first, for a long one at the end leaves the others idle."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts long files first, and marks what a task's class leaves to `make acceptance`."""
    order = {f"test_{name}.py": number for number, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))
    for item in items:
        is_left = getattr(getattr(item, "cls", None), "is_left_to_acceptance", None)
        if is_left is None or not isinstance(item, pytest.Function):
            continue
        if is_left(item.originalname, item.callspec.params if hasattr(item, "callspec") else {}):
            item.add_marker(pytest.mark.acceptance)


# These hold assertions of their own; pytest explains them only where it is told to.
pytest.register_assert_rewrite(
    "base",
    "base_devices",
    "base_faults",
    "base_processes",
    "base_prune",
    "base_quantize",
    "base_train",
    "pretended_device",
    "stage_runs",
)

# No test may reach the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
# Small work on many cores is slower than on two, and results must not depend on the machine's size. Where
# pytest-xdist runs several test processes, each gets one thread.
THREADS = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, THREADS)
# Threads that wait must not take the processor from those that work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Output is compared as text: no colors, one width.
os.environ["NO_COLOR"] = "1"
os.environ["COLUMNS"] = "120"
os.environ.pop("FORCE_COLOR", None)
# A test run started by a scheduler is not one process of a parallel training.
for variable in ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE"):
    os.environ.pop(variable, None)

# A shell starts what runs in its background deaf to Ctrl-C; tests send themselves one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def class_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train, val and test, each with three class folders of small images; change nothing."""
    from sample_images import write_class_folders  # it imports numpy, which reads the settings above

    return write_class_folders(tmp_path_factory.mktemp("class folders"))
