import json
import os
import pickle
import stat
from dataclasses import replace

import numpy as np
import pytest
import torch
from plain_cnn import plain_resnet, plain_slowfast, plain_x3d
from safetensors.torch import save_file
from zoo_files import SIZE, write_zoo_file

from vidsim.encoders import catalog
from vidsim.encoders.base import Sampling
from vidsim.encoders.video_cnn import build
from vidsim.errors import VidsimError
from vidsim.store import Store

from clips import write_clip

DIFFERENT = ("x3d-xs", "slow-r50", "slowfast-r50", "i3d-r50", "c2d-r50")
"""Networks; X3D-S and X3D-M are X3D-XS on other frames."""


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "cache"


def whole(_layer, features):
    return features


def loaded(made, **options):
    return catalog.load(catalog.resolve(made.card, checkpoint=str(made.path), **options), device="cpu")


def plain(made, batch):
    """Run a network without vidsim: rescale, centre, channels first, functions."""
    clip = ((batch.double() / 255 - 0.45) / 0.225).float().transpose(1, 2)
    frames = clip.shape[2]
    if made.card.architecture == "X3D":
        return plain_x3d(made.state, clip, (frames, 1, 1))
    if made.card.architecture == "SlowFast":
        return plain_slowfast(made.state, clip, ((frames // 4, 1, 1), (frames, 1, 1)))
    halved = made.card.architecture != "Slow"
    return plain_resnet(made.state, clip, (frames // 2 if halved else frames, 1, 1), halved=halved)


def pooled(maps, rule):
    """Pool by loops over clips and channels."""
    if isinstance(maps, list):
        return np.concatenate([pooled(pathway, rule) for pathway in maps], 1)
    if maps.ndim == 2 or rule == "flatten":
        return np.stack([clip.numpy().ravel() for clip in maps])
    return np.array([[float(channel.double().mean()) for channel in clip] for clip in maps])


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_published_file_gives_every_layer_pooled(name, clips, tmp_path):
    made = write_zoo_file(tmp_path, name)
    batch = clips(made.card, 2)
    expected = plain(made, batch)
    for rule in ("mean", "flatten"):
        found = loaded(made, pooling=rule).encode(batch, made.card.layers, whole)
        assert list(found) == list(made.card.layers)
        for layer, vectors in found.items():
            assert vectors.dtype == np.float32
            wanted = pooled(expected[layer], rule)
            np.testing.assert_allclose(vectors, wanted, rtol=0, atol=1e-5 * max(1, np.abs(wanted).max()))
    features = made.card.default_layer
    assert found[features].shape[1] > pooled(expected[features], "mean").shape[1]


def test_reduction_sees_each_layer_once_and_the_pass_ends_early(clips, tmp_path):
    made = write_zoo_file(tmp_path, "slowfast-r50")
    encoder, seen = loaded(made), []

    def first(layer, features):
        seen.append((layer, tuple(features.shape)))
        return features[:, :3]

    encoder.model.blocks[6].register_forward_hook(lambda *_: pytest.fail("the head ran"))
    found = encoder.encode(clips(made.card, 1), ["blocks.4"], first)
    assert seen == [("blocks.4", (1, 512 + 64))]
    assert found["blocks.4"].shape == (1, 3)


def test_clips_do_not_depend_on_their_batch(clips, tmp_path):
    made = write_zoo_file(tmp_path, "x3d-xs")
    encoder, batch = loaded(made), clips(made.card, 3)
    together = encoder.encode(batch, ["blocks.4", "blocks.5"], whole)
    for i, clip in enumerate(batch):
        for layer, vectors in encoder.encode(clip[None], ["blocks.4", "blocks.5"], whole).items():
            np.testing.assert_allclose(vectors[0], together[layer][i], rtol=0, atol=1e-5)


@pytest.mark.parametrize("frames", [8, 16])
def test_other_frames_and_sizes_are_refused_with_both(frames, clips, tmp_path):
    made = write_zoo_file(tmp_path, "x3d-xs")
    encoder, batch = loaded(made), clips(made.card, 1)
    with pytest.raises(VidsimError, match=f"x3d-xs takes 4 frames a clip, {frames} came"):
        encoder.encode(batch.repeat(1, frames // 4, 1, 1, 1), ["blocks.4"], whole)
    with pytest.raises(VidsimError, match="takes frames of 48x48 pixels, 24x48 came"):
        encoder.encode(batch[..., :24, :], ["blocks.4"], whole)


def test_the_paper_has_no_cls_token_here(tmp_path):
    made = write_zoo_file(tmp_path, "x3d-xs")
    with pytest.raises(VidsimError, match="x3d-xs has no CLS token to pool with; expected mean or flatten"):
        catalog.resolve(made.card, checkpoint=str(made.path), pooling="cls")


def test_pickles_are_converted_once_and_safetensors_taken_as_they_are(clips, caches, tmp_path):
    made = write_zoo_file(tmp_path, "x3d-xs")
    first = loaded(made)
    [folder] = (caches / "checkpoints").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["model.safetensors"]
    before = (folder / "model.safetensors").stat().st_mtime_ns
    loaded(made)
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    made.path.unlink()
    save_file(made.state, made.path.with_suffix(".safetensors"))
    again = catalog.load(catalog.resolve(made.card, checkpoint=str(tmp_path)), device="cpu")
    assert len(list((caches / "checkpoints").iterdir())) == 1
    batch = clips(made.card, 1)
    a, b = (encoder.encode(batch, ["blocks.5"], whole)["blocks.5"] for encoder in (first, again))
    np.testing.assert_array_equal(a, b)


def test_half_precision_is_computed_in_float32(clips, tmp_path):
    made = write_zoo_file(tmp_path, "x3d-xs")
    half = {name: value.half() if value.is_floating_point() else value for name, value in made.state.items()}
    torch.save({"model_state": half}, made.path)
    encoder = loaded(made)
    assert {weight.dtype for weight in encoder.model.parameters()} == {torch.float32}
    assert not any(weight.requires_grad for weight in encoder.model.parameters())
    assert not encoder.model.training
    encoder.encode(clips(made.card, 1), ["blocks.4"], whole)


def rewritten(made, change):
    state = dict(made.state)
    change(state)
    torch.save({"model_state": state}, made.path)


LAST = "blocks.4.res_blocks.0.branch2.conv_c.weight"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state.pop(LAST), rf"do not fit X3D of x3d-xs: {LAST} is missing$"),
        (lambda state: state.update(extra=torch.zeros(1)), "extra is left over$"),
        (lambda state: state.update({LAST: state[LAST][:-1]}), rf"{LAST} is 191x432x1x1x1, expected 192x432x1x1x1$"),
        (
            lambda state: state.update({f"model.{key}": state.pop(key) for key in list(state)}),
            r"blocks\.0\.conv\.conv_t\.weight is missing; .* and \d+ more$",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(change, told, tmp_path):
    made = write_zoo_file(tmp_path, "x3d-xs")
    rewritten(made, change)
    with pytest.raises(VidsimError, match=told):
        loaded(made)


def test_another_network_of_the_zoo_is_refused(tmp_path):
    slow, i3d = write_zoo_file(tmp_path, "slow-r50"), write_zoo_file(tmp_path, "i3d-r50")
    with pytest.raises(VidsimError, match=r"mine\.pyth' do not fit Slow of slow-r50: "):
        loaded(replace_path(slow, i3d.path.rename(tmp_path / "mine.pyth")))


def replace_path(made, path):
    return replace(made, path=path)


class Code:
    """A pickle that would run code."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    made = write_zoo_file(tmp_path, "x3d-xs", cfg=Code(tmp_path / "ran"))
    assert "ran" in pickle.dumps(Code(tmp_path / "ran"), 0).decode()
    with pytest.raises(
        VidsimError, match=r"not a pickle of plain tensors and may run code, .* named tensors under model_state"
    ):
        loaded(made)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"state_dict": {}, "epoch": 3}, "holds state_dict, epoch; expected a checkpoint of the zoo, with model_state"),
        ([1, 2], "holds list; expected a checkpoint of the zoo"),
        ({"model_state": [torch.zeros(1)]}, "holds more than named tensors"),
        (b"<html>404</html>", "is not a pickle of plain tensors"),
        (b"", "is not a pickle of plain tensors"),
    ],
)
def test_what_is_no_zoo_file_is_refused(content, told, tmp_path, caches):
    made = write_zoo_file(tmp_path, "x3d-xs")
    if isinstance(content, bytes):
        made.path.write_bytes(content)
    else:
        torch.save(content, made.path)
    with pytest.raises(VidsimError, match=told):
        loaded(made)
    assert [path for path in caches.rglob("*") if path.is_file()] == []


def test_broken_safetensors_are_told(tmp_path):
    made = write_zoo_file(tmp_path, "x3d-xs")
    broken = made.path.with_suffix(".safetensors")
    broken.write_bytes(b"no header")
    with pytest.raises(VidsimError, match=r"X3D_XS\.safetensors' cannot be read as safetensors"):
        loaded(replace_path(made, broken))


def test_an_architecture_that_is_not_known_is_told():
    with pytest.raises(VidsimError, match="no architecture 'R3D' for x3d-xs; expected X3D, C2D, I3D, Slow, SlowFast"):
        build(replace(catalog.card("x3d-xs"), architecture="R3D"))


@pytest.mark.parametrize(
    ("name", "frames", "size", "trained_size"),
    [("x3d-xs", 4, 128, 160), ("slowfast-r50", 30, 256, 224), ("c2d-r50", 1, 256, 224), ("slow-r50", 8, 256, 16)],
)
def test_frames_that_do_not_fit_are_told_before_a_weight_is_read(name, frames, size, trained_size, tmp_path):
    made = write_zoo_file(tmp_path, name)
    options = {**catalog.card(name).options, "trained_size": trained_size}
    card = replace(catalog.card(name), sampling=Sampling(frames=frames), size=size, options=options)
    message = (
        f"{name} cannot take {frames} frames of {size}x{size} pixels, trained on {trained_size}: .*; expected frames, "
    )
    with pytest.raises(VidsimError, match=message) as told:
        catalog.load(catalog.resolve(card, checkpoint=str(made.path)), device="cpu")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("layers", "width", "remedy"),
    [(("blocks.4",), 999, "expected width 192"), (("blocks.1", "blocks.4"), 192, "expected 0, as its layers differ")],
)
def test_a_width_that_its_layers_have_not_is_refused(layers, width, remedy, tmp_path):
    made = write_zoo_file(tmp_path, "x3d-xs")
    own = replace(made, card=replace(made.card, layers=layers, width=width))
    with pytest.raises(
        VidsimError, match=f"x3d-xs has width {width}, its layer {layers[0]} has .*; {remedy} in its card"
    ):
        loaded(own)
    assert loaded(replace(own, card=replace(own.card, layers=("blocks.4",), width=192))).card.width == 192


CANONICAL = {
    "x3d-xs": [2.04591, 1.10357, 13.6068, 8.41821, 24.0227, 16.41309, 4.77366, 0.27683],
    "slow-r50": [0.0, 0.33972, 20.11132, 3.28087, 0.99676, 13.24706, 30.10871, 11.83823],
    "slowfast-r50": [91.5722, 0.96779, 154.85667, 0.0, 239.99447, 27.12534, 144.38691, 201.92814],
    "i3d-r50": [0.0, 3.28112, 10.3782, 5.38319, 0.34837, 6.37804, 29.93857, 10.3576],
    "c2d-r50": [0.0, 0.09377, 11.15683, 13.38411, 0.09435, 14.05017, 26.5408, 22.95758],
}
"""First eight features of the default layer, computed by functions in double precision (see plain_cnn)."""


def drawn(frames):
    """Draw a moving pattern, 40 x 72 pixels."""
    t, y, x, colour = np.meshgrid(np.arange(frames), np.arange(40), np.arange(72), np.arange(3), indexing="ij")
    return np.rint(127.5 + 127.5 * np.sin((x + 2 * t) / 9 + colour) * np.cos((y - t) / 7)).astype(np.uint8)


def by_formula(state):
    """Give every weight a value by its name's place and its own place."""
    made = {}
    for number, name in enumerate(sorted(state)):
        if not state[name].is_floating_point():
            made[name] = state[name]
            continue
        places = torch.arange(1, state[name].numel() + 1, dtype=torch.float64)
        mixed = (torch.sin(places * 12.9898 + number * 78.233) * 43758.5453).frac().reshape(state[name].shape)
        spread = (8 / state[name][0].numel()) ** 0.5 if state[name].ndim > 1 else 0.2
        made[name] = (spread * mixed + (name.endswith("var") or ("norm" in name and name.endswith("weight")))).float()
    return made


@pytest.mark.parametrize("name", DIFFERENT)
def test_canonical_vectors(name, tmp_path):
    made = write_zoo_file(tmp_path, name)
    torch.save({"model_state": by_formula(made.state)}, made.path)
    encoder = loaded(made)
    clip = torch.stack([encoder.prepare(frame) for frame in drawn(made.card.sampling.frames)])
    assert clip.shape[1:] == (3, SIZE, SIZE)
    batch = torch.stack([clip, torch.zeros_like(clip)])
    found, black = encoder.encode(batch, [made.card.default_layer], whole)[made.card.default_layer][:, :8]
    # sums of many products differ by the kernels that a processor and its number of threads choose
    np.testing.assert_allclose(found, CANONICAL[name], rtol=0, atol=5e-4 * np.abs(CANONICAL[name]).max())
    assert np.abs(found - black).max() > 0.02  # the clip matters


def test_a_zoo_file_goes_to_the_store_by_the_command_line(vidsim, tmp_path, monkeypatch):
    made = write_zoo_file(tmp_path / "zoo", "x3d-xs")
    monkeypatch.setitem(catalog.CARDS, "x3d-xs", made.card)
    rate, count = 30, 60
    t, y, x = np.meshgrid(np.arange(count), np.arange(64), np.arange(96), indexing="ij")
    waves = 127.5 + 100 * np.sin((x + 3 * t) / 11) * np.cos((y - t) / 9)
    write_clip(tmp_path / "clips" / "waves.mp4", np.stack([waves, waves[::-1], waves], -1).astype(np.uint8), rate=rate)

    options = ("-e", "x3d-xs", "--root", tmp_path / "root", "--json")
    status, out, err = vidsim("extract", tmp_path / "clips", "--checkpoint", made.path, *options)
    assert status == 0, err
    answer = json.loads(out)
    assert (answer["encoded"], answer["default_layer"], answer["revision"]) == (1, "blocks.4", None)
    assert answer["layers"]["blocks.4"] == 192
    # the folder holds the same file: nothing is to be done
    status, out, err = vidsim("extract", tmp_path / "clips", "--checkpoint", made.path.parent, *options)
    assert (status, json.loads(out)["skipped"]) == (0, 1), err

    import av

    with av.open(str(tmp_path / "clips" / "waves.mp4")) as container:
        images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    # 47 frames from the first to the last of 4, in the middle of 60
    chosen = [images[int(6.5 + i * 47 / 3 + 1e-6)] for i in range(4)]
    prepared = torch.stack([loaded(made).prepare(image) for image in chosen])[None]
    [table] = Store(tmp_path / "root").tables()
    stored = table["blocks.4"].take(["waves.mp4"]).matrix[0]
    np.testing.assert_allclose(stored, pooled(plain(made, prepared)["blocks.4"], "mean")[0], rtol=0, atol=1e-4)


def test_a_wrong_file_is_one_line_at_the_command_line(vidsim, tmp_path):
    write_clip(tmp_path / "clips" / "grey.mp4", np.full((4, 32, 32, 3), 90, np.uint8))
    (tmp_path / "other.pyth").write_text("not a checkpoint")
    told = {
        "nowhere.pyth": "no file ",
        "clips": "no X3D_XS.pyth in ",
        "other.pyth": f"'{tmp_path / 'other.pyth'}' is not a ",
    }
    for given, message in told.items():
        options = ("-e", "x3d-xs", "--checkpoint", tmp_path / given, "--root", tmp_path / "root")
        status, out, err = vidsim("extract", tmp_path / "clips", *options)
        assert (status, out) == (2, "")
        assert f"vidsim: {message}" in err
        assert err.count("\n") == 1


def test_a_converted_copy_can_be_read_by_others(caches, tmp_path):
    loaded(write_zoo_file(tmp_path, "x3d-xs"))
    [folder] = (caches / "checkpoints").iterdir()
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777 & ~mask
    assert stat.S_IMODE((folder / "model.safetensors").stat().st_mode) == 0o644
