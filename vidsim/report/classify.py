"""Tables of action recognition, with the published accuracies (Table 1)."""

from collections.abc import Mapping, Sequence
from typing import Any

from vidsim.report.page import Section
from vidsim.report.paper import table1
from vidsim.report.seen import seen_lines
from vidsim.report.text import sentences, span

FIRST = 5
"""Top-5: the right class is among the five first."""

TABLE = ("top-1 %", "95 %", f"top-{FIRST} %", "paper top-1 %")

DIFFERENCES = ("top-1 points", "95 %", "right alone", "McNemar p")

Answer = Mapping[str, Any]
"""What ``vidsim classify --json`` prints."""

ROWS = {"timesformer-base": "pretrained", "timesformer-ft-hybrid": "fine-tuned"}
"""Row of Table 1 by encoder."""

ACTIONS = 101
"""Classes of UCF101."""


def published_top1(encoder: str, *, split: int, actions: int) -> Mapping[str, float] | None:
    """Find the published top-1 accuracy of an encoder on UCF101 split 1; None where there is none.

    Parameters
    ----------
    encoder : str
        Its name, without a layer; an adapter's may end with the paper's UID.
    split : int
        Number of the split.
    actions : int
        Classes told apart.

    Returns
    -------
    mapping of str to float or None
        ``top1`` and ``sd`` over three seeds, as shares from 0 to 1.
    """
    if split != 1 or actions != ACTIONS:
        return None
    own = (row for name, row in ROWS.items() if encoder == name or encoder.endswith((f"/{name}", f"-{name}")))
    row = next(own, None)
    return None if row is None else {name: value / 100 for name, value in table1()[row].items()}


def section(answer: Answer) -> Section:
    """Lay out action recognition as a part of a page.

    Parameters
    ----------
    answer : mapping
        What ``vidsim classify --json`` prints.

    Returns
    -------
    Section
        A table of encoders; how they differ stands in the facts.
    """
    facts = {row[0]: f"{row[1]} points ({row[2]}), McNemar p {row[4]}" for row in difference_rows(answer)}
    return Section(
        "Action recognition by a linear classifier",
        sentences([*notes(answer), *seen_lines(answer["encoders"], answer["test"])]),
        facts=facts,
        header=("encoder", *TABLE),
        rows=table_rows(answer),
        numbers=TABLE,
    )


def table_rows(answer: Answer) -> list[tuple[str, ...]]:
    """Lay out encoders: name and the columns of `TABLE`."""
    return [
        (
            name_of(found),
            _spread(found["top1"], found["top1_sd"]),
            _percents(found["top1_interval"]),
            _spread(found[f"top{FIRST}"], found[f"top{FIRST}_sd"]) if f"top{FIRST}" in found else "-",
            _spread(found["published"]["top1"], found["published"]["sd"]) if found["published"] else "-",
        )
        for found in answer["encoders"]
    ]


def difference_rows(answer: Answer) -> list[tuple[str, ...]]:
    """Lay out differences from the first encoder: names and the columns of `DIFFERENCES`."""
    return [
        (
            f"{found['second']} - {found['first']}",
            f"{100 * found['difference']:+.2f}",
            _percents(found["interval"]),
            f"{found['only_second']:,} : {found['only_first']:,}",
            f"{found['p_value']:.3g}",
        )
        for found in answer["comparisons"]
    ]


def notes(answer: Answer) -> list[str]:
    """Say what the numbers are of, a line each."""
    found = [
        f"{answer['classes']} classes, {answer['train']:,} training and {answer['test']:,} test videos; chance "
        f"{100 * answer['chance']:.2f} %; mean ± sd, seeds: {len(answer['seeds'])}",
        "a seed deals training groups to fitting and validation, where the penalty is chosen; the fit itself knows no "
        f"chance; intervals by bootstrap over {answer['test_groups']:,} test groups, {answer['resamples']:,} resamples",
    ]
    if answer["groups_on_both_sides"]:
        found.append(
            f"groups both in training and in test: {answer['groups_on_both_sides']:,}; clips of one recording on both "
            "sides make accuracy look better than it is"
        )
    return found


def name_of(found: Mapping[str, Any]) -> str:
    """Name an encoder with its layer."""
    return found["encoder"] if found["layer"] is None else f"{found['encoder']}:{found['layer']}"


def _spread(mean: float, sd: float | None) -> str:
    return f"{100 * mean:.2f}" if sd is None else f"{100 * mean:.2f} ± {100 * sd:.2f}"


def _percents(interval: Sequence[float | None]) -> str:
    return span([None if end is None else 100 * end for end in interval], 2)
