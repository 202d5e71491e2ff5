"""Evaluator for sentence-transformers: how closely a model that is being trained matches people.

This module imports sentence-transformers, which takes seconds; nothing else in the project imports it.
"""

import csv
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vidsim.adapt.scores import METRICS, scores
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.triplets import Triplets

try:
    from sentence_transformers.base.evaluation import BaseEvaluator
except ImportError as missing:
    raise ImportError(
        "vidsim.adapt.evaluator needs sentence-transformers; install it with: pip install 'vidsim[text]'"
    ) from missing

CAPTIONS = ("mean", "first")

_log = logging.getLogger(__name__)


class HumanAlignmentEvaluator(BaseEvaluator):
    """Measure how closely captions' embeddings match human judgments, inside the trainer of sentence-transformers.

    Metrics, each behind ``name`` and an underscore where there is a name: ``rho``, Spearman's rho between cosines
    (Eq. 1) and human similarities; ``rho2``, its square; ``two_way`` and ``two_way_first``, odd-one-out accuracy with
    chance 1/2 over both anchors and with the first; ``three_way``, with chance 1/3; ``pairs`` and ``trials``, what they
    are of. All but the last two are NaN where an embedding is not finite, so that such a checkpoint is never the best.

    For the trainer, ``metric_for_best_model`` is ``"eval_"`` followed by the metric, such as ``"eval_people_rho"``.

    Parameters
    ----------
    triplets : Triplets
        Judged trials, such as those of a validation split.
    captions : mapping of str to str or sequence of str
        One or several captions of each stimulus of the trials.
    context : {"split", "any"}
        For the human similarities: trials wholly among the stimuli, or also those with a third one outside.
    use : {"mean", "first"}
        Of a stimulus with several captions, the mean of the captions' embeddings, each of length 1; or the first alone.
    primary : str
        One of `METRICS`, by which checkpoints are chosen.
    name : str
        Put before the metrics, and into the name of the table.
    batch_size : int
        Captions encoded at a time, 1 or more.
    show_progress_bar : bool
        Whether the encoding shows a bar.
    write_csv : bool
        Whether to add a row to ``human_alignment_evaluation_NAME_results.csv`` in the trainer's folder.

    Raises
    ------
    VidsimError
        If a stimulus has no caption, nothing was judged, or an option is unknown.
    """

    def __init__(
        self,
        triplets: Triplets,
        captions: Mapping[str, str | Sequence[str]],
        *,
        context: str = "split",
        use: str = "mean",
        primary: str = "rho",
        name: str = "",
        batch_size: int = 64,
        show_progress_bar: bool = False,
        write_csv: bool = True,
    ) -> None:
        super().__init__()
        if use not in CAPTIONS or primary not in METRICS:
            raise VidsimError(
                f"use {use!r} and primary {primary!r}: expected one of {', '.join(CAPTIONS)}, and one of "
                f"{', '.join(METRICS)}"
            )
        known = {stimulus: _listed(captions.get(stimulus, ())) for stimulus in triplets.ids}
        lacking = [stimulus for stimulus, own in known.items() if not own]
        if lacking:
            raise VidsimError(
                f"{len(lacking)} of {len(known)} stimuli have no caption, the first is {lacking[0]!r}; expected one or "
                "more each: restrict the trials to stimuli with captions"
            )
        human = triplets.rsm(context)
        if not len(triplets) or np.isfinite(human.upper).sum() < 2:
            raise VidsimError(
                f"{len(triplets)} trials among {len(known)} stimuli; expected some to compare a model with"
            )
        self.triplets = triplets
        self.human = human
        self.captions = [own if use == "mean" else own[:1] for own in known.values()]
        self.context = context
        self.use = use
        self.name = name
        self.batch_size = batch_size
        self.show_progress_bar = show_progress_bar
        self.write_csv = write_csv
        self.primary_metric: str | None = primary
        self.csv_file = f"human_alignment_evaluation{f'_{name}' if name else ''}_results.csv"

    def __call__(
        self,
        model: Any,
        output_path: str | None = None,
        epoch: int | float = -1,
        steps: int = -1,
    ) -> dict[str, float]:
        """Evaluate a model; the trainer calls this.

        Parameters
        ----------
        model : SentenceTransformer
            The model.
        output_path : str, optional
            Folder for the table; made where missing.
        epoch, steps : number
            Noted in the table.

        Returns
        -------
        dict of str to float
            The metrics, with the name before them.
        """
        found = self.measure(self.embed(model))
        if output_path is not None and self.write_csv:
            self._write(Path(output_path), epoch, steps, found)
        metrics: dict[str, float] = self.prefix_name_to_metrics(found, self.name)
        noted: Any = epoch  # a fraction within an epoch
        self.store_metrics_in_model_card_data(model, metrics, noted, steps)
        _log.info("people%s: %s", f" of {self.name}" if self.name else "", metrics)
        return metrics

    def embed(self, model: Any) -> Embeddings:
        """Encode the captions, and average over those of a stimulus.

        Parameters
        ----------
        model : SentenceTransformer
            The model.

        Returns
        -------
        Embeddings
            One per stimulus, in float64.
        """
        flat = [caption for own in self.captions for caption in own]
        encoded: Any = model.encode(
            flat,
            batch_size=self.batch_size,
            show_progress_bar=self.show_progress_bar,
            convert_to_numpy=True,
            normalize_embeddings=True,
        )
        vectors: Float[ndarray, "c d"] = np.asarray(encoded, np.float64)
        counts = np.array([len(own) for own in self.captions])
        means = np.add.reduceat(vectors, np.cumsum(counts) - counts) / counts[:, None]
        return Embeddings(self.triplets.ids, means)

    def measure(self, embeddings: Embeddings) -> dict[str, float]:
        """Compare embeddings with people.

        Parameters
        ----------
        embeddings : Embeddings
            Of all stimuli of the trials.

        Returns
        -------
        dict of str to float
            The metrics, without the name.
        """
        return scores(embeddings, self.triplets, self.human)

    def get_config_dict(self) -> dict[str, Any]:
        """Return what the model card notes.

        Returns
        -------
        dict
            ``context`` and ``captions``.
        """
        return {"context": self.context, "captions": self.use}

    def _write(self, folder: Path, epoch: int | float, steps: int, found: Mapping[str, float]) -> None:
        """Add a row to the table, below a header if it is new."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.csv_file
        new = not path.is_file()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["epoch", "steps", *found])
            writer.writerow([epoch, steps, *found.values()])


def _listed(captions: str | Sequence[str]) -> list[str]:
    return [captions] if isinstance(captions, str) else list(captions)
