"""``vidsim label``: what a model would choose in triplets that nobody has judged, as a data set of its own."""

import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsim.cli import show
from vidsim.cli.options import Captions, Json, Root
from vidsim.cli.output_folder import check_folder, write_folder
from vidsim.cli.root import DEFAULT_ROOT, root_of
from vidsim.cli.spaces import CaptionsOption
from vidsim.cli.stored import stored_stimuli
from vidsim.errors import VidsimError
from vidsim.paths import expand
from vidsim.report.text import counted

if TYPE_CHECKING:
    from vidsim.cli.vectors import Vectors
    from vidsim.embeddings import Embeddings

CARD, PROVENANCE = "README.md", "provenance.json"
TRIPLETS, SIMILARITIES = "triplets.parquet", "rsm.parquet"
"""Files of the folder that is written."""

COUNT = 100_000
"""Triplets that are labelled, unless said."""


class DesignName(StrEnum):
    """Which triplets are labelled."""

    random = "random"
    covering = "covering"
    uncertain = "uncertain"


Space = Annotated[
    str, typer.Argument(metavar="ENCODER[:LAYER]", help="Whose embeddings predict; an adapter by its own name.")
]
Out = Annotated[
    Path,
    typer.Option(help="Folder to write: a Parquet file, provenance.json and a dataset card.", show_default=False),
]
Count = Annotated[
    int | None,
    typer.Option("-n", min=1, help=f"How many triplets; {COUNT:,} by default, or all there are.", show_default=False),
]
DesignOption = Annotated[
    DesignName,
    typer.Option(
        "--design",
        help="random: a simple random sample; covering: the fewest that hold every pair; uncertain: of a random pool "
        "those whose choice is most open, most uncertain first.",
    ),
]
Pool = Annotated[
    int | None,
    typer.Option(min=1, help="Candidates of --design uncertain; by default 10 for each that is kept."),
]
Rsm = Annotated[bool, typer.Option("--rsm", help="Write the similarities of all pairs instead of triplets.")]
Temperature = Annotated[
    float | None,
    typer.Option(
        "--temperature", help="Use this one instead of the calibrated: probabilities are then not calibrated."
    ),
]
StimuliOption = Annotated[
    str | None, typer.Option("--stimuli", help="Label only these stimuli of the store, by the name of their set.")
]
SplitOption = Annotated[str | None, typer.Option("--split", help="With --stimuli: only those of this split.")]
IdsOption = Annotated[
    Path | None, typer.Option("--ids", help="Label only these: a text with one id a line, or a table with column id.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the triplets that are drawn.")]
Force = Annotated[bool, typer.Option("--force", help="Replace earlier labels in the folder that --out names.")]


def label(
    space: Space,
    out: Out,
    n: Count = None,
    design: DesignOption = DesignName.random,
    pool: Pool = None,
    rsm: Rsm = False,
    temperature: Temperature = None,
    stimuli: StimuliOption = None,
    split: SplitOption = None,
    ids: IdsOption = None,
    captions: CaptionsOption = Captions.mean,
    seed: Seed = 0,
    force: Force = False,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Predict the odd one of triplets that nobody has judged, or all similarities, with provenance and a card."""
    start = time.perf_counter()
    place = root_of(root)
    out = expand(out)
    check_folder(out, PROVENANCE, force=force)
    if rsm and (n, pool, temperature, design) != (None, None, None, DesignName.random):
        raise VidsimError("--rsm writes all similarities: leave out -n, --design, --pool and --temperature")
    if split is not None and stimuli is None:
        raise VidsimError("--split is of a set of stimuli: name it with --stimuli")
    if stimuli is not None and ids is not None:
        raise VidsimError("--stimuli and --ids both say which clips; leave one of them out")

    from vidsim.cli.vectors import find_vectors
    from vidsim.retrieval.triplet_similarity import unit_vectors

    found = find_vectors(space, place, captions.value)
    whose = f"{found.encoder}:{found.layer}"
    some = _chosen(found.found, whose, place, stimuli, split, ids)
    size = _size(len(some), rsm, design, n, pool)
    facts: dict[str, Any] = {"kind": "similarities" if rsm else "triplets", **_facts(found, some, stimuli, split)}
    if not rsm:
        facts |= {"design": design.value, "seed": seed, **_temperature(found, place, temperature)}
        facts |= {"pool": _pool(len(some), size, pool)} if design is DesignName.uncertain else {}
    vectors = unit_vectors(some.matrix, tuple(some.ids), whose)
    answer: dict[str, Any] = {}

    def fill(folder: Path) -> None:
        from vidsim.cli.progress import Bar
        from vidsim.report.label import label_card
        from vidsim.retrieval.artefacts import digest
        from vidsim.retrieval.label import label as labels_of
        from vidsim.retrieval.label_files import write_similarities, write_triplets

        path = folder / (SIMILARITIES if rsm else TRIPLETS)
        with Bar("clips" if rsm else "triplets") as bar, path.open("wb") as file:
            bar.begin(size, "similarities" if rsm else "triplets")
            if rsm:
                _refuse_too_large(folder, size)
                write_similarities(file, some.ids, vectors, facts, lambda done: bar.advance(done, 0))
                answer["pairs"] = size * (size - 1) // 2
            else:
                labels = labels_of(
                    vectors, facts["temperature"], design=design.value, count=_count(design, size),
                    pool=facts.get("pool"), seed=seed,
                )  # fmt: skip
                written = write_triplets(file, some.ids, labels, facts, lambda done: bar.advance(done, 0))
                answer.update(vars(written))
        answer.update(facts)
        answer["file"] = {"name": path.name, "bytes": path.stat().st_size, "sha256": digest(path)}
        _write_json(folder / PROVENANCE, answer)
        (folder / CARD).write_text(label_card(answer), encoding="utf-8")

    write_folder(out, PROVENANCE, fill, force=force)
    if json:
        show.emit({**answer, "out": str(out), "seconds": round(time.perf_counter() - start, 3)})
    else:
        _tell(answer, out)


def _chosen(
    found: "Embeddings", whose: str, root: str, stimuli: str | None, split: str | None, path: Path | None
) -> "Embeddings":
    """Take the clips that are to be labelled."""
    if stimuli is not None:
        from vidsim.cli.judgments.source import split_ids

        known = stored_stimuli(stimuli, root)
        wanted = tuple(known.ids) if split is None else split_ids(known, split, stimuli)
    elif path is not None:
        from vidsim.data.design import ids_of

        wanted = ids_of(str(path))
    else:
        return found
    lacking = [name for name in wanted if name not in found.position]
    if lacking:
        raise VidsimError(
            f"{whose} lacks {len(lacking):,} of {len(wanted):,} clips, the first is {lacking[0]!r}; extract them, or "
            "leave them out"
        )
    return found.take(wanted)


def _size(clips: int, rsm: bool, design: DesignName, n: int | None, pool: int | None) -> int:
    """Return how many triplets there will be, or rows of similarities."""
    from math import comb

    from vidsim.retrieval.label import check_design

    if rsm and clips > 1:
        return clips
    count = n
    if design is not DesignName.covering and n is None:
        count = min(COUNT, comb(clips, 3))
    return check_design(clips, design.value, count, pool)


def _pool(clips: int, size: int, pool: int | None) -> int:
    from math import comb

    from vidsim.retrieval.label import POOL

    return pool or min(POOL * size, comb(clips, 3))


def _count(design: DesignName, size: int) -> int | None:
    return None if design is DesignName.covering else size


def _temperature(found: "Vectors", root: str, given: float | None) -> dict[str, Any]:
    """Find the temperature: the one given, or that of the calibration, which must be of these embeddings."""
    from vidsim.analysis.choice import check_temperature
    from vidsim.retrieval.calibration import advice, captions_of, find

    if given is not None:
        check_temperature(given)
        return {"temperature": given, "calibration": None}
    calibration = find(root, found.encoder, found.layer, found.identity)
    if calibration is None:
        command = advice(found.encoder, found.layer, root, captions=captions_of(found.identity))
        raise VidsimError(
            f"{found.encoder}:{found.layer} has no calibration, so its similarities are no probabilities: {command}, "
            "or give --temperature"
        )
    # of a file its name, not its place: the labels may be passed on
    judgments = Path(calibration.judgments).name
    return {"temperature": calibration.temperature, "calibration": {**calibration.summary, "judgments": judgments}}


def _facts(found: "Vectors", some: "Embeddings", stimuli: str | None, split: str | None) -> dict[str, Any]:
    from datetime import UTC, datetime
    from importlib.metadata import version

    return {
        "encoder": found.encoder,
        "layer": found.layer,
        "similarity": "cosine",
        **found.facts,
        "identity": dict(found.identity),
        "clips": len(some),
        "dims": some.matrix.shape[1],
        "stimuli": stimuli,
        "split": split,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in ("vidsim", "numpy", "pyarrow")},
    }


def _refuse_too_large(folder: Path, n: int) -> None:
    from shutil import disk_usage

    needed, free = 4 * n * n, disk_usage(folder).free
    if needed > free:
        raise VidsimError(
            f"the similarities of {n:,} clips take {needed / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free; choose "
            "fewer clips, or another disk"
        )


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    import json

    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _tell(answer: Mapping[str, Any], out: Path) -> None:
    from vidsim.report.label import calibrated_on

    where = show.printable(str(out / answer["file"]["name"]))
    whose = f"{answer['encoder']}:{answer['layer']}"
    if answer["kind"] == "similarities":
        typer.echo(f"{answer['pairs']:,} pairs of {answer['clips']:,} clips, cosines of {whose}: {where}")
        return
    low, middle, high = answer["quantiles"].values()
    typer.echo(
        f"{counted(answer['triplets'], 'triplet')} of {answer['clips']:,} clips ({answer['design']}), predicted by "
        f"{whose}; no person judged them: {where}"
    )
    calibration = answer["calibration"]
    told = f"calibrated on {calibrated_on(calibration)}" if calibration else "not calibrated: the temperature was given"
    typer.echo(
        f"probability of the odd one: mean {answer['probability']:.3f} (5 %, 50 %, 95 %: {low:.3f}, {middle:.3f}, "
        f"{high:.3f}; chance 0.333), temperature {answer['temperature']:.4g}, {told}"
    )
    low, high = answer["occurrences"]
    typer.echo(f"each clip is in {f'{low:,} to {high:,} triplets' if high > low else counted(high, 'triplet')}")
