"""The state of a training run: one file, replaced at the end of every epoch, from which it goes on when it was killed.

What is random in an epoch (order, captions, dropout) follows from the seed and the epoch's number, so the number is the
state of all generators.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vidsim.adapt.drafts import PREFIX
from vidsim.disk import remedy
from vidsim.errors import VidsimError


@dataclass
class State:
    """Hold what a run needs to go on.

    Parameters
    ----------
    epoch : int
        Epochs that are done.
    weights, best : dict of str to Tensor
        Trained weights now, and when the validation score was best.
    optimiser : dict of str to Tensor
        Moments and step counts of AdamW, by ``<weight>/<name>``.
    best_epoch : int
        Epoch with the best score; 0 is the base.
    curve : list of mapping
        What was measured after each epoch.
    """

    epoch: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    best: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    optimiser: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    best_epoch: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def write(self, path: Path, run: str) -> None:
        """Write the state, all of it or nothing.

        Parameters
        ----------
        path : Path
            The file.
        run : str
            Hash of everything that the run depends on.

        Raises
        ------
        VidsimError
            If the disk is full or cannot be written; the state before it stays.
        """
        tensors = {
            f"{part}:{name}": value.detach().cpu().contiguous()
            for part in ("weights", "best", "optimiser")
            for name, value in getattr(self, part).items()
        }
        facts = {"run": run, "epoch": self.epoch, "best_epoch": self.best_epoch, "curve": self.curve}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # in a folder of its own: the same command may run twice
            with TemporaryDirectory(prefix=PREFIX, dir=path.parent, ignore_cleanup_errors=True) as draft:
                made = Path(draft) / path.name
                save_file(tensors, made, metadata={"vidsim": json.dumps(facts)})
                with made.open("rb") as file:
                    os.fsync(file.fileno())
                made.replace(path)
        except (OSError, SafetensorError) as error:
            raise VidsimError(
                f"the state of the training cannot be written to {os.fspath(path)!r}: {error}; {remedy(error)} "
                f"and run the same command again{': it goes on behind the last epoch that was kept' * path.is_file()}"
            ) from error


def is_of(path: Path, curve: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether a state is what a run has left that came to its end, killed just before it removed the state.

    Parameters
    ----------
    path : Path
        The file, which may be missing.
    curve : sequence of mapping
        What the finished run measured after each epoch, seconds among it: no two runs have the same.

    Returns
    -------
    bool
        False also for a file that cannot be read.
    """
    try:
        with safe_open(path, "pt") as file:
            facts = _facts(file)
    except (OSError, SafetensorError, ValueError):
        return False
    return facts.get("curve") == list(curve)


def read_state(path: Path, run: str) -> State | None:
    """Read the state that a run left.

    Parameters
    ----------
    path : Path
        The file.
    run : str
        Hash of everything that the run depends on.

    Returns
    -------
    State or None
        None if there is none.

    Raises
    ------
    VidsimError
        If it cannot be read, or another run left it.
    """
    if not path.is_file():
        return None
    where = os.fspath(path)
    try:
        with safe_open(path, "pt") as file:
            facts = _facts(file)
            parts: dict[str, dict[str, Tensor]] = {"weights": {}, "best": {}, "optimiser": {}}
            for key in file.keys():  # noqa: SIM118  not a mapping
                part, _, name = key.partition(":")
                parts[part][name] = file.get_tensor(key)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise VidsimError(
            f"the state of the training in {where!r} cannot be read: {error}; start over: --restart"
        ) from error
    if facts.get("run") != run:
        raise VidsimError(
            f"{where!r} is of a run with other settings, judgments, weights or versions; go on with those, or drop it "
            "and start over: --restart"
        )
    return State(facts["epoch"], **parts, best_epoch=facts["best_epoch"], curve=facts["curve"])


def optimiser_state(optimiser: torch.optim.Optimizer, names: Mapping[int, str]) -> dict[str, Tensor]:
    """Lay an optimiser's state out by weight.

    Parameters
    ----------
    optimiser : Optimizer
        AdamW.
    names : mapping of int to str
        Name of each weight, by ``id``.

    Returns
    -------
    dict of str to Tensor
        Copies.
    """
    return {
        f"{names[id(weight)]}/{key}": value.detach().clone()
        for weight, state in optimiser.state.items()
        for key, value in state.items()
    }


def restore_optimiser(
    optimiser: torch.optim.Optimizer, weights: Mapping[str, Tensor], state: Mapping[str, Tensor]
) -> None:
    """Give an optimiser its state back.

    Parameters
    ----------
    optimiser : Optimizer
        AdamW, new.
    weights : mapping of str to Tensor
        The weights that it moves.
    state : mapping of str to Tensor
        Of `optimiser_state`.
    """
    for name, value in state.items():
        weight, _, key = name.rpartition("/")
        # accelerate, which prepares the optimiser behind this, moves its count of steps to a GPU
        moved = value.clone() if key == "step" else value.to(weights[weight].device, copy=True)
        optimiser.state[weights[weight]][key] = moved


def _facts(file: Any) -> Mapping[str, Any]:
    facts = json.loads((file.metadata() or {}).get("vidsim", "{}"))
    if not isinstance(facts, dict):
        raise ValueError(f"its facts are a {type(facts).__name__}")  # noqa: TRY004  as what is no JSON
    return cast("Mapping[str, Any]", facts)
