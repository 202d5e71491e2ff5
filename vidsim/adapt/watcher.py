"""Watcher: whom a training run tells how it goes."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Watcher(Protocol):
    """What a training run tells while it goes on."""

    def begin(self, name: str, seed: int, epochs: int, steps: int, done: int) -> None:
        """Say what begins, and how many epochs are done already."""
        ...

    def step(self, number: int, losses: Mapping[str, float]) -> None:
        """Say that a step was made, and its losses."""
        ...

    def epoch(self, row: Mapping[str, Any], best: int) -> None:
        """Say what was measured after an epoch, and which was the best so far."""
        ...
