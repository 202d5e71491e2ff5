"""Measure how often intervals of alignment hold the truth, beside those of the plain percentile bootstrap.

Studies are simulated: 50 stimuli, points in 8 dimensions; 20 people, who each weigh the dimensions in their own way and
judge 50 random triplets; two models, which see the points with more and less noise. What is resampled is what differs
from study to study: other stimuli judged by the same people, other people who judge the same stimuli, or both other.
The truth is the mean of many further studies. Prints a Markdown table, in percent: the share of studies whose 95 %
interval holds the truth, for vidsim and for the 2.5th to 97.5th percentile of resamples drawn with replacement.

    python benchmarks/coverage.py --over stimuli [--studies 500] [--resamples 1000] [--seed 0]
"""

import argparse
import os
import time
from dataclasses import dataclass

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # before numpy

import numpy as np

from vidsim.analysis.alignment import align
from vidsim.analysis.columns import RankedColumns, resample
from vidsim.analysis.correlation import codes_of
from vidsim.analysis.resampling import draw
from vidsim.analysis.sample import Sample
from vidsim.analysis.scatter import OVER
from vidsim.data.simulate import simulate
from vidsim.embeddings import Embeddings
from vidsim.rsm import RSM, cosine_rsm
from vidsim.triplets import Triplets

STIMULI, DIMENSIONS, TRIALS, PEOPLE = 50, 8, 1000, 20
TASTE = 0.5
"""Standard deviation over people of the logarithm of a dimension's weight."""
TEMPERATURE = 0.15
NOISE = {"near": 1.0, "far": 1.3}
TRUTHS = 1000
"""Studies whose mean is the truth."""
IDS = tuple(f"s{number:02}" for number in range(STIMULI))
SINGLE = {"rho": "rho", "rho_a": "rho-a", "three_way": "three-way", "two_way": "two-way"}
BETWEEN = {"rho": "difference in rho", "three_way": "in three-way", "two_way": "in two-way"}
COLUMNS = (*SINGLE.values(), *BETWEEN.values())


@dataclass(frozen=True)
class Study:
    """Hold what one study finds: trials, who judged each, and models of its stimuli."""

    triplets: Triplets
    people: np.ndarray
    models: dict[str, RSM]


class Population:
    """Draw studies; what is not resampled is the same in all of them."""

    def __init__(self, over: str, seed: int) -> None:
        self.over = over
        self.rng = np.random.default_rng(seed)
        self.points, self.models = self.stimuli()
        self.weights = self.people()

    def stimuli(self) -> tuple[np.ndarray, dict[str, RSM]]:
        """Draw points, and models that see them with noise."""
        points = self.rng.normal(size=(STIMULI, DIMENSIONS))
        seen = {name: points + noise * self.rng.normal(size=points.shape) for name, noise in NOISE.items()}
        return points, {name: cosine_rsm(Embeddings(IDS, view)) for name, view in seen.items()}

    def people(self) -> np.ndarray:
        """Draw how people weigh the dimensions."""
        return np.exp(TASTE * self.rng.normal(size=(PEOPLE, DIMENSIONS)))

    def study(self) -> Study:
        """Let people judge triplets, as many each."""
        points, models = (self.points, self.models) if self.over == "participants" else self.stimuli()
        weights = self.weights if self.over == "stimuli" else self.people()
        rows: list[np.ndarray] = []
        for own in weights:
            human = cosine_rsm(Embeddings(IDS, points * own))
            seed = int(self.rng.integers(1 << 31))
            rows.append(simulate(human, trials=TRIALS // PEOPLE, temperature=TEMPERATURE, seed=seed).rows)
        people = np.repeat(np.arange(PEOPLE), TRIALS // PEOPLE)
        return Study(Triplets(IDS, np.concatenate(rows)), people, models)


def measured(study: Study, over: str, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the values that vidsim finds, shape (7,), and its intervals, shape (7, 2)."""
    found = align(
        study.triplets,
        study.models,
        over=over,
        participants=study.people,
        against="far",
        resamples=resamples,
        seed=seed,
    )
    near = found.models["near"]
    differences = {own.statistic: own for own in found.differences}
    values = {"rho": near.rho, "rho_a": near.rho_a, **near.accuracies}
    return (
        np.array([values[name] for name in SINGLE] + [differences[name].difference for name in BETWEEN]),
        np.array([near.intervals[name] for name in SINGLE] + [differences[name].interval for name in BETWEEN]),
    )


def percentiles(study: Study, over: str, resamples: int, seed: int) -> np.ndarray:
    """Return percentile intervals of the plain bootstrap, shape (7, 2).

    A pair or trial counts as often as its stimuli were drawn together, a judgment as often as its participant was;
    pairs of a stimulus with itself are left out.
    """
    sample = Sample.of(study.triplets, study.models)
    rng = np.random.default_rng(seed)
    stimuli = np.ones((resamples, STIMULI)) if over == "participants" else draw(STIMULI, resamples, rng)
    people = np.ones((resamples, PEOPLE)) if over == "stimuli" else draw(PEOPLE, resamples, rng)
    shown, together = np.zeros((2, PEOPLE, len(sample.pairs)))
    for column in sample.units.T:
        np.add.at(shown, (study.people, column), 1)
    np.add.at(together, (study.people, sample.units[:, 0]), 1)

    def judged(part: slice) -> tuple[np.ndarray, np.ndarray]:
        times = people[part] @ shown
        shares = np.divide(people[part] @ together, times, out=np.zeros_like(times), where=times > 0)
        i, j = sample.pairs.T
        codes = np.stack([codes_of(row) for row in shares])
        return (times > 0) * stimuli[part][:, i] * stimuli[part][:, j], codes

    rhos = resample(RankedColumns.of(sample.values), resamples, judged, 1)
    weights = people[:, study.people] * stimuli[:, sample.rows].prod(axis=2)
    weights /= weights.sum(axis=1, keepdims=True)
    means = {name: weights @ sample.credits[name].T for name in ("three_way", "two_way")}
    drawn = {"rho": rhos.spearman, "rho_a": rhos.rho_a, **means}  # near, far
    columns = [drawn[name][:, 0] for name in SINGLE] + [drawn[name] @ [1, -1] for name in BETWEEN]
    return np.nanpercentile(np.array(columns), [2.5, 97.5], axis=1).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--over", choices=OVER, default="stimuli")
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    population = Population(options.over, options.seed)
    truth = np.mean([measured(population.study(), options.over, 0, 0)[0] for _ in range(TRUTHS)], axis=0)
    held: dict[str, list[np.ndarray]] = {"vidsim": [], "percentile bootstrap": []}
    for number in range(options.studies):
        study = population.study()
        held["vidsim"].append(measured(study, options.over, options.resamples, number)[1])
        held["percentile bootstrap"].append(percentiles(study, options.over, options.resamples, number))
    print(f"| resampled | interval | {' | '.join(COLUMNS)} |")
    print(f"| --- | --- |{' ---: |' * len(COLUMNS)}")
    widths = {}
    for name, found in held.items():
        low, high = np.moveaxis(np.array(found), 2, 0)
        shares = 100 * ((low <= truth) & (truth <= high)).mean(axis=0)
        widths[name] = (high - low).mean(axis=0)
        print(f"| {options.over} | {name} | {' | '.join(f'{share:.1f}' for share in shares)} |")
    wider = widths["percentile bootstrap"] / widths["vidsim"]
    print(f"| {options.over} | its width over vidsim's | {' | '.join(f'{ratio:.2f}' for ratio in wider)} |")
    print(f"\n{options.studies} studies of {options.resamples:,} resamples, truth the mean of {TRUTHS:,}: ", end="")
    print(f"{', '.join(f'{value:.3f}' for value in truth)}; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
