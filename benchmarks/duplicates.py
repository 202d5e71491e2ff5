"""Count the re-encodings that the near-duplicate guard of `vidsim search` finds, in the spaces of an encoder.

    python benchmarks/duplicates.py FOLDER_OF_VIDEOS [--encoder NAME] [--layers LAYER ...] [--checkpoint FOLDER]

Every clip is re-encoded in five ways. An index holds the clips and their re-encodings of one way; a clip's re-encoding
is found if the guard takes both for one. Pairs of different clips that it takes for one are wrong.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import av

from vidsim.encoders import catalog
from vidsim.retrieval import indexes
from vidsim.retrieval.duplicates import Guard
from vidsim.retrieval.index import Index

WAYS: Mapping[str, tuple[str, float, int | None, dict[str, str]]] = {
    "CRF 35": ("libx264", 1, None, {"crf": "35"}),
    "half size": ("libx264", 0.5, None, {}),
    "MPEG-4": ("mpeg4", 1, None, {"b": "300k"}),
    "10 frames/s": ("libx264", 1, 10, {}),
    "quarter size": ("libx264", 0.25, None, {"crf": "40"}),
}
"""Codec, size, frames a second, options."""


def reencode(source: Path, target: Path, codec: str, size: float, rate: int | None, options: dict[str, str]) -> None:
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        given = old.streams.video[0]
        # 10 frames a second: the frames nearest to these moments
        stream: Any = new.add_stream(codec, rate=rate or given.average_rate, options=options)
        stream.width, stream.height = (2 * round(side * size / 2) for side in (given.width, given.height))
        stream.pix_fmt = "yuv420p"
        shown = 0
        for number, frame in enumerate(old.decode(video=0)):
            if rate is not None and given.average_rate is not None and number * rate < shown * given.average_rate:
                continue
            picture = frame.reformat(width=stream.width, height=stream.height, format="rgb24").to_ndarray()
            new.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))  # with a time of its own
            shown += 1
        new.mux(stream.encode())


def built(root: Path, encoder: str, layer: str, clips: Path, checkpoint: str | None) -> Index:
    line = [str(Path(sys.executable).with_name("vidsim")), "index", str(clips), "--encoder", encoder]
    line += ["--layers", layer, "--root", str(root), *(["--checkpoint", checkpoint] if checkpoint else [])]
    subprocess.run(line, check=True, capture_output=True)
    return indexes.load(str(root), encoder, layer)


def pairs(found: Index) -> set[tuple[str, str]]:
    guard = Guard(found)
    clips = {found.value("id", row): guard.clip(row) for row in range(len(found))}
    return {(a, b) for a, b in combinations(sorted(clips), 2) if guard.relation(clips[a], clips[b])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", default="motion-energy")
    parser.add_argument("--layers", nargs="+")
    parser.add_argument("--checkpoint")
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.folder.rglob("*") if path.suffix in {".mp4", ".mkv", ".webm", ".avi"})
    layers = arguments.layers or catalog.card(arguments.encoder).layers
    print(f"{len(paths)} clips, {arguments.encoder}; re-encodings found, and wrong pairs of clips")
    for way, how in WAYS.items():
        with tempfile.TemporaryDirectory() as work:
            clips = Path(work, "clips")
            clips.mkdir()
            for number, path in enumerate(paths):
                (clips / f"{number:03} original{path.suffix}").write_bytes(path.read_bytes())
                reencode(path, clips / f"{number:03} again.mp4", *how)
            for layer in layers:
                taken = pairs(built(Path(work, layer), arguments.encoder, layer, clips, arguments.checkpoint))
                of_clips = {(a.split()[0], b.split()[0]) for a, b in taken}
                right = sum(a == b for a, b in of_clips)
                print(f"  {way:12} {layer:12} found {right} of {len(paths)}, wrong {len(of_clips) - right}", flush=True)


if __name__ == "__main__":
    main()
