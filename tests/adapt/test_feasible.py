"""Feasible: what a machine lacks is said in a line; other errors stay as they are."""

import pytest
import torch
from torch._dynamo.exc import TorchDynamoException

from vidsim.adapt.feasible import feasible
from vidsim.errors import VidsimError

CPU = torch.device("cpu")


def out_of_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")


def out_of_memory_in_the_compiler():
    try:
        out_of_memory()
    except torch.OutOfMemoryError as error:
        raise TorchDynamoException("backend='inductor' raised:") from error


@pytest.mark.parametrize("fails", [out_of_memory, out_of_memory_in_the_compiler])
def test_memory_is_what_lacks_wherever_it_was_found(fails):
    with pytest.raises(VidsimError, match=r"^out of memory on cpu; set run.checkpointing = true"), feasible(CPU):
        fails()


def test_other_errors_stay_as_they_are():
    with pytest.raises(RuntimeError, match=r"^shapes differ$"), feasible(CPU):
        raise RuntimeError("shapes differ")
