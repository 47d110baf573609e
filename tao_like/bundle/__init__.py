"""The bundle (``.tltb``): the one file that a stage hands to the next.

A bundle is a zip archive whose members are not compressed: ``bundle.json``, and for each part of the network
``parts/<name>/weights.safetensors``, after pruning ``structure.json`` beside it, and for an imported network
``graph.onnx``. Format 1, which is still read, holds one part without its folder.
Reading one never unpickles and never runs or unpacks anything from it.
"""

from __future__ import annotations

from tao_like.bundle.content import GRAPH_ROLES, ONLY_PART, Bundle, Part
from tao_like.bundle.files import file_sha256, read_bundle, read_manifest, write_bundle
from tao_like.bundle.manifest import FORMAT, FORMAT_VERSION

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "GRAPH_ROLES",
    "ONLY_PART",
    "Bundle",
    "Part",
    "file_sha256",
    "read_bundle",
    "read_manifest",
    "write_bundle",
]
