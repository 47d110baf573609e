"""The JSON schema of a spec class, for editors and for services that take specs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from tao_like.config.fields import MISSING, Bounds, Rule
from tao_like.config.structure import Block, Kind, Member, describe, plain_default

_JSON_TYPES: Mapping[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
_NOTHING: tuple[Any, ...] = ({}, [], "", None, False)
_NO_INSTRUCTIONS = {"not": {"pattern": "^_.+_$"}}
_ANY_VALUE = {
    "propertyNames": _NO_INSTRUCTIONS,
    "additionalProperties": {"$ref": "#/$defs/value"},
    "items": {"$ref": "#/$defs/value"},
}


def json_schema(spec_class: type[Any]) -> dict[str, Any]:
    """The JSON schema (2020-12) of a spec class: types, ranges, choices, defaults and descriptions.

    Aliases, moved, ignored and refused keys are in it, so that it accepts the files that ``load_spec``
    accepts, with these exceptions: numbers where text is wanted need quotes, a reference ``${key}`` is
    accepted only where text is, and it does not see what spans blocks: ``check()``, and a key that is given
    in two of them under its two names.
    """
    root = describe(spec_class)
    schema = _block_schema(root)
    for old, new in getattr(spec_class, "moved", {}).items():
        described = (
            {**_schema_at(schema, new), "description": f"Another name of {new}."}
            if isinstance(new, str)
            else _unpacked_schema(schema, new)
        )
        _insert(schema, old, described)
    for key, reason in getattr(spec_class, "ignored", {}).items():
        _insert(schema, key, {"description": f"Ignored: {reason}.", "deprecated": True})
    for key, remedy in getattr(spec_class, "refused", {}).items():
        described = {"description": f"Not used: {remedy}.", "deprecated": True, "enum": list(_NOTHING)}
        _insert(schema, key, described)
    schema["properties"]["defaults"] = {
        "description": "Ready specs that this one is laid on, such as classification/small_data",
        "type": ["array", "string"],
        "items": {"type": "string"},
    }
    title = (spec_class.__doc__ or spec_class.__name__).strip().splitlines()[0]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **schema,
        "$defs": {"value": _ANY_VALUE},
    }


def _block_schema(block: Block, *, complete: bool = False) -> dict[str, Any]:
    """The schema of a block; ``complete`` where its mandatory keys must have a value at once."""
    properties: dict[str, Any] = {}
    exclusive = []
    for member in block.members.values():
        schema = _member_schema(member, complete)
        properties[member.name] = schema
        for alias in member.rule.aliases:
            another = f"Another name of {member.name}. {member.rule.help}"
            properties[alias] = {**schema, "description": another}
        if member.kind.block is None:  # blocks may be given in parts under several names
            pairs = combinations((member.name, *member.rule.aliases), 2)
            exclusive += [{"not": {"type": "object", "required": list(pair)}} for pair in pairs]
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "allOf": exclusive} if exclusive else schema


def _member_schema(member: Member, complete: bool) -> dict[str, Any]:
    described = {"description": member.rule.help}
    if member.kind.block is not None:
        # A block whose keys are all commented out reads as null.
        return {
            **described,
            **_block_schema(describe(member.kind.block), complete=complete),
            "type": ["object", "null"],
        }
    schema = _kind_schema(member.kind, member.rule, member.rule.bounds)
    if member.may_be_empty and not (member.mandatory and complete):
        schema = {"anyOf": [{"const": MISSING}, schema]}
    facts: dict[str, Any] = {} if member.mandatory else {"default": plain_default(member)}
    if member.rule.unit:
        facts["x-unit"] = member.rule.unit
    if member.rule.automl:
        facts["x-automl"] = True
    return {**described, **schema, **facts}


def _element_schema(block: Block) -> dict[str, Any]:
    """A block as an element of a list, in which mandatory keys must stand under one of their names."""
    schema = _block_schema(block, complete=True)
    required = [
        {"anyOf": [{"required": [name]} for name in (member.name, *member.rule.aliases)]}
        for member in block.members.values()
        if member.mandatory
    ]
    return {**schema, "allOf": [*schema.get("allOf", []), *required]} if required else schema


def _kind_schema(kind: Kind, rule: Rule, bounds: Bounds) -> dict[str, Any]:
    if kind.block is not None:
        schema = _element_schema(describe(kind.block))
    elif kind.element is not None:
        items = _kind_schema(kind.element, rule, rule.element_bounds)
        schema = {"type": "array", "items": items}
        if kind.element.block is not None:  # one block stands for a list of one
            schema = {"anyOf": [schema, items]}
    elif kind.values is not None:
        inner = _kind_schema(kind.values, rule, rule.element_bounds)
        schema = {"type": "object", "additionalProperties": inner, "propertyNames": _NO_INSTRUCTIONS}
    elif kind.anything:
        return {"$ref": "#/$defs/value"}
    else:
        alternatives = [_scalar_schema(scalar, rule, bounds) for scalar in kind.scalars]
        schema = alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}
    return {"anyOf": [{"type": "null"}, schema]} if kind.optional else schema


def _scalar_schema(scalar: type, rule: Rule, bounds: Bounds) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": _JSON_TYPES[scalar]}
    if scalar in (int, float):
        limits = {
            "minimum": bounds.ge,
            "exclusiveMinimum": bounds.gt,
            "maximum": bounds.le,
            "exclusiveMaximum": bounds.lt,
        }
        schema |= {keyword: limit for keyword, limit in limits.items() if limit is not None}
    if scalar is str and rule.pattern:
        schema["pattern"] = f"^(?:{rule.pattern})$"
    if scalar is str and rule.words:
        schema["enum"] = list(rule.words)
    elif rule.choices:
        allowed = (*rule.choices, *rule.synonyms)
        schema["enum"] = [word for word in allowed if isinstance(word, scalar)]
    return schema


def _unpacked_schema(schema: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """The schema of a list whose elements are the values of several keys; empty, it says nothing."""
    elements = [_schema_at(schema, key) for key in keys]
    several = {"type": "array", "prefixItems": elements, "minItems": len(keys), "maxItems": len(keys)}
    return {"description": f"Each of {', '.join(keys)}.", "anyOf": [{"enum": list(_NOTHING)}, several]}


def _schema_at(schema: dict[str, Any], key: str) -> dict[str, Any]:
    """The schema of a dotted key."""
    for name in key.split("."):
        properties = schema.get("properties", {})
        schema = properties[name] if name in properties else schema.get("additionalProperties", {})
    return schema


def _insert(schema: dict[str, Any], key: str, described: dict[str, Any]) -> None:
    """Accept a dotted key too, below blocks that may exist only for it."""
    *parents, name = key.split(".")
    for parent in parents:
        empty = {"type": ["object", "null"], "properties": {}, "additionalProperties": False}
        schema = schema["properties"].setdefault(parent, empty)
    schema["properties"].setdefault(name, described)
