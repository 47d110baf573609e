"""Numbers that are given beside `init`, and what it suggests by them."""

from __future__ import annotations

import pytest

from tao_like.config.writing.annotated import AnnotatedValue
from tao_like.tasks.common.suggested import BATCH_KEY, asked


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        ([], 8),
        (["dataset.batch_size=3"], 3),
        (["dataset.batch_size=3", "train.num_epochs=1", "+dataset.batch_size=5"], 5),
        # The spec's own check refuses these.
        (["dataset.batch_size=0"], 8),
        (["dataset.batch_size=many"], 8),
        (["dataset.batch_size"], 8),
        (["dataset.batch_size_per_gpu=3"], 8),
    ],
)
def test_the_last_one_that_is_given_counts(overrides: list[str], found: int) -> None:
    value = asked(overrides, AnnotatedValue(BATCH_KEY, 8, "small"))
    assert value.value == found
    assert value.why == ("small" if found == 8 else "as it was given to `init`")
