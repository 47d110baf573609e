"""Pickles made by hand that ask for far more memory than they fill."""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tao_like.data.skeletons.safe_pickle import read_data_pickle
from tao_like.errors import DatasetError

HOSTILE = {
    # An object is kept under the number 2**31: the list of all objects would take 32 GiB.
    "number of four bytes": b"\x80\x02]r" + struct.pack("<I", 2**31) + b".",
    "number as text": b"]p4000000000\n.",
    "number in the middle": pickle.dumps(["x"] * 5, 2)[:-1] + b"]r" + struct.pack("<I", 2**30) + b"0.",
    # Lengths of a text, of bytes and of a frame that the file does not hold.
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"ab.",
    "changing bytes": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"ab.",
    "text": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"ab.",
    "short bytes": b"\x80\x03B" + struct.pack("<I", 2**31) + b"ab.",
    "whole number": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"ab.",
}
READ = """
import resource, sys
from pathlib import Path
from tao_like.data.skeletons.safe_pickle import read_data_pickle
from tao_like.errors import DatasetError

used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = used + 200 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for name in sys.argv[1:]:
    try:
        read_data_pickle(Path(name))
    except DatasetError as error:
        print(error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_a_pickle_that_would_fill_the_memory_is_named(tmp_path: Path) -> None:
    """In a process that may take 200 MiB more than it has; one that took more would end in a MemoryError."""
    files = [tmp_path / f"{name}.pkl" for name in HOSTILE]
    for file, content in zip(files, HOSTILE.values(), strict=True):
        file.write_bytes(content)
    done = subprocess.run([sys.executable, "-c", READ, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(files)
    for file, line in zip(files, lines, strict=True):
        assert str(file) in line
        assert ("numbers one of at most" in line) == ("number " in file.stem and "whole" not in file.stem)


def test_numbers_that_the_objects_explain_are_read(tmp_path: Path) -> None:
    """More than 256 objects, so that numbers of four bytes occur; and a number that skips some."""
    path = tmp_path / "labels.pkl"
    content = ([str(number) for number in range(500)], list(range(500)))
    for protocol in (0, 1, 2, 3):
        path.write_bytes(pickle.dumps(content, protocol))
        assert read_data_pickle(path) == content
    path.write_bytes(b"\x80\x02(K\x01K\x02]q\x03l.")
    assert read_data_pickle(path) == [1, 2, []]


class Outside(pickle.Pickler):
    """Says of every set that it is an object of elsewhere, called by a list."""

    def persistent_id(self, thing: object) -> object:
        if not isinstance(thing, set):
            return None
        name: list[object] = []
        for _ in range(40):
            name = [name, name]
        return name


def test_the_name_of_an_outside_object_is_not_written_out(tmp_path: Path) -> None:
    """A list that holds a list twice, forty times over, is short in a pickle and endless as a text."""
    path = tmp_path / "labels.pkl"
    with path.open("wb") as file:
        Outside(file, 2).dump([set()])
    with pytest.raises(DatasetError, match="asks for an outside object"):
        read_data_pickle(path)
