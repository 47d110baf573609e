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
