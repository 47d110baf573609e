"""The quantize stage: an exported network that computes in int8, scored against fp32."""

from tao_like.stages.quantize.stage import run

__all__ = ["run"]
