import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from vidsim.adapt.batches.sampler import make_batches
from vidsim.adapt.recipe_file import read_recipe, recipes
from vidsim.encoders import catalog
from vidsim.triplets import Triplets

FOLDER = Path(__file__).resolve().parents[1] / "configs"
TRAIN = sorted((FOLDER / "train").glob("*.toml"))


def test_every_configuration_is_toml_and_opens_with_a_comment():
    files = sorted(FOLDER.rglob("*.toml"))
    assert {path.parent.relative_to(FOLDER).as_posix() for path in files} == {".", "train"}
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert tomllib.loads(text)
        assert text.startswith("# ")


@pytest.mark.parametrize("path", TRAIN, ids=lambda path: path.stem)
def test_a_recipe_loads_and_says_what_it_is(path):
    recipe = read_recipe(path)
    card = catalog.card(recipe.encoder)
    assert card.lora_targets
    assert path.stem.startswith(card.name.lower())
    linear = path.stem.startswith("all-minilm") and not path.stem.endswith(("trials", "matched"))
    assert recipe.adapter.head == (128 if "release" in path.stem else "linear" if linear else 0)
    comment = "".join(line for line in path.read_text(encoding="utf-8").splitlines(True) if line.startswith("#"))
    assert re.search(r"[( ]section [34]", comment)
    assert f"vidsim train {path.stem} --judgments" in comment
    assert "not measured yet" in comment or "docs/results/train.md" in comment


def test_the_recipes_that_come_along_are_these():
    assert recipes() == {path.stem: path for path in TRAIN}


def test_variants_differ_from_the_papers_hybrid_in_what_their_name_says():
    def facts(name):
        found = read_recipe(name).resolved()
        return {
            f"{section}.{key}": value
            for section in found
            if section != "encoder"
            for key, value in found[section].items()
        }

    for family, papers in (("timesformer-base", "hybrid"), ("all-minilm-l6-v2", "hybrid-trials")):
        hybrid, matched = facts(f"{family}-hybrid"), facts(f"{family}-matched")
        for kind in ("triplet", "rsa"):
            variant = facts(f"{family}-{kind}")
            assert variant["loss.kind"] == kind
            alone = {"batches.rsa_steps"} if (family, kind) == ("timesformer-base", "rsa") else set()
            assert {key for key in variant if variant[key] != hybrid.get(key)} == {"loss.kind"} | alone
        assert (matched["loss.kind"], matched["batches.extra_trials"]) == ("triplet", 738)
        changed = {key for key in matched if matched[key] != facts(f"{family}-{papers}").get(key)}
        assert changed == {"loss.kind", "batches.extra_trials"}
    stimuli = facts("timesformer-base-hybrid-stimuli")
    assert {k for k, v in stimuli.items() if v != facts("timesformer-base-hybrid").get(k)} == {
        *("batches.sampler", "batches.stimuli", "batches.steps"),
    }


@pytest.mark.parametrize(
    ("name", "trials", "pairs"),
    [("hybrid", 12_240, 738), ("triplet", 12_240, 0), ("rsa", 0, 13_038), ("matched", 12_978, 0)],
)
def test_an_epoch_has_the_constraints_of_table_2(name, trials, pairs):
    rows = np.random.default_rng(0).random((12_240, 30)).argsort(axis=1)[:, :3]  # few stimuli: every pair is judged
    batches = make_batches(read_recipe(f"timesformer-base-{name}"), Triplets(tuple(map(str, range(30))), rows), 0)
    assert (batches.counts().trials, batches.counts().pairs) == (trials, pairs)


def test_the_papers_hybrid_is_the_papers():
    recipe = read_recipe("timesformer-base-hybrid")
    assert (recipe.adapter.rank, recipe.adapter.targets) == (16, "attention")
    assert (recipe.loss.margin, recipe.loss.alpha, recipe.loss.beta) == (0.2, 0.7, (0.3, 0.7))
    assert (recipe.batches.trials, recipe.batches.rsa_steps) == (4, 6)
    assert (recipe.batches.rsa_stimuli, recipe.batches.rsa_gradients) == (24, 6)
    assert (recipe.optimiser.learning_rate, recipe.optimiser.epochs, recipe.run.validation) == (1e-4, 50, 0.2)


def test_trainable_weights_of_the_adapters_are_those_of_the_paper_and_the_release():
    # a low-rank pair on a Linear(n, m) has rank * (n + m) weights; a block of TimeSformer-base has these
    qkv, out, time, up, down = (768, 2304), (768, 768), (768, 768), (768, 3072), (3072, 768)
    attention, every = [qkv, out] * 2, [qkv, out, qkv, out, time, up, down]
    paper, release = (read_recipe(f"timesformer-base-{name}").adapter for name in ("hybrid", "release"))
    assert (paper.targets, release.targets) == ("attention", "all-linear")
    assert 12 * paper.rank * sum(map(sum, attention)) == 1_769_472
    head = 768 * release.head + release.head + 2 * release.head
    assert 12 * release.rank * sum(map(sum, every)) + head == 1_868_160
