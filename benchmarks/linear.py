"""Cross-validate, over training clips, what can be had from captions without training an encoder.

Frozen embeddings of all-MiniLM-L6-v2 (mean of a clip's captions) as they are, centred, and linearly transformed
(`vidsim.adapt.linear_fit`), fitted to the trials wholly among four fifths of the training clips of a release in the
Social-OOO layout, compared with people on the other fifth. Test clips take no part. Gains are paired with the
embeddings as they are, with their standard error over folds; several seeds divide the same clips anew, so they do not
lessen it.

    python benchmarks/linear.py RELEASE
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vidsim.adapt.linear_fit import fit_linear
from vidsim.adapt.penalty import fit_any
from vidsim.adapt.scores import scores
from vidsim.analysis.correlation import spearman
from vidsim.data.judgments.read import read
from vidsim.embeddings import Embeddings
from vidsim.encoders import catalog
from vidsim.rsm import cosine_rsm
from vidsim.triplets import Triplets

METRICS = ("rho squared, any context", "rho squared, split", "two-way", "three-way")
Method = Callable[[Embeddings, Triplets, Embeddings], Embeddings]
"""Takes embeddings to fit to, their trials, and embeddings held out; returns these transformed."""


def centred(known: Embeddings, _trials: Triplets, held: Embeddings) -> Embeddings:
    return Embeddings(held.ids, held.matrix - known.matrix.mean(axis=0))


METHODS: dict[str, Method] = {
    "as they are": lambda _known, _trials, held: held,
    "centred": centred,
    "linear, penalty .01": lambda known, trials, held: fit_linear(known, trials, penalty=0.01).apply(held),
    "linear, penalty chosen": lambda known, trials, held: fit_any(known, trials).apply(held),
}


def load(release: Path) -> tuple[Embeddings, Triplets]:
    """Embed the captions of the training clips."""
    found = read(release)
    assert found.stimuli is not None
    training = {one.id: one.captions for one in found.stimuli if one.split == "train"}
    encoder = catalog.load(catalog.resolve("all-MiniLM-L6-v2"), device="cpu")
    layer = encoder.card.default_layer
    matrix = encoder.encode(list(training.values()), [layer], lambda _, features: features)[layer]
    return Embeddings(tuple(training), matrix), found.judgments.triplets.restrict(list(training))


def measure(made: Embeddings, trials: Triplets) -> list[float]:
    """Compare held-out embeddings with people: `METRICS`."""
    inside = trials.restrict(made.ids)
    alone = Triplets(inside.ids, inside.rows)
    split = scores(made, alone, alone.rsm())
    rho = spearman(cosine_rsm(made.take(inside.ids)).upper, inside.rsm("any").upper)
    return [rho * abs(rho), split["rho"] * abs(split["rho"]), split["two_way"], split["three_way"]]


def show(tables: dict[str, np.ndarray], folds: int) -> None:
    """Print means of `METRICS` over folds, and gains over the first table with their standard error."""
    base = next(iter(tables.values()))
    for name, table in tables.items():
        gain = table - base
        error = gain.std(axis=0, ddof=1) / np.sqrt(folds)
        for metric, mean, more, se in zip(METRICS, table.mean(axis=0), gain.mean(axis=0), error, strict=True):
            print(f"  {name:24} {metric:26} {mean:.3f} ({more:+.3f} +- {se:.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    embeddings, trials = load(options.release)
    ids = np.array(embeddings.ids)
    rows: dict[str, list[list[float]]] = {name: [] for name in METHODS}
    for seed in range(options.seeds):
        fold = np.random.default_rng(seed).permutation(len(ids)) % options.folds
        for f in range(options.folds):
            known, held = (embeddings.take(ids[part].tolist()) for part in (fold != f, fold == f))
            inside = trials.restrict(known.ids)
            for name, method in METHODS.items():
                rows[name].append(measure(method(known, Triplets(inside.ids, inside.rows), held), trials))
    print(f"{len(ids)} clips, {options.folds} folds, {options.seeds} seeds; gain +- standard error over folds")
    show({name: np.array(found) for name, found in rows.items()}, options.folds)


if __name__ == "__main__":
    main()
