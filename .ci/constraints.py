"""Print what is installed in this virtual environment as a constraints file.

``make constraints`` runs it in an environment that holds the project, what its tests need, and nothing else.
"""

from __future__ import annotations

from importlib.metadata import distributions

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

HEADER = """\
# The versions that the tests ran with, transitively; `make` installs exactly these. Whoever installs the
# package with pip is free to have newer ones. Renew with `make constraints`, then run `make test`.
# A line with a marker: this version needs a newer Python than the oldest that the project supports; there
# pip chooses.
"""
NOT_PINNED = {"pip", "setuptools", "wheel", "tao-like"}
PINNED_BY_TORCH = ("nvidia-", "cuda-", "triton")
KNOWN_PYTHONS = [Version(f"3.{minor}.{micro}") for minor in range(10, 20) for micro in range(20)]
OLDEST_PYTHON = KNOWN_PYTHONS[0]


def pin(name: str, version: str, requires_python: str) -> str:
    """Return one line; a local build's label, as in 2.13.0+cpu, is left to pip."""
    line = f"{name}=={Version(version).public}"
    supported = SpecifierSet(requires_python)
    first = next(python for python in KNOWN_PYTHONS if python in supported)
    if first == OLDEST_PYTHON:
        return line
    if first.micro == 0:
        return f'{line}; python_version >= "{first.major}.{first.minor}"'
    return f'{line}; python_full_version >= "{first}"'


def main() -> None:
    """Print the file."""
    pins = {
        canonicalize_name(found.name): pin(
            canonicalize_name(found.name), found.version, found.metadata.get("Requires-Python") or ""
        )
        for found in distributions()
    }
    print(HEADER, end="")
    for name in sorted(pins):
        if name not in NOT_PINNED and not name.startswith(PINNED_BY_TORCH):
            print(pins[name])


if __name__ == "__main__":
    main()
