"""Measure how much of the decoding is hidden behind a model that computes elsewhere, where no GPU is at hand.

    python benchmarks/clips.py FOLDER_OF_VIDEOS CLIPS --number 64 --frames 75 --height 240 --width 320
    python benchmarks/hidden.py CLIPS

The model is a stand-in: it waits for as long as a GPU of some speed would compute, and needs hardly a core; nor
does it copy frames, as a GPU fetches them itself. All else is extraction as it is: files are hashed and decoded in
processes, as beside a GPU, and 13 layers of 768 features are stored. (Beside a GPU the processes leave frames as
decoded, and scale nothing.) The model's speeds are multiples of that of the decoding alone, which is measured before
and behind each.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import torch
from gpu_extract import FromBegin, decoding
from numpy import ndarray

from vidsim.data.sources import from_folder
from vidsim.data.stimuli import StimulusSet
from vidsim.encoders import catalog, scaling
from vidsim.encoders.base import EncoderCard, Reduce, Sampling
from vidsim.encoders.decoding import DecodingProcesses
from vidsim.encoders.preprocess import Preprocess
from vidsim.extract.run import extract
from vidsim.store import Store

DEVICE = "cpu:0"
"""Not the name by which extraction knows a CPU: it takes it for a device of its own."""

LAYERS = tuple(f"layers.{number}" for number in range(13))
CARD = EncoderCard(
    name="stand-in",
    family=f"{__name__}:StandIn",
    modality="video",
    layers=LAYERS,
    default_layer=LAYERS[-1],
    sampling=Sampling(frames=8),
    size=224,
    width=768,
)
STEPS = Preprocess(shortest_edge=224, crop=(224, 224))


class StandIn:
    """Wait in place of a model."""

    seconds: ClassVar[float]
    """That a clip takes."""

    provenance: ClassVar[Mapping[str, object]] = {}
    preprocess = STEPS

    def __init__(self, card: EncoderCard, device: str) -> None:
        self.card = card

    def prepare(self, stimulus: Any) -> torch.Tensor:
        """Prepare a frame."""
        return self.preprocess.frame(stimulus)

    def encode(self, batch: Sequence[torch.Tensor], layers: Sequence[str], reduce: Reduce) -> dict[str, ndarray]:
        """Give random features, once the time is over."""
        end = time.perf_counter() + self.seconds * len(batch)
        found = {layer: reduce(layer, torch.randn(len(batch), 768)).numpy() for layer in layers}
        time.sleep(max(end - time.perf_counter(), 0.0))
        return found


def alone(paths: list[Path], workers: int) -> float:
    """Return the seconds that hashing and decoding takes, by processes that have begun."""
    assert CARD.sampling is not None
    with DecodingProcesses("pyav", CARD.sampling, STEPS) as processes:
        return len(paths) / decoding(processes.read, paths, workers)


def extraction(stimuli: StimulusSet, workers: int, batch_size: int, seconds: float) -> float:
    """Return the seconds that an extraction takes with a model of some speed."""
    StandIn.seconds, began = seconds, FromBegin()
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(catalog, "resolve_device", lambda _: DEVICE),
        patch.object(scaling, "stack_prepared", lambda items, *_: items),
    ):
        store = Store(Path(folder, "root"), create=True)
        report = extract(stimuli, catalog.resolve(CARD), store, workers=workers, batch_size=batch_size, progress=began)
        assert report.encoded == len(stimuli)
        return time.perf_counter() - began.start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "clips", type=Path, help="a folder of them, for files that take far longer than processes to start"
    )
    parser.add_argument("--number", type=int, default=2048, help="of files")
    parser.add_argument("--workers", type=int, default=3, help="processes; from three on extraction has some")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--speeds", type=float, nargs="+", default=[0.5, 0.75, 1.0, 1.5])
    told = parser.parse_args()
    clips = sorted(path for path in told.clips.glob("*") if path.is_file())
    if told.workers < 3 or not clips:
        parser.error("expected a folder of clips, and 3 workers at least: with fewer, extraction decodes in threads")
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(islice(cycle(clips), told.number)):
            shutil.copy(path, Path(folder, f"{number:06}{path.suffix}"))
        paths, stimuli = sorted(Path(folder).iterdir()), from_folder(Path(folder))
        before = alone(paths, told.workers)
        for speed in told.speeds:
            model = before / speed
            whole = extraction(stimuli, told.workers, told.batch_size, model / len(paths))
            behind = alone(paths, told.workers)
            seconds = (before + behind) / 2
            hidden = (seconds + model - whole) / min(seconds, model)
            print(
                f"model {len(paths) / model:.0f} clips/s, decoding alone {len(paths) / seconds:.0f}: together "
                f"{len(paths) / whole:.0f}, {max(seconds, model) / whole:.0%} of the slower one; {hidden:.0%} of the "
                "faster one is hidden",
                flush=True,
            )
            before = behind


if __name__ == "__main__":
    main()
