from dataclasses import replace

import yaml
from huggingface_hub import ModelCard
from measured import BASE, METRICS, evaluation

from vidsim.adapt.evaluation import Measured
from vidsim.adapt.manifest import Manifest
from vidsim.adapt.recipe import Recipe
from vidsim.encoders import catalog
from vidsim.report.train import model_card


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
    assert "to train on, 12,239 trials among 160 stimuli by 245 participants." in text
    assert "adults recruited through a U.S. university's research platform, who took part online; see the" in text
    for said in ("Western", "biases", "Not for decisions about persons", "Apache-2.0", "abc123", "| seed | 3 |"):
        assert said in text
    assert "Epoch 1 of 2 was kept; training took 6 s" in text


def test_who_judged_the_validation_trials_is_said_where_it_is_known():
    told = "Validation: 175 trials{} among 40 other stimuli"
    assert told.format("") in model_card(manifest(), evaluation())
    for both, said in (
        (120, "all of whom it was trained on too"),
        (118, "118 of whom it was trained on too"),
        (0, "none of whom it was trained on too"),
    ):
        data = {**manifest().data, "validation_people": 120, "people_of_both": both}
        assert told.format(f" by 120 participants ({said})") in model_card(manifest(data=data), evaluation())


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
    assert r"Judgments: a \| \*b\*: \<i\>; to train on, " in text
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
