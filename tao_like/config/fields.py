"""How a spec class is declared: ordinary dataclasses whose fields carry their meaning and their rules."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

MISSING = "???"
"""The value of a key that has no default: it must be given once its stage runs (see ``require``)."""

METADATA_KEY = "tao_like"

Number = int | float
Choices = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Bounds:
    """The range of a number; ``None`` leaves that side open."""

    ge: Number | None = None
    gt: Number | None = None
    le: Number | None = None
    lt: Number | None = None

    def hold(self, number: Number) -> bool:
        """Whether ``number`` lies inside."""
        return (
            (self.ge is None or number >= self.ge)
            and (self.gt is None or number > self.gt)
            and (self.le is None or number <= self.le)
            and (self.lt is None or number < self.lt)
        )

    def sentence(self) -> str:
        """The range in words, such as ``greater than 0 and at most 1``; empty when there is none."""
        parts = [
            f"{words} {limit}"
            for words, limit in (
                ("at least", self.ge),
                ("greater than", self.gt),
                ("at most", self.le),
                ("less than", self.lt),
            )
            if limit is not None
        ]
        return " and ".join(parts)

    def symbols(self) -> str:
        """The range in short, such as ``> 0`` or ``0 to 1``; empty when there is none."""
        if self.ge is not None and self.le is not None and self.gt is None and self.lt is None:
            return f"{self.ge} to {self.le}"
        parts = [
            f"{symbol} {limit}"
            for symbol, limit in ((">=", self.ge), (">", self.gt), ("<=", self.le), ("<", self.lt))
            if limit is not None
        ]
        return " and ".join(parts)


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a field means and what it may hold; lives in the metadata of the dataclass field."""

    help: str
    unit: str = ""
    bounds: Bounds = Bounds()
    element_bounds: Bounds = Bounds()
    choices_source: Choices | Callable[[], Sequence[Any]] | None = None
    words: tuple[str, ...] = ()
    automl: bool = False
    aliases: tuple[str, ...] = ()
    pattern: str | None = None
    path: bool = False
    synonyms: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def choices(self) -> Choices:
        """The allowed values, empty when any value goes; for a list, those of each element."""
        if self.choices_source is None:
            return ()
        return tuple(self.choices_source() if callable(self.choices_source) else self.choices_source)


@dataclasses.dataclass(frozen=True)
class RuleBreak:
    """A broken rule that spans several keys, as ``check()`` of a block yields it.

    Attributes:
        key: The key to blame, relative to the block; empty for the block itself.
        message: What is wrong and what to do, without the key's name in front.
    """

    key: str
    message: str


Problem = RuleBreak
"""The former name, which spec classes may still use; what an error carries is ``tao_like.errors.Problem``."""


@runtime_checkable
class Checked(Protocol):
    """A block with rules that span several of its keys."""

    def check(self) -> Iterator[RuleBreak]:
        """Yield a `RuleBreak` for every rule that the values break. Keys without a value hold ``MISSING``."""


def spec_field(
    default: Any,
    help: str,
    *,
    unit: str = "",
    ge: Number | None = None,
    gt: Number | None = None,
    le: Number | None = None,
    lt: Number | None = None,
    element_ge: Number | None = None,
    element_gt: Number | None = None,
    element_le: Number | None = None,
    element_lt: Number | None = None,
    choices: Choices | Callable[[], Sequence[Any]] | None = None,
    words: tuple[str, ...] = (),
    automl: bool = False,
    aliases: tuple[str, ...] = (),
    pattern: str | None = None,
    path: bool = False,
    synonyms: Mapping[str, str] | None = None,
) -> Any:
    """Declare a key of a spec with its default, its meaning and its rules.

    Args:
        default: Value when the key is not given; ``MISSING`` when there is no sensible one. Lists and
            dictionaries are copied for each spec.
        help: One sentence for users: what the key means.
        unit: Unit of the number, such as ``pixels`` or ``epochs``.
        ge, gt, le, lt: Range of a number: at least, greater than, at most, less than.
        element_ge, element_gt, element_le, element_lt: The same for each number in a list or mapping.
        choices: The allowed values (of each element for a list), or a function that returns them, which
            is called only when it is needed.
        words: The words that may stand where otherwise a number does: ``("auto",)`` for ``int | str``.
        automl: Whether a search over hyper-parameters may vary the key.
        aliases: Other names of the key inside the same block.
        pattern: Regular expression that the whole text must match.
        path: The text is a path: a leading ``~`` becomes the home folder, all else stays as written.
        synonyms: Other words for values, such as TAO's, to the value that each means.
    """
    rule = Rule(
        help=help,
        unit=unit,
        bounds=Bounds(ge, gt, le, lt),
        element_bounds=Bounds(element_ge, element_gt, element_le, element_lt),
        choices_source=choices,
        words=words,
        automl=automl,
        aliases=aliases,
        pattern=pattern,
        path=path,
        synonyms=synonyms or {},
    )
    metadata = {METADATA_KEY: rule}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def spec_block(block: type[Any], help: str, *, aliases: tuple[str, ...] = ()) -> Any:
    """Declare a nested block of keys, itself a dataclass, with its meaning and its other names."""
    metadata = {METADATA_KEY: Rule(help=help, aliases=aliases)}
    return dataclasses.field(default_factory=block, metadata=metadata)
