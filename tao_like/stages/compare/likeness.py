"""How near the outputs of the compared models are to those of the first one."""

from __future__ import annotations

from collections.abc import Sequence

from tao_like.contract.capabilities import Resembles
from tao_like.contract.inputs import preprocess
from tao_like.contract.sample import Outputs, Split
from tao_like.stages.compare.models import Candidate

MOST_SAMPLES = 64


def likenesses(candidates: Sequence[Candidate], split: Split) -> list[dict[str, float]]:
    """Figures of each model against the first one, on the same samples; empty where a task has none."""
    judge = candidates[0].task.capability(Resembles)
    if judge is None or len(candidates) == 1:
        return [{} for _ in candidates]
    wanted = _outputs(candidates[0], split)
    return [{}, *(judge.likeness(wanted, _outputs(one, split)) for one in candidates[1:])]


def _outputs(candidate: Candidate, split: Split) -> list[Outputs]:
    """Of some samples, spread evenly over the split."""
    dataset = candidate.task.data.dataset(split)
    count = min(MOST_SAMPLES, len(dataset))
    chosen = [dataset.sample(number * len(dataset) // count) for number in range(count)]
    inputs = candidate.task.inputs
    return [candidate.engine.run(preprocess(inputs, [sample])) for sample in chosen]
