import io
import os
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from PIL import Image
from published import publish

from vidsim.adapt.evaluation import Ceiling, Evaluation, Measured
from vidsim.adapt.manifest import Manifest, resolve_adapter
from vidsim.adapt.material import Material
from vidsim.adapt.recipe import Recipe
from vidsim.adapt.trainer import Trainer
from vidsim.encoders import catalog
from vidsim.report.curve import curve_plot
from vidsim.report.figures import png
from vidsim.report.train import model_card
from vidsim.triplets import Triplets

__all__ = ["publish"]

METRICS = ("rho", "rho2", "two_way", "two_way_first", "three_way")
BASE = "all-MiniLM-L6-v2"


def measured(rho, differences=None):
    return Measured(
        {**dict.fromkeys(METRICS, 0.5), "rho": rho, "rho2": rho**2},
        dict.fromkeys(METRICS, (rho - 0.1, rho + 0.1)),
        differences or {},
    )


def evaluation(**changes):
    models = {
        BASE: measured(0.31),
        f"{BASE}, centred": measured(0.32),
        f"{BASE}, linear transform": measured(0.33),
        "mine": measured(0.44, {"rho": (0.13, 0.02, 0.24), "two_way": (0.01, -0.02, 0.05)}),
    }
    return replace(Evaluation(models, BASE, Ceiling(0.52, (0.08, 0.78)), 40, 319, 175, {}), **changes)


def manifest(**changes):
    recipe = Recipe.model_validate({"encoder": BASE, "loss": {"kind": "soft"}, "batches": {"sampler": "stimuli"}})
    curve = [
        {"epoch": k, "losses": {"soft": 1 / k} if k else {}, "seconds": 2.0, "rho": rho}
        for k, rho in enumerate((0.1, 0.3, 0.2))
    ]
    made = Manifest(
        name="mine",
        base={
            "encoder": BASE,
            "checkpoint": "sentence-transformers/all-MiniLM-L6-v2",
            "revision": "abc123",
            "local": None,
            "pooling": "mean",
            "weights": "0123",
            "config": "4567",
            "preprocess": {},
        },
        layer="sentence_embedding",
        head=0,
        files={"adapter_model.safetensors": "89ab"},
        recipe=recipe.resolved(),
        data={"judgments": "social", "source": "social-ooo", "participants": None, "people": 245, "stimuli": 160,
              "validation_stimuli": 40, "validation_trials": 175, "hash": "cdef", "trials": 12239},
        versions={"vidsim": "0.1.0", "torch": "2.13.0"},
        seed=3,
        parameters=147456,
        curve=curve,
    )  # fmt: skip
    return replace(made, **changes)


def cells(text, first):
    return next(line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith(f"| {first}"))


def test_the_head_is_read_by_the_hub():
    card = ModelCard(model_card(manifest(), evaluation()))
    data = card.data
    assert (data.library_name, data.license, data.base_model) == (
        "peft",
        "apache-2.0",
        "sentence-transformers/all-MiniLM-L6-v2",
    )
    found = {one.metric_type: one.metric_value for one in data.eval_results}
    assert found == {"rho": 0.44, "rho2": 0.1936, "two_way": 0.5, "three_way": 0.5}
    assert {(one.dataset_name, one.dataset_split) for one in data.eval_results} == {("social", "validation")}


def test_the_card_says_what_was_measured_with_intervals():
    text = model_card(manifest(), evaluation(seeds={"rho": (0.4, 0.35, 0.45)}))
    assert cells(text, "**mine**")[1] == "0.440 (0.340 to 0.540)"
    assert cells(text, f"{BASE}, linear")[1] == "0.330 (0.230 to 0.430)"
    assert "Less all-MiniLM-L6-v2, on the same resamples: rho +0.130 (+0.020 to +0.240), two-way +0.010" in text
    assert "Mean over seeds, with its 95 % interval (Student's t): rho 0.400 (0.350 to 0.450)." in text
    assert "split-half: 0.520 (0.080 to 0.780)" in text
    assert "a perfect model's rho would be 0.721" in text
    assert "Trained on 12,239 trials among 160 stimuli by 245 participants." in text
    assert "a sample of online participants; see the data's own documentation" in text
    for said in ("Western", "biases", "Not for decisions about persons", "Apache-2.0", "abc123", "| seed | 3 |"):
        assert said in text
    assert "Epoch 1 of 2 was kept; training took 6 s" in text


def test_every_setting_of_the_recipe_is_in_its_table():
    made = manifest()
    text = model_card(made, evaluation())
    for section, inside in made.recipe.items():
        for key in inside if isinstance(inside, dict) else ():
            assert cells(text, f"{section}.{key} |"), key
    assert cells(text, "loss.kind |")[1] == "`soft`"


def test_a_card_without_validation_claims_no_score():
    curve = [{"epoch": 0, "losses": {}, "seconds": 0.0}, {"epoch": 1, "losses": {"soft": 1.0}, "seconds": 1.0}]
    data = {"judgments": "lab", "source": "trials.csv", "participants": "kim.txt", "people": 1, "stimuli": 9,
            "validation_stimuli": 0, "validation_trials": 0, "hash": "cdef", "trials": 80}  # fmt: skip
    text = model_card(manifest(curve=curve, data=data))
    head = yaml.safe_load(text.split("---")[1])
    assert "model-index" not in head
    assert "rho" not in text.partition("## Intended use")[0].partition("## How closely")[2]
    assert "do not say who the participants are" in text
    assert "those that `kim.txt` names" in text
    assert "It follows the chosen participants" in text
    assert "Epoch 1 of 1 was kept" in text


def test_names_from_data_are_text_and_unknown_scores_are_left_out():
    data = {**manifest().data, "judgments": "a | *b*: <i>"}
    nan = float("nan")
    unknown = Measured(dict.fromkeys(METRICS, nan), dict.fromkeys(METRICS, (nan, nan)))
    text = model_card(manifest(data=data), evaluation(models={BASE: unknown, "mine": unknown}))
    head = yaml.safe_load(text.split("---")[1])
    assert head["model-index"][0]["results"][0]["dataset"]["name"] == "a | *b*: <i>"
    assert head["model-index"][0]["results"][0]["metrics"] is None
    assert r"Judgments: a \| \*b\*: \<i\>." in text
    assert cells(text, "**mine**")[1:] == ["-"] * 4


def test_the_licence_of_the_base_is_named_as_the_hub_names_it(monkeypatch):
    for licence, expected in (
        ("CC-BY-NC-4.0", {"license": "cc-by-nc-4.0"}),
        ("DINOv3 (gated)", {"license": "other", "license_name": "DINOv3 (gated)"}),
        ("", {}),
    ):
        monkeypatch.setitem(catalog.CARDS, BASE, replace(catalog.CARDS[BASE], licence=licence))
        head = yaml.safe_load(model_card(manifest(), evaluation()).split("---")[1])
        assert {key: value for key, value in head.items() if key.startswith("license")} == expected


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # PEFT asks for it
@pytest.mark.parametrize("head", [0, 5])
def test_the_code_of_the_card_gives_what_vidsim_gives(head, publish, tmp_path, monkeypatch):
    made = publish("timesformer-base")
    monkeypatch.setitem(catalog.CARDS, "timesformer-base", made.card)
    ids = tuple(f"clip {k}" for k in range(6))
    shape = (made.card.sampling.frames, 3, made.card.size, made.card.size)
    frames = {name: torch.randint(0, 256, shape, dtype=torch.uint8) for name in ids}
    rows = np.array([[0, 1, 2], [3, 4, 5], [0, 5, 3], [1, 4, 2]])
    told = Recipe.model_validate(
        {
            "encoder": "timesformer-base",
            "adapter": {"rank": 2, "head": head},
            "loss": {"kind": "soft"},
            "batches": {"sampler": "stimuli", "stimuli": 6, "steps": 2},
            "optimiser": {"learning_rate": 0.05, "epochs": 1},
            "run": {"validation": 0, "precision": "float32"},
        }
    )
    resolved = catalog.resolve(made.card, checkpoint=str(made.folder))
    stuff = Material(Triplets(ids, rows), None, frames=frames.__getitem__)
    folder = tmp_path / "adapters" / "mine"
    manifest = Trainer(told, resolved, stuff, seed=0, device="cpu").run(folder, tmp_path / "state", "mine", Quiet())
    (code,) = re.findall(r"^```python\n(.*?)^```$", model_card(manifest), re.MULTILINE | re.DOTALL)
    code = code.replace('"facebook/timesformer-base-finetuned-k400"', repr(os.fspath(made.folder)))
    monkeypatch.chdir(folder)
    scope = {}
    exec(re.sub(r', revision="\w+"', "", code), scope)
    batch = torch.stack([frames[name] for name in ids])
    with torch.no_grad():
        tokens = scope["model"](pixel_values=made.normalised(batch)).last_hidden_state
        vectors = tokens[:, 0] if made.card.pooling == "cls" else tokens.mean(dim=1)
        vectors = scope["head"](vectors) if head else vectors
    encoder = catalog.load(resolve_adapter(folder), device="cpu")
    layer = encoder.card.default_layer
    expected = encoder.encode(batch, [layer], lambda _, x: x)[layer]
    np.testing.assert_allclose(vectors.numpy(), expected, rtol=1e-4, atol=1e-5)


class Quiet:
    """Watch without a word."""

    def begin(self, name, seed, epochs, steps, done):
        pass

    def step(self, number, losses):
        pass

    def epoch(self, row, best):
        pass


def curve(losses, epochs, validated=True):
    rows = [
        {"epoch": k, "losses": dict.fromkeys(losses, 1 / k) if k else {}, "seconds": 1.0} for k in range(epochs + 1)
    ]
    if validated:
        for row in rows:
            row.update(rho=0.3 + row["epoch"] / 100, two_way=0.7, three_way=0.5, rho2=0.1, two_way_first=0.7)
    return rows


def labels(monkeypatch, *arguments, **options):
    """Draw, and return what stands in each panel."""
    seen = []

    def spied(drawing):
        seen.extend(drawing.axes)
        return png(drawing)

    monkeypatch.setattr("vidsim.report.curve.png", spied)
    data = curve_plot(*arguments, **options)
    assert Image.open(io.BytesIO(data)).format == "PNG"
    return {axes.get_title(loc="left"): axes for axes in seen if axes.axison}


def test_each_loss_and_each_kind_of_score_has_a_panel(monkeypatch):
    panels = labels(monkeypatch, [curve(("triplet", "rsa"), 3)], "rho", evaluation=evaluation())
    assert list(panels) == [
        "triplet loss, training",
        "RSA loss, training",
        "rho, validation",
        "odd-one-out, validation",
    ]
    assert all(axes.get_xlabel() == "epoch" for axes in panels.values())
    assert all(axes.get_ylabel() for axes in panels.values())
    rho = panels["rho, validation"]
    lines = {line.get_label(): line.get_ydata() for line in rho.get_lines()}
    assert lines["base"][0] == 0.31
    assert lines["linear transform"][0] == 0.33
    assert lines["perfect model, 95 %"][0] == pytest.approx(0.52**0.5)
    (band,) = rho.patches
    assert band.get_y() == pytest.approx(0.08**0.5)
    assert band.get_y() + band.get_height() == pytest.approx(0.78**0.5)
    low, high = rho.get_ylim()
    assert low < 0.08**0.5
    assert high > 0.78**0.5
    odd = panels["odd-one-out, validation"]
    chance = {line.get_label(): line.get_ydata()[0] for line in odd.get_lines() if "chance" in line.get_label()}
    assert chance == {"chance, two-way": 1 / 2, "chance, three-way": 1 / 3}
    kept = [line.get_xdata() for line in odd.get_lines() if line.get_linestyle() == ":"]
    assert [list(x) for x in kept] == [[3, 3]]


def test_several_seeds_are_drawn_together(monkeypatch):
    panels = labels(monkeypatch, [curve(("soft",), 2), curve(("soft",), 4)], "rho", evaluation=evaluation())
    drawn = [line for line in panels["soft loss, training"].get_lines() if line.get_linestyle() == "-"]
    assert [line.get_xdata().tolist() for line in drawn] == [[1, 2], [1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("rows", "select", "titles"),
    [
        (curve(("soft",), 2, validated=False), None, ["soft loss, training"]),
        (curve(("soft",), 0), "rho", ["rho, validation", "odd-one-out, validation"]),
        ([{**row, "rho": None, "two_way": None, "three_way": None} for row in curve(("soft",), 1)], "rho",
         ["soft loss, training"]),
    ],
)  # fmt: skip
def test_what_was_not_measured_has_no_panel(rows, select, titles, monkeypatch):
    assert list(labels(monkeypatch, [rows], select)) == titles


def test_without_reliability_there_is_no_band(monkeypatch):
    nan = float("nan")
    panels = labels(monkeypatch, [curve(("soft",), 1)], "rho", evaluation=evaluation(ceiling=Ceiling(nan, (nan, nan))))
    assert not panels["rho, validation"].patches
    assert "perfect model, 95 %" not in {line.get_label() for line in panels["rho, validation"].get_lines()}
