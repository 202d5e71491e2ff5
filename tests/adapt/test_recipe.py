import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vidsim.adapt import recipe_file as module
from vidsim.adapt.recipe import Recipe
from vidsim.adapt.recipe_file import describe, read_recipe, recipes
from vidsim.adapt.sections import Adapter, Batches, Loss
from vidsim.errors import VidsimError

ENCODER = 'encoder = "timesformer-base"\n'


@pytest.fixture
def write(tmp_path):
    def write(text, name="mine"):
        path = tmp_path / f"{name}.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def told(path):
    with pytest.raises(VidsimError) as caught:
        read_recipe(path)
    message = str(caught.value)
    assert "\n" not in message
    assert "pydantic" not in message
    return message


def test_defaults_and_types(write):
    recipe = read_recipe(write(ENCODER + "[adapter]\nrank = 4\n[run]\nseeds = [3, 1]\n[loss]\nbeta = [0, 1]"))
    assert (recipe.adapter.alpha, recipe.adapter.targets) == (8.0, "attention")
    assert recipe.run.seeds == (3, 1)
    assert recipe.loss.beta == (0.0, 1.0)
    assert isinstance(recipe.loss.beta[0], float)
    assert read_recipe(write(ENCODER + '[adapter]\ntargets = ["qkv", "dense"]')).adapter.targets == ("qkv", "dense")
    assert read_recipe(write("\ufeff" + ENCODER)) == Recipe(encoder="timesformer-base")
    with pytest.raises(ValidationError, match="frozen"):
        recipe.adapter.rank = 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[adapter]\nrnak = 3", "adapter.rnak is not known; did you mean 'adapter.rank'?"),
        ("rank = 3", "rank is not known; did you mean 'adapter.rank'?"),
        ("[optimizer]\nepochs = 3", "optimizer is not known; did you mean 'optimiser'?"),
        ("[optimiser]\nrank = 3", "optimiser.rank is not known; did you mean 'adapter.rank'?"),
        ("[run]\nzzz = 3", "run.zzz is not known; [run] has seeds, validation, split_seed, select, captions, "),
        ("zzz = 3", "zzz is not known; expected one of base, encoder, adapter, loss, batches, optimiser, run"),
        ("adapter = 3", "adapter expected a table [adapter], 3 came"),
        ("[adapter]\nrank = '16'", "adapter.rank expected a whole number, at least 0 and at most 4096, '16' came"),
        ("[adapter]\nrank = true", "adapter.rank expected a whole number, at least 0 and at most 4096, true came"),
        ("[adapter]\nrank = 1.5", "adapter.rank expected a whole number, at least 0 and at most 4096, 1.5 came"),
        ("[adapter]\nrank = 0", "adapter.rank expected at least 1 without a head (adapter.head = 0), 0 came"),
        ("[adapter]\nrank = -1", "adapter.rank expected a whole number, at least 0 and at most 4096, -1 came"),
        ("[adapter]\nrank = 0\nhead = 'linear'\nalpha = 4.0", "adapter.alpha has no effect without low-rank matrices"),
        ("[adapter]\nhead = 'wide'", "adapter.head expected"),
        ("[adapter]\ndropout = 1", "adapter.dropout expected a number, at least 0 and below 1, 1 came"),
        ("[adapter]\ntargets = 'all_linear'", "or a list of names, 'all_linear' came; did you mean 'all-linear'?"),
        ("[adapter]\ntargets = []", "adapter.targets expected at least one name, and no empty one, [] came"),
        ("[adapter]\ntargets = ['qkv', 3]", "or a list of names, ['qkv', 3] came"),
        (
            "[adapter]\nrank = 1979-05-27",
            "adapter.rank expected a whole number, at least 0 and at most 4096, 1979-05-27 came",
        ),
        ("[loss]\nmargin = nan", "loss.margin expected a number, at least 0 and at most 1000000, nan came"),
        ("[loss]\nmargin = inf", "loss.margin expected a number, at least 0 and at most 1000000, inf came"),
        ("[loss]\nbeta = [0.3]", "expected a list of two numbers, each at least 0 and at most 1000000, [0.3] came"),
        ("[loss]\nbeta = [0.3, -1]", "two numbers, each at least 0 and at most 1000000, [0.3, -1] came"),
        ("[loss]\nkind = 'hybird'", "'hybrid', 'triplet', 'rsa' or 'soft', 'hybird' came; did you mean 'hybrid'?"),
        ("[loss]\nkind = []", "loss.kind expected 'hybrid', 'triplet', 'rsa' or 'soft', [] came"),
        ("[loss.kind]\na = 1", "loss.kind expected 'hybrid', 'triplet', 'rsa' or 'soft', a table of a came"),
        ("[optimiser]\nlearning_rate = 'fast'", "expected a number, above 0 and at most 1000000, 'fast' came"),
        # what float32 could not hold
        ("[optimiser]\nlearning_rate = 1e39", "optimiser.learning_rate expected a number, above 0 and at most 1000000"),
        (
            "[optimiser]\nweight_decay = 1e39",
            "optimiser.weight_decay expected a number, at least 0 and at most 1000000",
        ),
        ("[adapter]\nalpha = 1e39", "adapter.alpha expected a number, above 0 and at most 1000000, 1e+39 came"),
        ("[loss]\nmargin = 1e39", "loss.margin expected a number, at least 0 and at most 1000000, 1e+39 came"),
        ("[loss]\nalpha = 1e39", "loss.alpha expected a number, at least 0 and at most 1000000, 1e+39 came"),
        ("[loss]\nbeta = [0, 1e39]", "two numbers, each at least 0 and at most 1000000, [0, 1e+39] came"),
        ("[loss]\nretention = 1e39", "loss.retention expected a number, at least 0 and at most 1000000, 1e+39 came"),
        (
            "[loss]\nkind = 'soft'\ntemperature = 1e-300",
            "loss.temperature expected a number, at least 1e-06 and at most 1000000, 1e-300 came",
        ),
        ("[run]\nseeds = [1, 1]", "run.seeds expected at least one seed, and each once, [1, 1] came"),
        ("[run]\ncompile = 1", "run.compile expected true or false, 1 came"),
        # what has no effect, or does not go together
        (
            "[loss]\nalpha = 0\nbeta = [0, 0]",
            "loss.alpha expected above 0 with loss.beta = [0.0, 0.0], 0.0 came: nothing to minimise",
        ),
        ("[loss]\nkind = 'triplet'\nbeta = [0, 1]", "loss.beta has no effect with loss.kind = 'triplet'; leave it out"),
        ("[loss]\nkind = 'soft'\nmargin = 0.1", "loss.margin has no effect with loss.kind = 'soft'; leave it out"),
        ("[loss]\ntemperature = 0.1", "loss.temperature has no effect with loss.kind = 'hybrid'; leave it out"),
        ("[loss]\nkind = 'triplet'\n[batches]\nrsa_steps = 2", "batches.rsa_steps has no effect with loss.kind = "),
        ("[loss]\nkind = 'rsa'\n[batches]\ntrials = 2", "batches.trials has no effect with loss.kind = 'rsa'"),
        ("[batches]\nrsa_steps = 0", "batches.rsa_steps expected at least 1 with loss.kind = 'hybrid', 0 came"),
        ("[batches]\nrsa_gradients = 30", "batches.rsa_gradients expected at most batches.rsa_stimuli = 24, 30 came"),
        ("[batches]\nstimuli = 9", "batches.stimuli has no effect with batches.sampler = 'trials'; leave it out"),
        ("[batches]\nsampler = 'stimuli'\ntrials = 9", "batches.trials has no effect with batches.sampler = 'stimuli'"),
        ("[adapter]\nhead_dropout = 0.1", "adapter.head_dropout has no effect without a head of layers"),
        (
            "[adapter]\nhead = 8\n[loss]\nretention = 0.1",
            "loss.retention_kind expected 'similarities' with adapter.head",
        ),
        ("[run]\nvalidation = 0\n[optimiser]\npatience = 3", "optimiser.patience has no effect without validation"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_what_is_legal(write, text, said):
    path = write(ENCODER + text)
    message = told(path)
    assert message.startswith(f"{path}: ")
    assert said in message


@pytest.mark.parametrize(
    "text",
    [
        "alpha = 0",
        "alpha = 0\nbeta = [0, 0.1]",
        "beta = [0, 0]",
        "alpha = 0\nbeta = [0, 0]\nretention = 0.1",
        "kind = 'triplet'",
        "kind = 'rsa'",
        "kind = 'soft'",
    ],
)
def test_one_weight_is_enough(write, text):
    assert isinstance(read_recipe(write(f"{ENCODER}[loss]\n{text}")), Recipe)


def test_the_first_of_several_mistakes_is_named_and_the_others_are_counted(write):
    text = "[adapter]\nrank = 'a'\n[loss]\nkind = 'x'\nmargin = -1\n"
    assert told(write(ENCODER + text)).endswith("'a' came (and 2 more mistakes)")
    # an unknown key comes first: it is often why another is not what was meant
    message = told(write(ENCODER + text + "[run]\nseed = 3"))
    assert "run.seed is not known; did you mean 'run.seeds'? (and 3 more mistakes)" in message
    assert told(write("[adapter]\nrank = -1")).endswith("encoder is missing; expected a name (and 1 more mistake)")


def test_a_name_beside_a_file_of_that_name_leads_to_the_file(write, monkeypatch):
    monkeypatch.chdir(write("x = 1").parent)
    assert told("mine") == "no recipe named 'mine' comes along; did you mean the file 'mine.toml'?"


def test_files_that_are_no_recipes(write, tmp_path):
    assert "mine.toml: cannot be read as TOML: Invalid value (at line 1, column 5)" in told(write("x = = 3"))
    assert "cannot be read as TOML: Cannot overwrite" in told(write("x = 1\nx = 2"))
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9")
    assert "latin.toml: cannot be read as TOML: 'utf-8" in told(tmp_path / "latin.toml")
    assert told(tmp_path) == f"{tmp_path}: is no file; expected a recipe (TOML)"
    assert told(tmp_path / "none.toml") == f"no file '{tmp_path}/none.toml'; expected a recipe (TOML)"
    message = told(tmp_path / "timesformer-base-hybrid.toml")
    assert message.endswith("; the recipe that comes along is named 'timesformer-base-hybrid'")
    assert "no recipe named 'timesformer-hybrid', nor a file; did you mean 'timesformer-base-" in told(
        "timesformer-hybrid"
    )
    assert "there are all-minilm-l6-v2-hybrid, " in told("qqq")


def test_recipes_that_come_along_are_found_by_name_in_any_case():
    assert read_recipe("All-MiniLM-L6-v2-hybrid").encoder == "all-MiniLM-L6-v2"


def test_an_installed_package_finds_its_recipes_inside_itself(tmp_path, monkeypatch):
    inside = tmp_path / "vidsim/configs/train"
    inside.mkdir(parents=True)
    (inside / "packaged.toml").write_text(ENCODER)
    monkeypatch.setattr(module, "_PLACES", (inside, *module._PLACES))
    assert recipes() == {"packaged": inside / "packaged.toml"}
    monkeypatch.setattr(module, "_PLACES", (tmp_path / "nowhere",))
    assert recipes() == {}
    assert told("packaged") == "no recipe named 'packaged', nor a file; there are none"


def test_a_variant_inherits_key_by_key(write):
    write(
        ENCODER + "[loss]\nmargin = 0.5\nalpha = 0.6\n[batches]\nrsa_steps = 3\n[adapter]\nhead = 8\nhead_dropout = 0",
        "root",
    )
    write('base = "root"\n[loss]\nalpha = 0.9\n[adapter]\nrank = 2', "middle")
    leaf = read_recipe(write('base = "middle.toml"\n[batches]\nrsa_gradients = 2', "leaf"))
    assert (leaf.loss.margin, leaf.loss.alpha, leaf.loss.beta) == (0.5, 0.9, (0.3, 0.7))
    assert (leaf.batches.rsa_steps, leaf.batches.rsa_gradients, leaf.adapter.rank, leaf.adapter.alpha) == (3, 2, 2, 4.0)
    own = read_recipe(write('base = "timesformer-base-triplet"\n[optimiser]\nepochs = 2', "own"))
    assert (own.encoder, own.loss.kind, own.optimiser.epochs) == ("timesformer-base", "triplet", 2)


def test_what_a_variant_makes_idle_does_not_come_along(write):
    write(
        ENCODER
        + "[loss]\nalpha = 0.6\n[batches]\nrsa_steps = 3\nrsa_stimuli = 9\n[adapter]\nhead = 8\nhead_dropout = 0",
        "root",
    )
    triplet = read_recipe(write('base = "root"\n[loss]\nkind = "triplet"\n[adapter]\nhead = 0', "triplet"))
    assert triplet == Recipe(encoder="timesformer-base", loss=Loss(kind="triplet"))
    assert triplet.batches.rsa_steps == 0
    # nor does it come back from the root
    again = read_recipe(write('base = "triplet"\n[loss]\nkind = "hybrid"', "again"))
    assert (again.loss.alpha, again.batches.rsa_steps) == (0.7, 6)
    # but in the variant itself it is a mistake
    path = write('base = "root"\n[loss]\nkind = "triplet"\n[batches]\nrsa_steps = 2', "wrong")
    assert told(path) == f"{path}: batches.rsa_steps has no effect with loss.kind = 'triplet'; leave it out"


def test_errors_name_the_file_that_is_wrong(write, tmp_path):
    root = write(ENCODER + "[loss]\nmargin = 'wide'\nkind = 'triplet'", "root")
    leaf = write('base = "root"\n[adapter]\nrank = 2', "leaf")
    assert told(leaf) == f"{root}: loss.margin expected a number, at least 0 and at most 1000000, 'wide' came"
    write(ENCODER + "[loss]\nkind = 'triplet'", "root")
    leaf = write('base = "root"\n[loss]\nbeta = [0, 1]', "leaf")
    assert told(leaf) == f"{leaf}: loss.beta has no effect with loss.kind = 'triplet'; leave it out"
    # a section that a variant turns into something else
    leaf = write('base = "root"\nloss = 3', "leaf")
    assert told(leaf) == f"{leaf}: loss expected a table [loss], 3 came"


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ('"leaf"', "base leads back to 'leaf' (leaf -> leaf); expected an end"),
        ('"root"', "base leads back to 'leaf' (leaf -> root -> leaf); expected an end"),
        ('"rot"', "base names 'rot', which is no recipe; did you mean 'root'?"),
        ('"qq"', "base names 'qq', which is no recipe; there are all-minilm-l6-v2-hybrid, "),
        ('"../root"', "base expected the name of a recipe beside it, '../root' came"),
        ("3", "base expected a recipe's name, 3 came"),
    ],
)
def test_a_base_that_is_none(write, base, said):
    write('base = "leaf"', "root")
    assert said in told(write(f"base = {base}", "leaf"))


CHOICES = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["hybrid", "triplet", "rsa", "soft"]),
        "sampler": st.sampled_from(["trials", "stimuli"]),
        "head": st.sampled_from([0, 128]),
        "retention": st.sampled_from([0.0, 0.5]),
        "validation": st.sampled_from([0.0, 0.2]),
    }
)


@given(CHOICES)
def test_what_is_resolved_is_json_and_makes_the_same_recipe(choice):
    retention = {"retention": choice["retention"]} | ({"retention_kind": "similarities"} if choice["retention"] else {})
    recipe = Recipe.model_validate(
        {
            "encoder": "e",
            "adapter": {"head": choice["head"]},
            "loss": {"kind": choice["kind"], **retention},
            "batches": {"sampler": choice["sampler"]},
            "run": {"validation": choice["validation"]},
        }
    )
    facts = recipe.resolved()
    assert Recipe.model_validate(json.loads(json.dumps(facts))) == recipe
    assert ("beta" in facts["loss"]) == (choice["kind"] == "hybrid")
    assert ("temperature" in facts["loss"]) == (choice["kind"] == "soft")
    assert ("rsa_steps" in facts["batches"]) == (choice["kind"] in {"hybrid", "rsa"} and choice["sampler"] == "trials")
    assert ("stimuli" in facts["batches"]) == (choice["sampler"] == "stimuli")
    assert ("select" in facts["run"]) == (choice["validation"] > 0)
    assert facts["adapter"]["alpha"] == 32.0


def test_settings_can_be_put_together_in_python():
    recipe = Recipe(encoder="e", loss=Loss(kind="soft"), batches=Batches(sampler="stimuli", steps=9))
    assert (recipe.batches.steps, recipe.batches.rsa_steps, recipe.adapter) == (9, 0, Adapter())
    with pytest.raises(ValidationError, match="has no effect with loss"):
        Recipe(encoder="e", loss=Loss(kind="soft", alpha=0.5))


def test_the_description_has_every_key_with_its_legal_values_and_place_in_the_paper():
    rows = [row.strip("| \n").split(" | ") for row in describe().splitlines()]
    assert {len(row) for row in rows} == {4}
    found = {row[0]: row[1:] for row in rows[2:]}
    recipe = Recipe(encoder="e")
    sections = ("adapter", "loss", "batches", "optimiser", "run")
    assert set(found) == {
        *("`base`", "`encoder`"),
        *(f"`{section}.{key}`" for section in sections for key in type(getattr(recipe, section)).model_fields),
    }
    assert found["`loss.margin`"][:2] == ["a number, at least 0 and at most 1000000", "`0.2`"]
    assert "(Eq. 3)" in found["`loss.margin`"][2]
    assert found["`adapter.alpha`"][1] == "`2 * rank`"
    assert found["`run.seeds`"][:2] == ["a list of whole numbers, each at least 0 and below 4294967296", "`[0]`"]
    assert found["`batches.sampler`"][:2] == ["'trials' or 'stimuli'", '`"trials"`']
    assert all(meaning.endswith(".") and len(meaning) > 20 for *_, meaning in found.values())


def test_reading_a_recipe_loads_no_torch():
    code = "import sys; from vidsim.adapt.recipe_file import read_recipe; read_recipe('timesformer-base-hybrid')\n"
    code += "print([m for m in ('torch', 'transformers', 'numpy', 'peft') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
