"""What a spec class consists of: its blocks, keys, types and rules, read once from the dataclasses."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from typing import Any

from tao_like.config.fields import METADATA_KEY, MISSING, Rule

SCALARS = (bool, int, float, str)
_SCALAR_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_ELEMENT_WORDS = {bool: "true or false", int: "whole numbers", float: "numbers", str: "texts"}


@dataclasses.dataclass(frozen=True)
class Kind:
    """A supported type: exactly one of scalars, element (a list), values (a mapping), block and anything."""

    scalars: tuple[type, ...] = ()
    element: Kind | None = None
    values: Kind | None = None
    block: type[Any] | None = None
    anything: bool = False
    optional: bool = False

    @property
    def is_text(self) -> bool:
        """Whether every value is text."""
        return self.scalars == (str,)

    def sentence(self) -> str:
        """What a user has to write, such as ``a whole number`` or ``a list of texts``."""
        if self.block is not None:
            words = "a block of keys"
        elif self.element is not None:
            words = f"a list{self.element._of_many()}"
        elif self.values is not None:
            words = f"a mapping{self.values._of_many()}"
        elif self.anything:
            words = "any value"
        else:
            words = " or ".join(_SCALAR_WORDS[scalar] for scalar in self.scalars)
        return f"{words} or null" if self.optional else words

    def _of_many(self) -> str:
        if self.scalars:
            return " of " + " or ".join(_ELEMENT_WORDS[scalar] for scalar in self.scalars)
        if self.element is not None:
            return " of lists"
        return " of blocks" if self.block is not None else ""

    def short(self) -> str:
        """The type in a programmer's words, such as ``int | str`` or ``list[float]``."""
        if self.block is not None:
            text = self.block.__name__
        elif self.element is not None:
            text = f"list[{self.element.short()}]"
        elif self.values is not None:
            text = f"dict[str, {self.values.short()}]"
        elif self.anything:
            text = "Any"
        else:
            text = " | ".join(scalar.__name__ for scalar in self.scalars)
        return f"{text} | None" if self.optional else text


@dataclasses.dataclass(frozen=True)
class Member:
    """One key of a block: a value or a nested block."""

    name: str
    kind: Kind
    rule: Rule
    field: dataclasses.Field[Any]

    @property
    def default(self) -> Any:
        """A fresh default value."""
        if self.field.default_factory is not dataclasses.MISSING:
            return self.field.default_factory()
        return self.field.default

    @property
    def mandatory(self) -> bool:
        """Whether the key has no default."""
        return isinstance(self.field.default, str) and self.field.default == MISSING

    @property
    def may_be_empty(self) -> bool:
        """Whether ``???`` may stand for its value: where the default is to have none."""
        return self.mandatory or self.field.default is None or self.field.default == ""


@dataclasses.dataclass(frozen=True)
class Block:
    """A spec class or one of its nested classes, with its keys in the order of declaration."""

    cls: type[Any]
    members: dict[str, Member]
    names: dict[str, str]
    """Every accepted name, aliases included, with the name that it stands for."""

    def lookup(self, name: str) -> Member | None:
        """The member with this name or alias."""
        return self.members[self.names[name]] if name in self.names else None


@dataclasses.dataclass(frozen=True)
class FieldInfo:
    """What documentation says of one key.

    Attributes:
        key: Dotted key; ``[]`` stands for each element of a list of blocks.
        type: Type in a programmer's words.
        default: Default value; ``MISSING`` when the key has none.
        help: What the key means.
        unit: Unit, or empty.
        range: Range in short, or empty.
        choices: Allowed values, or empty when any goes.
        aliases: Other names inside the same block.
        automl: Whether a search over hyper-parameters may vary it.
    """

    key: str
    type: str
    default: Any
    help: str
    unit: str
    range: str
    choices: tuple[Any, ...]
    aliases: tuple[str, ...]
    automl: bool


def kind_of(annotation: Any) -> Kind:
    """Read a type annotation.

    Raises:
        TypeError: the type cannot stand in a spec; a mistake of the spec's author, not of a user.
    """
    if annotation is Any:
        return Kind(anything=True)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _union_kind(annotation, arguments)
    if origin is list and len(arguments) == 1:
        return Kind(element=kind_of(arguments[0]))
    if origin is dict and arguments[0] is str:
        return Kind(values=kind_of(arguments[1]))
    if annotation in SCALARS:
        return Kind(scalars=(annotation,))
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return Kind(block=annotation)
    raise TypeError(f"{annotation!r} cannot be the type of a spec key")


def _union_kind(annotation: Any, arguments: tuple[Any, ...]) -> Kind:
    kinds = [kind_of(argument) for argument in arguments if argument is not type(None)]
    optional = len(kinds) < len(arguments)
    if len(kinds) == 1 and kinds[0].block is None:
        return dataclasses.replace(kinds[0], optional=optional)
    if not all(kind.scalars for kind in kinds):
        raise TypeError(f"{annotation!r}: only bool, int, float and str can be alternatives of a spec key")
    return Kind(scalars=tuple(kind.scalars[0] for kind in kinds), optional=optional)


_described: dict[type[Any], Block] = {}


def describe(cls: type[Any]) -> Block:
    """Read a spec class or block class; each class once.

    Raises:
        TypeError: a field is not declared with ``spec_field`` or ``spec_block``, has a type that a spec
            cannot hold, or shares a name with another one.
    """
    if cls not in _described:
        _described[cls] = _read_block(cls)
    return _described[cls]


def _read_block(cls: type[Any]) -> Block:
    hints = typing.get_type_hints(cls)
    members: dict[str, Member] = {}
    names: dict[str, str] = {}
    for field in dataclasses.fields(cls):
        where = f"{cls.__name__}.{field.name}"
        rule = field.metadata.get(METADATA_KEY)
        if rule is None:
            raise TypeError(f"{where} is not declared with spec_field() or spec_block()")
        try:
            kind = kind_of(hints[field.name])
        except TypeError as error:
            raise TypeError(f"{where}: {error}") from error
        members[field.name] = Member(field.name, kind, rule, field)
        for name in (field.name, *rule.aliases):
            if name in names:
                raise TypeError(f"{where}: the name {name} is taken already")
            names[name] = field.name
    return Block(cls, members, names)


def join(path: str, name: str) -> str:
    """The dotted key of ``name`` inside ``path``."""
    return f"{path}.{name}" if path else name


def plain_defaults(block: Block) -> dict[str, Any]:
    """The defaults of a block as nested dictionaries."""
    return {name: plain_default(member) for name, member in block.members.items()}


def plain_default(member: Member) -> Any:
    """The default of a key or block as plain values."""
    if member.kind.block is not None:
        return plain_defaults(describe(member.kind.block))
    default = member.default
    if isinstance(default, list):
        blocks = member.kind.element is not None and member.kind.element.block is not None
        return [dataclasses.asdict(element) for element in default] if blocks else default
    return default


def range_text(kind: Kind, rule: Rule) -> str:
    """The range of a key in short: ``> 0``, ``>= 1 or auto``, ``each 0 to 1``."""
    text = rule.bounds.symbols()
    if rule.element_bounds.symbols():
        text = f"each {rule.element_bounds.symbols()}"
    if rule.words:
        text = " or ".join([text or kind_of(int).sentence(), *rule.words])
    return text


def iter_fields(spec_class: type[Any]) -> Iterator[FieldInfo]:
    """Walk over all keys of a spec class that hold values, in the order of declaration."""
    yield from _iter_block(describe(spec_class), "")


def _iter_block(block: Block, path: str) -> Iterator[FieldInfo]:
    for member in block.members.values():
        key, kind, rule = join(path, member.name), member.kind, member.rule
        if kind.block is not None:
            yield from _iter_block(describe(kind.block), key)
            continue
        yield FieldInfo(
            key=key,
            type=kind.short(),
            default=plain_default(member),
            help=rule.help,
            unit=rule.unit,
            range=range_text(kind, rule),
            choices=rule.choices,
            aliases=rule.aliases,
            automl=rule.automl,
        )
        if kind.element is not None and kind.element.block is not None:
            yield from _iter_block(describe(kind.element.block), f"{key}[]")
