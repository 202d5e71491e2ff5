"""``vidsim judgments import``: judgments, stimuli and similarity matrices into the store."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsim.cli import show
from vidsim.cli.judgments.names import refuse_hidden
from vidsim.cli.judgments.source import (
    ColumnsOption,
    FormatOption,
    IdsOption,
    MinCatch,
    OrderOption,
    Repeats,
    RepeatsOption,
    RtRange,
    UnitOption,
    Zero,
    reading,
    rt_range_of,
)
from vidsim.cli.options import Json, Root
from vidsim.cli.root import DEFAULT_ROOT, root_of
from vidsim.cli.stored import is_path, put_stimuli
from vidsim.errors import VidsimError
from vidsim.paths import expand

if TYPE_CHECKING:
    import pyarrow as pa

    from vidsim.data.judgments.judgments import Judgments
    from vidsim.data.judgments.read import Imported
    from vidsim.data.stimuli import StimulusSet
    from vidsim.rsm import RSM
    from vidsim.store import Store


def import_(
    path: Annotated[
        Path,
        typer.Argument(
            help="The Social-OOO release (folder), a CSV of trials, a Meadows export (.mat, .json, .csv), an array "
            "(.npy, .txt), a similarity matrix (.csv, .npy), or what `vidsim label` predicted (.parquet).",
            show_default=False,
        ),
    ],
    name: Annotated[str, typer.Option("--name", help="Name in the store, for judgments and stimuli.")],
    format: FormatOption = None,
    order: OrderOption = None,
    columns: ColumnsOption = None,
    ids: IdsOption = None,
    rt_unit: UnitOption = None,
    counts: Annotated[
        Path | None, typer.Option("--counts", help="Counts of a similarity matrix: pairs with 0 were never judged.")
    ] = None,
    zero: Annotated[
        Zero | None, typer.Option("--zero", help="What 0 means in a similarity matrix without counts.")
    ] = None,
    stimuli: Annotated[
        str | None,
        typer.Option(
            "--stimuli",
            help="What the source's ids name, where it does not say: a set of the store by name, a folder of videos, "
            "or a table of stimuli.",
        ),
    ] = None,
    min_catch_accuracy: MinCatch = None,
    rt_range: RtRange = None,
    repeats: RepeatsOption = Repeats.keep,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what the store has under that name from another source.")
    ] = False,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Bring judgments, their stimuli, or a similarity matrix into the store."""
    from vidsim.data.judgments.read import read

    refuse_hidden(name, root_of(root), "judgments")
    found = read(expand(path), reading(format, order, columns, ids, rt_unit, counts, zero))
    if stimuli is not None:
        found = _with_stimuli(found, stimuli, path, root_of(root))
    if found.judgments is None:
        if min_catch_accuracy is not None or rt_range is not None or repeats is not Repeats.keep:
            raise VidsimError(
                f"{str(path)!r} holds similarities, not trials: exclusion rules do not apply; leave them out"
            )
        answer = _keep_rsms(found.rsms or {}, name, root_of(root), force)
    else:
        from vidsim.analysis.exclusion import exclude

        kept = exclude(
            found.judgments,
            min_catch_accuracy=min_catch_accuracy,
            rt_range=rt_range_of(rt_range),
            repeats=repeats.value,
        )
        answer = _keep(kept, found, name, root_of(root), force)
    if json:
        show.emit(answer)
    else:
        _tell(answer)


def _with_stimuli(found: "Imported", name: str, path: Path, root: str) -> "Imported":
    from dataclasses import replace

    if found.judgments is None or found.stimuli is not None:
        what = "similarities" if found.judgments is None else "stimuli of its own"
        raise VidsimError(f"{str(path)!r} holds {what}, so --stimuli does not apply; leave it out")
    known = _stimuli(name, root).spelt_as(found.judgments.ids)
    there = set(known.ids)
    lacking = [judged for judged in found.judgments.ids if judged not in there]
    if lacking:
        raise VidsimError(
            f"--stimuli {name!r} lacks {len(lacking):,} of {len(found.judgments.ids):,} judged stimuli, the first is "
            f"{lacking[0]!r}; expected a set that has them all"
        )
    return replace(found, stimuli=known)


def _stimuli(name: str, root: str) -> "StimulusSet":
    """Find stimuli: a name in the store comes first, ``./name`` is always a file or folder."""
    from vidsim.data.sources import from_source
    from vidsim.data.stimuli import StimulusSet
    from vidsim.store import Store

    place = expand(name)
    named = Store(root, create=True).stimuli
    if not is_path(name) and (name in named or not place.exists()):
        return StimulusSet.from_arrow(named[name], name)
    return from_source(place)


def _keep(judgments: "Judgments", found: "Imported", name: str, root: str, force: bool) -> dict[str, Any]:
    """Write stimuli, then judgments: whoever finds judgments finds their stimuli."""
    from vidsim.store import Store

    store = Store(root, create=True)
    stimuli = found.stimuli
    if not force:
        _guard(store, judgments, stimuli, name)
    if stimuli is not None:
        put_stimuli(store, name, stimuli)
    store.judgments.put(name, judgments.table())
    real = len(judgments.triplets)
    return {
        "name": name,
        "root": root,
        "source": judgments.source,
        "order": judgments.order,
        "rows": judgments.source_rows,
        "trials": real,
        "catch_trials": len(judgments) - real,
        "participants": len(judgments.participants[0]),
        "judged_stimuli": len(judgments.ids),
        "predicted": judgments.predicted,
        "stimuli": 0 if stimuli is None else len(stimuli),
        "captions": 0 if stimuli is None else sum(bool(s.captions) for s in stimuli),
        "ratings": [] if stimuli is None else list(dict.fromkeys(rating for s in stimuli for rating in s.ratings)),
        "splits": {} if stimuli is None else _splits(stimuli),
        "defects": [vars(d) for d in judgments.defects],
        "exclusions": [vars(e) for e in judgments.exclusions],
        "notes": list(judgments.notes),
    }


def _guard(store: "Store", judgments: "Judgments", stimuli: "StimulusSet | None", name: str) -> None:
    """Refuse to replace what comes from elsewhere; the same source again is an update."""
    from vidsim.data.judgments.judgments import Judgments

    there = store.judgments.get(name)
    if there is not None:
        earlier = Judgments.from_table(there).source
        if earlier != judgments.source:
            raise VidsimError(
                f"judgments {name!r} in {store.root!r} come from {earlier!r}; choose another --name, or --force "
                "replaces them"
            )
    elif stimuli is not None and name in store.stimuli and store.stimuli[name] != stimuli.table():
        raise VidsimError(
            f"there are other stimuli {name!r} in {store.root!r}; choose another --name, or --force replaces them"
        )


def _splits(stimuli: "StimulusSet") -> dict[str, int]:
    from collections import Counter

    return dict(Counter(s.split for s in stimuli if s.split))


def _keep_rsms(rsms: "Mapping[str, RSM]", name: str, root: str, force: bool) -> dict[str, Any]:
    """Write similarity matrices: one under the name, each participant's of several under name/participant."""
    import numpy as np

    from vidsim.data.judgments.meadows import mean_rsm
    from vidsim.store import Store

    refuse_hidden(name, root, "rsms")
    several = len(rsms) > 1
    named = {f"{name}/{who}" if several else name: rsm for who, rsm in rsms.items()}
    if several:
        named[name] = mean_rsm(rsms)
    store = Store(root, create=True)
    tables = {where: rsm.table() for where, rsm in named.items()}
    taken = [where for where, table in tables.items() if where in store.rsms and not _equal(store.rsms[where], table)]
    if taken and not force:
        raise VidsimError(
            f"there are other similarities {taken[0]!r} in {store.root!r}; choose another --name, or --force replaces "
            "them"
        )
    for where, table in tables.items():
        store.rsms.put(where, table)
    rsm = named[name]
    return {
        "name": name,
        "root": root,
        "rsms": list(named),
        "stimuli": len(rsm),
        "pairs": int(np.isfinite(rsm.upper).sum()),
        "pairs_total": len(rsm) * (len(rsm) - 1) // 2,
        "counts": rsm.counts is not None,
    }


def _equal(a: "pa.Table", b: "pa.Table") -> bool:
    """Compare two stored similarity matrices; NaN equals NaN."""
    import numpy as np

    from vidsim.rsm import RSM

    one, two = RSM.from_table(a), RSM.from_table(b)
    return (
        tuple(one.ids) == tuple(two.ids)
        and np.array_equal(one.similarities, two.similarities, equal_nan=True)
        and np.array_equal(one.upper_counts, two.upper_counts)
    )


def _tell(answer: dict[str, Any]) -> None:
    if "rsms" in answer:
        kind = "with counts" if answer["counts"] else "without counts"
        pairs = f"{answer['pairs']:,} of {answer['pairs_total']:,} pairs"
        where = show.printable(", ".join(answer["rsms"]))
        typer.echo(
            f"similarities of {answer['stimuli']} stimuli, {pairs}, {kind}, stored as {where} under {answer['root']}"
        )
        return
    whose = "no person" if answer["predicted"] else f"{answer['participants'] or 'unknown'} participants"
    typer.echo(
        f"{answer['rows']:,} rows: {answer['trials']:,} trials and {answer['catch_trials']:,} catch trials by "
        f"{whose} on {answer['judged_stimuli']:,} stimuli"
    )
    if answer["stimuli"]:
        parts = ", ".join(f"{count} {split}" for split, count in answer["splits"].items()) or "no split"
        ratings = ", ".join(answer["ratings"]) or "none"
        told = f"{answer['stimuli']} stimuli ({parts}), {answer['captions']} with captions; ratings: {ratings}"
        typer.echo(show.printable(told))
    tell_defects(answer["defects"], answer["exclusions"], answer["notes"])
    typer.echo(f"stored as judgments {answer['name']!r} under {answer['root']}")


def tell_defects(defects: list[dict[str, Any]], exclusions: list[dict[str, Any]], notes: list[str]) -> None:
    """Say what was wrong with a source, what rules have removed, and what else there is to know.

    Parameters
    ----------
    defects, exclusions : list of dict
        Fields of `Defect` and `Exclusion`.
    notes : list of str
        Lines.
    """
    if defects:
        rows = [
            (
                f"{d['count']:,}",
                d["kind"],
                d["meaning"],
                "kept" if d["kept"] else "left out",
                ", ".join(map(str, d["lines"])) + (", ..." if d["count"] > len(d["lines"]) else ""),
            )
            for d in defects
        ]
        show.table(("rows", "kind", "what", "now", "lines"), rows, right=("rows",), prose=("what", "lines"))
    for e in exclusions:
        people = f", {len(e['participants'])} people: {', '.join(e['participants'][:5])}" if e["participants"] else ""
        more = ", ..." if len(e["participants"]) > 5 else ""
        typer.echo(show.printable(f"excluded by {e['rule']} {e['value']}: {e['rows']:,} trials{people}{more}"))
    for note in notes:
        typer.echo(show.printable(f"note: {note}"))
