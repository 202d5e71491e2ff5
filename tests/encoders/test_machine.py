"""The machine: what a device lacks is said in a line that names it, and blamed on no file."""

import pytest
import torch

from vidsim.encoders import catalog
from vidsim.encoders.machine import able
from vidsim.errors import VidsimError
from vidsim.extract.encode import encode
from vidsim.extract.spec import FeatureSpec

LACKING = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError(),
]
FAILING = [
    RuntimeError("CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
]


@pytest.mark.parametrize("error", LACKING)
def test_memory(error):
    with pytest.raises(VidsimError, match=r"^out of memory on cuda:1; do less$"), able("cuda:1", "do less"):
        raise error


@pytest.mark.parametrize("error", FAILING)
def test_a_device_that_fails(error):
    with pytest.raises(VidsimError) as told, able("cuda:1", "do less"):
        raise error
    assert str(told.value).startswith(f"cuda:1 fails: {str(error).splitlines()[0]}; expected a torch that is built for")
    assert "\n" not in str(told.value)


def test_any_other_error_stays():
    with pytest.raises(RuntimeError, match="shapes differ"), able("cpu", "do less"):
        raise RuntimeError("shapes differ")


@pytest.mark.parametrize("error", [*LACKING, *FAILING])
def test_extraction_tells_it_wherever_it_happens(error, publish, clips, monkeypatch):
    def fail(*_, **__):
        raise error

    said = "fails: " if error in FAILING else "out of memory on cpu; "
    made = publish("dino-vitb16")
    resolved = catalog.resolve(made.card, checkpoint=str(made.folder))
    encoder, spec = catalog.load(resolved, device="cpu"), FeatureSpec()
    batch = list(clips(made.card, 2))
    monkeypatch.setattr(encoder, "forward", fail)  # in its first pass too
    with pytest.raises(VidsimError, match=said):
        encode(encoder, batch, made.card.layers, spec, "cpu")
    with monkeypatch.context() as patched:
        patched.setattr(torch, "stack", fail)
        with pytest.raises(VidsimError, match=said):
            encode(encoder, batch, made.card.layers, spec, "cpu")
    monkeypatch.setattr("transformers.ViTModel.from_pretrained", fail)
    with pytest.raises(VidsimError, match=f"^(?!.*config.json).*{said}"):
        catalog.load(resolved, device="cpu")
