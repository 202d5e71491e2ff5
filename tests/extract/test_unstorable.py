"""What happens to embeddings that cannot be stored: is it the clip's fault, or the encoder's?"""

import shutil
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from published import publish
from safetensors.torch import load_file, save_file

from vidsim.data.sources import from_folder
from vidsim.encoders import catalog
from vidsim.errors import VidsimError
from vidsim.extract import FeatureSpec
from vidsim.extract.encode import encode
from vidsim.extract.run import extract
from vidsim.extract.writer import DOUBTFUL, Writer
from vidsim.store import Entry, Failure, Store

__all__ = ["publish"]

LAST = "encoder.layer.1.output.dense.bias"


def with_bias(folder, target, value):
    """Copy a checkpoint, with another bias in its last block."""
    shutil.copytree(folder, target)
    weights = load_file(target / "model.safetensors")
    name = next(key for key in weights if key.endswith(LAST))
    save_file(weights | {name: torch.full_like(weights[name], value)}, target / "model.safetensors", {"format": "pt"})
    return target


@pytest.fixture
def run(publish, clips, tmp_path):
    """Return what extracts two clips by a checkpoint whose last bias is as told."""
    made = publish("timesformer-base")
    stimuli = from_folder(clips).first(2)
    store = Store(tmp_path / "root", create=True)

    def extracted(bias=0.0, **options):
        folder = tmp_path / f"bias {bias}"
        if not folder.exists():
            with_bias(made.folder, folder, bias)
        resolved = catalog.resolve(made.card, checkpoint=str(folder))
        return extract(stimuli, resolved, store, device="cpu", **options)

    return SimpleNamespace(extract=extracted, store=store, card=made.card)


def test_damaged_weights_are_told_and_mended_ones_taken(run):
    layer = run.card.layers[-2]  # the last block; behind it comes a norm
    with pytest.raises(VidsimError, match=r"bias nan.*NaN or infinity.*every stimulus tried \(2\).*weights") as told:
        run.extract(float("nan"))
    assert repr(layer) in str(told.value)
    assert not list(run.store.failures)
    assert not run.store.tables()
    assert run.extract().encoded == 2


def test_a_precision_too_narrow_does_not_stand_in_the_way_of_another(run):
    half = FeatureSpec(dtype="float16")
    with pytest.raises(VidsimError, match=r"beyond float16.*--dtype"):
        run.extract(1e5, spec=half)
    assert run.extract(1e5, spec=half, layers=[run.card.layers[0]]).encoded == 2
    assert run.extract(1e5).encoded == 2


def entries(number, first=0):
    return [Entry(f"{k}", f"/{k}.mp4", f"{k:032}", 1, 1) for k in range(first, first + number)]


def vectors(number, bad=()):
    rows = np.ones((number, 3), np.float32)
    rows[list(bad), 1] = np.nan
    return {"a": np.ones((number, 2), np.float32), "b": rows}


@pytest.fixture
def writer(tmp_path):
    store = Store(tmp_path, create=True)
    create = partial(store.create, "e", {}, default_layer="b", versions={})
    return Writer(store, None, create, origin="e from 'f'", dtype="float32", scope="e.spec", known_failures=[])


def test_a_clip_among_others_is_a_failure_of_its_own(writer):
    with writer:
        writer.add(entries(4), vectors(4, bad=[1, 3]))
    assert writer.table is not None
    assert ([*writer.table["b"].ids], writer.written) == (["0", "2"], 2)
    found = {failure.id: failure for failure in writer._store.failures}
    assert found == {
        name: replace(
            found[name],
            path=f"/{name}.mp4",
            scope="e.spec",
            kind="invalid-embedding",
            reason=f"the embedding of '{name}' at layer 'b' cannot be stored: it holds NaN or infinity",
        )
        for name in ("1", "3")
    }
    assert {failure.id for failure in writer.failed} == {"1", "3"}


def test_what_came_first_is_a_failure_once_others_are_stored(writer):
    with writer:
        writer.add(entries(2), vectors(2, bad=[0, 1]))
        writer._flush()
        writer._wait()
        assert not list(writer._store.failures)
        writer.add(entries(2, first=2), vectors(2))
    assert {failure.id for failure in writer._store.failures} == {"0", "1"}
    assert (writer.written, writer.table is not None and len(writer.table)) == (2, 2)


def test_an_encoder_that_gives_nothing_usable_stops_early(writer):
    writer.add(entries(DOUBTFUL), vectors(DOUBTFUL, bad=range(DOUBTFUL)))
    writer._flush()
    with pytest.raises(VidsimError, match=f"e from 'f'.*every stimulus tried .{DOUBTFUL}"):
        writer._wait()
    writer.__exit__(None, None, None)
    assert not list(writer._store.failures)


def test_files_that_cannot_be_read_are_kept_even_then(writer):
    unread = Failure(path="/x.mp4", id="x", scope="pyav", kind="truncated", reason="r")
    writer.add(entries(1), vectors(1, bad=[0]))
    writer.fail([unread])
    with pytest.raises(VidsimError, match="every stimulus"):
        writer.__exit__(None, None, None)
    assert [failure.path for failure in writer._store.failures] == ["/x.mp4"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda *_: None, "has returned a NoneType for layer 'rgb'; expected an array with a row for each of 2"),
        (lambda *_: {"rgb": np.ones(3)}, r"an array of shape \(3,\) for layer 'rgb'"),
        (lambda *_: {"rgb": "no"}, "a str for layer 'rgb'"),
        (lambda *_: 1 / 0, "the family 'pkg:Own' of own has failed: ZeroDivisionError: division by zero"),
    ],
)
def test_families_of_packages_are_held_to_what_encoders_return(given, message):
    card = replace(catalog.card("all-MiniLM-L6-v2"), name="own", family="pkg:Own")
    encoder = type(
        "Own", (), {"__module__": "pkg", "card": card, "provenance": {}, "prepare": given, "encode": given}
    )()
    with pytest.raises(VidsimError, match=message):
        encode(encoder, ["a", "b"], ["rgb"], FeatureSpec(), "cpu")
