"""Trials: what fixes a training."""

import pytest

from bpe_bench import BPE_1, get_space
from bpe_bench.errors import SelectionError
from bpe_bench.training.trial import Trial


@pytest.mark.parametrize("seed", [-1, 2**31, 3_000_000_000, 2**32 - 1])
def test_a_seed_that_tables_cannot_keep_is_refused(seed):
    with pytest.raises(SelectionError) as caught:
        Trial(get_space("nas-bench-201").from_index(0), BPE_1, "digits", seed)
    assert str(caught.value) == (
        f"a seed is a whole number from 0 to 2147483647 (tables keep 32 bits), found {seed}"
    )
