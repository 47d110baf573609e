"""Reading pickles that hold nothing but data: a pickle may otherwise run any code when it is read."""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from tao_like.errors import DatasetError

LARGEST = 2**33
"""Bytes; a larger pickle is refused before it is read."""
STORING = ("PUT", "BINPUT", "LONG_BINPUT")
"""Operations that keep an object under a number of the pickle's own choice."""


class RefusedPickle(pickle.UnpicklingError):
    """A pickle asks for more than data."""


class DataUnpickler(pickle.Unpickler):
    """Lists, tuples, dictionaries, strings and numbers come by; every class and function is refused.

    Args:
        content: the pickle.
        allowed: (module, name) of what may be called after all.
    """

    def __init__(self, content: bytes, allowed: Mapping[tuple[str, str], Callable[..., Any]]) -> None:
        super().__init__(io.BytesIO(content))
        self._allowed = allowed

    def find_class(self, module_name: str, global_name: str) -> Any:
        """What a pickle asks for by name; called before anything of it could run."""
        if (module_name, global_name) in self._allowed:
            return self._allowed[module_name, global_name]
        raise RefusedPickle(f"it asks for {module_name}.{global_name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        """Objects from elsewhere are refused."""
        del pid
        raise RefusedPickle("it asks for an outside object")


def _check_sizes(content: bytes) -> None:
    """Walks through a pickle without running it, and refuses one for which much more memory would be reserved
    than it fills: Python's unpickler keeps a list as long as the highest number of an object, and takes the
    stated length of a text at its word.

    Raises:
        UnpicklingError: an object's number is higher than the objects before it explain.
        ValueError: an operation is unknown, or longer than the file.
    """
    for count, (operation, argument, _) in enumerate(pickletools.genops(content)):
        if operation.name in STORING and isinstance(argument, int) and argument > count:
            raise pickle.UnpicklingError(f"it numbers one of at most {count} objects {argument}")


def read_data_pickle(path: Path, allowed: Mapping[tuple[str, str], Callable[..., Any]] | None = None) -> Any:
    """Reads a pickle without running code from it.

    Args:
        path: the file.
        allowed: functions that a pickle may call, by module and name; nothing where left out. Each must be
            harmless with any arguments.

    Raises:
        DatasetError: it is damaged, or asks for more than data.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise DatasetError(f"{path} has {path.stat().st_size} bytes; {LARGEST} are the most for a pickle")
        content = path.read_bytes()
        _check_sizes(content)
        return DataUnpickler(content, allowed or {}).load()
    except RefusedPickle as error:
        raise DatasetError(
            f"{path} is not read: a pickle can run code, so only lists, texts and numbers are taken from "
            f"one, and {error}. Save it as .json or .npy"
        ) from error
    except (MemoryError, DatasetError):
        raise
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    except Exception as error:  # a damaged pickle fails in every way there is
        raise DatasetError(f"{path} is damaged: {error}. Replace it") from error
