"""Transfers on a CPU: values arrive, and what was fetched is a copy."""

import numpy as np
import pytest
import torch

from vidsim.encoders.transfer import Fetched, to_device


@pytest.mark.parametrize("values", [[1.5, 2.0], np.arange(3), torch.tensor([[7]])], ids=["list", "array", "tensor"])
def test_values_arrive(values):
    there = to_device(values, "cpu")
    assert there.device.type == "cpu"
    np.testing.assert_array_equal(there, np.asarray(values))


def test_what_was_fetched_is_a_copy_of_its_own():
    map_of_tokens = torch.arange(12.0).view(3, 4)
    fetched = Fetched(map_of_tokens[:, 0]), Fetched(map_of_tokens.T)
    map_of_tokens.zero_()
    column, turned = (one.wait() for one in fetched)
    assert column.tolist() == [0, 4, 8]
    assert turned.is_contiguous()
    assert turned[1].tolist() == [1, 5, 9]
    assert column.untyped_storage().nbytes() == 12
