"""What may stand in a spec file: declaring it, reading it, writing it and documenting it.

A spec class is a plain dataclass whose fields are made by ``spec_field`` and ``spec_block``. A block may
have a method ``check()`` that yields a ``RuleBreak`` for each rule between its keys that is broken. The root
class may set ``ignored`` and ``moved`` (class variables) for keys of other toolkits' spec files.
"""

from __future__ import annotations

from tao_like.config.fields import MISSING, Problem, RuleBreak, spec_block, spec_field
from tao_like.config.loading import LoadedSpec, load_spec, require, spec_from_dict
from tao_like.config.structure import FieldInfo, iter_fields
from tao_like.config.validation import validate_spec_class
from tao_like.config.writing.default_yaml import default_yaml
from tao_like.config.writing.json_schema import json_schema
from tao_like.config.writing.plain import to_dict, to_yaml

__all__ = [
    "MISSING",
    "FieldInfo",
    "LoadedSpec",
    "Problem",
    "RuleBreak",
    "default_yaml",
    "iter_fields",
    "json_schema",
    "load_spec",
    "require",
    "spec_block",
    "spec_field",
    "spec_from_dict",
    "to_dict",
    "to_yaml",
    "validate_spec_class",
]
