import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tiny_adapters import write_adapter
from tiny_lab import IDS, POINTS, answer, refused, root

from vidsim.encoders import catalog
from vidsim.store import Entry, Store

from clips import moving_square, write_clip

__all__ = ["root"]

PROCESSOR = {
    "image_processor_type": "VideoMAEImageProcessor",
    "size": {"shortest_edge": 32},
    "crop_size": {"height": 32, "width": 32},
    "do_center_crop": True,
    "image_mean": [0.45, 0.45, 0.45],
    "image_std": [0.225, 0.225, 0.225],
}


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """Write two tiny TimeSformers in the published format, and let the catalog's card fit them."""
    import torch
    from transformers import TimesformerConfig, TimesformerForVideoClassification
    from transformers.utils import logging

    logging.disable_progress_bar()
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    for name in ("base", "tuned"):
        torch.manual_seed(len(name))
        model = TimesformerForVideoClassification(TimesformerConfig(**sizes, image_size=32, patch_size=8, num_labels=3))
        model.save_pretrained(tmp_path / name)
        (tmp_path / name / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    logging.enable_progress_bar()
    card = catalog.card("timesformer-base")
    count = sum(weight.numel() for weight in model.timesformer.parameters())
    tiny = replace(card, layers=(*card.layers[:2], "layernorm"), size=32, width=32, parameters=count)
    monkeypatch.setitem(catalog.CARDS, card.name, tiny)
    return ("--checkpoint-a", tmp_path / "base", "--checkpoint-b", tmp_path / "tuned", "--device", "cpu")


def test_rollout_draws_clips(vidsim, clips, checkpoints, tmp_path):
    name, out = "timesformer-base", tmp_path / "drawn"
    chosen = (clips / "clip 0.mp4", clips / "clip 3.mp4")
    found = answer(vidsim, name, name, "--rollout", *chosen, "--out", out, *checkpoints)
    assert sorted(path.name for path in out.iterdir()) == ["clip 0.mp4.png", "clip 3.mp4.png"]
    for drawn, clip in zip(found["rollout"], chosen, strict=True):
        assert drawn["clip"] == str(clip)
        assert (drawn["a"], drawn["b"]) == (f"{name} (base)", f"{name} (tuned)")
        assert drawn["frames"] == {"a": [1, 2, 3, 5, 6, 7, 8], "b": [1, 2, 3, 5, 6, 7, 8]}
    first, second = ((out / f"{clip.name}.png").read_bytes() for clip in chosen)
    assert first.startswith(b"\x89PNG")
    assert first != second
    status, said, _ = vidsim("compare", name, name, "--rollout", chosen[0], "--out", out, *checkpoints, "--force")
    assert (status, said.strip()) == (0, str(out / "clip 0.mp4.png"))
    assert (out / "clip 0.mp4.png").read_bytes() == first


def test_rollout_takes_adapters_by_name(vidsim, clips, checkpoints, tmp_path, monkeypatch):
    import torch

    from vidsim.adapt.head import LinearHead

    monkeypatch.setenv("VIDSIM_ROOT", str(tmp_path / "root"))
    name, out, clip = "timesformer-base", tmp_path / "drawn", clips / "clip 0.mp4"
    made = SimpleNamespace(card=catalog.card(name), folder=tmp_path / "base")
    write_adapter(tmp_path / "root", "mine", made)
    options = ("--rollout", clip, "--out", out, "--checkpoint-a", tmp_path / "base", "--device", "cpu")
    (drawn,) = answer(vidsim, name, "mine", *options)["rollout"]
    assert (drawn["a"], drawn["b"]) == (name, "mine")
    figure = (out / "clip 0.mp4.png").read_bytes()
    # the adapter's row is its own
    write_adapter(tmp_path / "root", "other", made, scale=0.6)
    answer(vidsim, name, "other", *options, "--force")
    assert (out / "clip 0.mp4.png").read_bytes() != figure
    assert "A and B are both mine with the same weights" in refused(vidsim, "mine", "mine", *options[:4], "--force")
    head = LinearHead(torch.zeros(32), torch.eye(32))
    write_adapter(tmp_path / "root", "flat", made, rank=0, head=head, width=32)
    told = refused(vidsim, name, "flat", *options, "--force")
    assert "flat is a head alone, behind the attention of its base" in told
    assert told.endswith("name the base: timesformer-base\n")
    assert "did you mean the adapter 'mine'?" in refused(vidsim, name, "mina", *options, "--force")


def test_flips_and_rollout_stand_on_one_page(vidsim, root, clips, checkpoints, tmp_path):
    store, name = Store(root), "timesformer-base"
    table = store.create(name, {"checkpoint": name}, {"x": 6, "y": 6}, default_layer="x", versions={})
    table.write([Entry(n, f"/{n}", n) for n in IDS], {"x": POINTS["a"], "y": POINTS["b"]})
    how = ("--judgments", "lab", "--rollout", clips / "clip 0.mp4", "--out", tmp_path / "drawn")
    found = answer(vidsim, f"{name}:x", f"{name}:y", *how, *checkpoints, "--html", tmp_path / "p.html")
    assert (found["a"], len(found["rollout"])) == (f"{name}:x", 1)
    page = (tmp_path / "p.html").read_text()
    assert "What the encoders attend to" in page
    assert "data:image/png;base64," in page
    assert "Towards people" in page


def test_rollout_refuses(vidsim, clips, checkpoints, tmp_path):
    name, out, clip = "timesformer-base", tmp_path / "drawn", clips / "clip 0.mp4"
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    (tmp_path / "more").mkdir()
    twin = write_clip(tmp_path / "more" / "clip 0.mp4", moving_square())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "clip 0.mp4.png").write_bytes(b"mine")
    base = ("--checkpoint-a", tmp_path / "base", "--checkpoint-b", tmp_path / "base")
    for arguments, message in [
        ((name, "motion-energy", "--rollout", clip, "--out", out), "motion-energy has no attention over patches"),
        ((name, "all-MiniLM-L6-v2", "--rollout", clip, "--out", out), "all-MiniLM-L6-v2 has no attention"),
        ((name, "timesformer-bas", "--rollout", clip, "--out", out), "did you mean 'timesformer-base'?"),
        (
            (name, name, "--rollout", clip, "--out", out, *base),
            "A and B are both timesformer-base with the same weights; "
            "expected two encoders, or two checkpoints of one with --checkpoint-a and --checkpoint-b",
        ),
        ((name, name, "--rollout", broken, "--out", out, *checkpoints), "broken.mp4"),
        ((name, name, "--rollout", clip, broken, "--out", out, *checkpoints), "broken.mp4"),
        ((name, name, "--rollout", clip, twin, "--out", out, *checkpoints), "two clips are called 'clip 0.mp4'"),
        ((name, name, "--rollout", clip, "--out", tmp_path / "full", *checkpoints), "exists already"),
        ((name, name, "--rollout", clip, "--out", tmp_path / "no" / "way", *checkpoints), "make it first"),
        ((name, name, "--rollout", clip, "--out", broken, *checkpoints), "is a file; expected a folder"),
        ((name, name, "--rollout", clip, "--out", out, *checkpoints, "--device", "tpu"), "no device 'tpu'"),
    ]:
        assert message in refused(vidsim, *arguments), arguments
    assert not out.exists()
    assert (tmp_path / "full" / "clip 0.mp4.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("frame_encoder.FramedEncoder.prepare", "free some of it"),
        ("attention.attention_of", "free some of it, or give another --device"),
    ],
)
def test_a_lack_of_memory_is_one_line(vidsim, clips, checkpoints, tmp_path, monkeypatch, place, said):
    def fail(*_):
        raise MemoryError("Unable to allocate 9 GiB")

    monkeypatch.setattr(f"vidsim.encoders.{place}", fail)
    name = "timesformer-base"
    words = (name, name, "--rollout", clips / "clip 0.mp4", "--out", tmp_path / "drawn", *checkpoints)
    assert refused(vidsim, *words) == f"vidsim: out of memory on cpu; {said}\n"


def test_a_report_names_its_own_options(vidsim, root, clips, checkpoints, tmp_path):
    store, name = Store(root), "timesformer-base"
    table = store.create(name, {"checkpoint": name}, {"x": 6, "y": 6}, default_layer="x", versions={})
    table.write([Entry(n, f"/{n}", n) for n in IDS], {"x": POINTS["a"], "y": POINTS["b"]})
    base = ("--checkpoint-before", tmp_path / "base", "--checkpoint-after", tmp_path / "base")
    pair = ("--before", f"{name}:x", "--after", f"{name}:y", "--rollout", clips / "clip 0.mp4", *base)
    how = ("--judgments", "lab", "-e", name, "--out", tmp_path / "page.html", "--resamples", 0)
    status, out, err = vidsim("report", *how, *pair)
    assert (status, out) == (2, "")
    assert err == (
        f"vidsim: --before and --after are both {name} with the same weights; expected two encoders, or two "
        "checkpoints of one with --checkpoint-before and --checkpoint-after\n"
    )
