"""Finds the spec files that come with the package."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def shipped_specs() -> Path:
    """The folder of the ready spec files, one folder a task inside.

    It lies in the package where that was installed from a wheel, and beside it in a checkout.
    """
    installed = PACKAGE / "specs"
    return installed if installed.is_dir() else PACKAGE.parent / "specs"


def shipped_spec_files() -> dict[str, Path]:
    """Every ready spec file by its name, such as ``classification/small_data``."""
    folder = shipped_specs()
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.glob("*/*.yaml"))
    }
