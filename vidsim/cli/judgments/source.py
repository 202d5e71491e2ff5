"""Where the verbs of ``vidsim judgments`` find judgments: in the store by name, or in a file or folder."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidsim.cli.options import columns_of
from vidsim.cli.root import root_of
from vidsim.cli.stored import is_path, stimuli_of
from vidsim.errors import VidsimError
from vidsim.paths import expand

if TYPE_CHECKING:
    from vidsim.data.judgments.judgments import Judgments
    from vidsim.data.judgments.read import Reading
    from vidsim.data.stimuli import StimulusSet


class FormatName(StrEnum):
    """Kind of a source."""

    released = "released"
    table = "table"
    things = "things"
    cblearn = "cblearn"
    meadows = "meadows"
    rsm = "rsm"
    predicted = "predicted"


if TYPE_CHECKING:
    TrialFormat = FormatName
else:  # a type checker does not follow members that are computed
    TrialFormat = StrEnum("TrialFormat", {kind.name: kind.value for kind in FormatName if kind is not FormatName.rsm})
"""Kind of a source of trials."""


class OrderName(StrEnum):
    """How a source tells the odd one."""

    odd_last = "odd-last"
    odd_first = "odd-first"
    choice_column = "choice-column"
    comparisons = "comparisons"


class Zero(StrEnum):
    """What 0 means in a similarity matrix."""

    unseen = "unseen"
    similarity = "similarity"


class Unit(StrEnum):
    """Unit of response times."""

    s = "s"
    ms = "ms"


class Repeats(StrEnum):
    """What becomes of trials that one person judges again."""

    keep = "keep"
    first = "first"


class ContextName(StrEnum):
    """Which trials count for a split's pairs."""

    within = "split"
    anywhere = "any"


JudgmentsSource = Annotated[
    str, typer.Argument(help="Judgments in the store by name, or a file or folder to read.", show_default=False)
]
FormatOption = Annotated[
    FormatName | None, typer.Option("--format", help="Kind of source, where its structure does not tell.")
]
TrialFormatOption = Annotated[
    TrialFormat | None, typer.Option("--format", help="Kind of source, where its structure does not tell.")
]
OrderOption = Annotated[
    OrderName | None, typer.Option("--order", help="How the source tells the odd one; needed for bare arrays.")
]
ColumnsOption = Annotated[
    str | None, typer.Option("--columns", help="What a table calls its columns, such as stim1=left,choice=odd.")
]
IdsOption = Annotated[
    Path | None,
    typer.Option("--ids", help="File of ids: for arrays one a line, by item number; for tables those that are legal."),
]
UnitOption = Annotated[
    Unit | None, typer.Option("--rt-unit", help="Unit of a table's response times; s by default.", show_default=False)
]
MinCatch = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Leave out people whose share of passed catch trials is below this."),
]
RtRange = Annotated[
    str | None,
    typer.Option(metavar="LOW,HIGH", help="Leave out trials whose response time in s is outside; either may be empty."),
]
RepeatsOption = Annotated[
    Repeats, typer.Option("--repeats", help="Trials that one person judges again: keep them, or only the first.")
]
SplitOption = Annotated[
    str | None, typer.Option("--split", help="Only stimuli of this split: train, test, val, or the source's own name.")
]
ContextOption = Annotated[
    ContextName,
    typer.Option(
        "--context",
        help="With --split: trials wholly within it (split), or also those with a third item outside (any).",
    ),
]


def reading(
    format: FormatName | TrialFormat | None,
    order: OrderName | None,
    columns: str | None,
    ids: Path | None,
    unit: Unit | None,
    counts: Path | None = None,
    zero: Zero | None = None,
) -> "Reading":
    """Put the options together that say how a source is read."""
    from vidsim.data.judgments.read import Reading
    from vidsim.data.judgments.table import COLUMNS

    return Reading(
        format.value if format else None,
        order.value if order else None,
        columns_of(columns, COLUMNS),
        expand(ids) if ids else None,
        expand(counts) if counts else None,
        zero.value if zero else None,
        unit.value if unit else None,
    )


def rt_range_of(text: str | None) -> tuple[float | None, float | None] | None:
    """Read ``0.3,60``, ``0.3,`` or ``,60``.

    Parameters
    ----------
    text : str or None
        The range in seconds.

    Returns
    -------
    tuple of float or None
        Lowest and highest response time.

    Raises
    ------
    VidsimError
        If it is not of that form.
    """
    if text is None:
        return None
    low, comma, high = text.partition(",")
    try:
        found = [float(part) if part.strip() else None for part in (low, high)]
    except ValueError:
        found = [None, None]
    if not comma or found == [None, None]:
        raise VidsimError(f"--rt-range {text!r}: expected LOW,HIGH in seconds, such as 0.3,60 or ,60")
    return found[0], found[1]


def load(source: str, root: str, how: "Reading | None" = None) -> "Judgments":
    """Find judgments: a name in the store comes first, ``./name`` is always a file."""
    return _told(source, _find(source, root, how)[0])


def load_split(
    source: str, root: str, split: str | None, how: "Reading | None" = None
) -> "tuple[Judgments, tuple[str, ...] | None]":
    """Find judgments, and the stimuli of a split of theirs.

    Parameters
    ----------
    source : str
        A name in the store, or a file or folder.
    root : str
        Artefact root.
    split : str, optional
        Name of the split; ``val`` is the paper's validation part of ``train``, and ``fit`` the rest of it.
    how : Reading, optional
        How a file is read.

    Returns
    -------
    tuple of Judgments and tuple of str or None
        All judgments; and those ids of the split that are judged, None without a split.

    Raises
    ------
    VidsimError
        If there are no such judgments, their stimuli have no such split, or nobody judged any of it.
    """
    judgments, stimuli = _find(source, root, how)
    _told(source, judgments)
    if split is None:
        return judgments, None
    ids = split_ids(stimuli, split, source)
    judged = set(judgments.ids)
    within = tuple(name for name in ids if name in judged)
    if not within:
        raise VidsimError(f"none of the {len(ids)} stimuli of split {split!r} is judged in {source!r}")
    return judgments, within


def split_ids(stimuli: "StimulusSet | None", split: str, source: str) -> tuple[str, ...]:
    """Name the stimuli of a split, in the order of the set.

    Parameters
    ----------
    stimuli : StimulusSet, optional
        The stimuli.
    split : str
        Name of the split, or ``val`` or ``fit``.
    source : str
        Named in errors.

    Returns
    -------
    tuple of str
        At least one.

    Raises
    ------
    VidsimError
        If there is no such split.
    """
    from vidsim.data.splits import validation_split

    if stimuli is None:
        raise VidsimError(
            f"{source!r} says nothing about its stimuli, so there is no split {split!r}; leave --split out"
        )
    known = {s.split for s in stimuli if s.split}
    wanted = "train" if split in {"val", "fit"} and split not in known else split
    ids = tuple(s.id for s in stimuli if s.split == wanted)
    if not ids:
        listed = ", ".join(sorted(known)) or "none"
        raise VidsimError(f"the stimuli of {source!r} have no split {split!r}; there are: {listed}")
    if wanted == split:
        return ids
    chosen = set(validation_split(ids)[split == "val"])
    return tuple(name for name in ids if name in chosen)


def _told(source: str, judgments: "Judgments") -> "Judgments":
    """Say on stderr if no person judged, whatever the verb: predictions must never pass for people."""
    if judgments.predicted is not None:
        from vidsim.cli.show import printable
        from vidsim.data.judgments.predicted import note

        typer.echo(f"vidsim: {printable(source)}: {printable(note(judgments.predicted))}", err=True)
    return judgments


def _find(source: str, root: str, how: "Reading | None") -> "tuple[Judgments, StimulusSet | None]":
    from vidsim.data.judgments.judgments import Judgments
    from vidsim.errors import NoStore

    path = expand(source)
    named = None
    if how is None and not is_path(source):
        from vidsim.store import Store

        try:
            store = Store(root_of(root))
        except NoStore as error:
            if not path.exists():
                raise VidsimError(f"no file or folder {source!r}, and {error}") from None
        else:
            named = store.judgments.get(source)
            if named is None and not path.exists():
                _ = store.judgments[source]  # says which there are
            if named is not None:
                return Judgments.from_table(named), stimuli_of(store, source)
    from vidsim.data.judgments.read import read

    found = read(path) if how is None else read(path, how)
    if found.judgments is None:
        raise VidsimError(f"{source!r} holds similarities, not trials; `vidsim judgments import` takes them")
    return found.judgments, found.stimuli
