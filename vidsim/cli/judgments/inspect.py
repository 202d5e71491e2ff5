"""``vidsim judgments inspect``: what judgments are like, before anything is built on them."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidsim.cli import show
from vidsim.cli.judgments.import_ import tell_defects
from vidsim.cli.judgments.source import (
    ColumnsOption,
    IdsOption,
    JudgmentsSource,
    MinCatch,
    OrderOption,
    Repeats,
    RepeatsOption,
    RtRange,
    TrialFormatOption,
    UnitOption,
    load,
    reading,
    rt_range_of,
)
from vidsim.cli.options import Json, Root
from vidsim.cli.output import check_out, write_out
from vidsim.cli.root import DEFAULT_ROOT

if TYPE_CHECKING:
    from vidsim.analysis.quality import Quality

WORST = 10
"""So many participants are listed in the terminal, lowest catch accuracy first."""


def inspect(
    source: JudgmentsSource,
    format: TrialFormatOption = None,
    order: OrderOption = None,
    columns: ColumnsOption = None,
    ids: IdsOption = None,
    rt_unit: UnitOption = None,
    min_catch_accuracy: MinCatch = None,
    rt_range: RtRange = None,
    repeats: RepeatsOption = Repeats.keep,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with plots to this file, too.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file that --html names.")] = False,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Report on judgments: trials, catch trials, people, response times, coverage, and what is wrong."""
    from vidsim.analysis.exclusion import exclude
    from vidsim.analysis.quality import quality

    check_out(html, (".html", ".htm"), force=force, option="--html")
    said = any((format, order, columns, ids, rt_unit))
    judgments = load(source, root, reading(format, order, columns, ids, rt_unit) if said else None)
    judgments = exclude(
        judgments, min_catch_accuracy=min_catch_accuracy, rt_range=rt_range_of(rt_range), repeats=repeats.value
    )
    found = quality(judgments)
    if html is not None:
        from vidsim.report.quality import quality_page

        page = quality_page(found, judgments.response_time).html().encode("utf-8", "replace")
        write_out(html, lambda file: file.write(page), force=force, option="--html")
    if json:
        show.emit({**found.facts(), "html": str(html) if html else None})
        return
    _tell(found)
    if html is not None:
        typer.echo(f"page: {show.printable(str(html))}")


def _tell(found: "Quality") -> None:
    times, bias, agreed = found.response_times, found.position_bias, found.agreement
    rows = [
        ("rows", f"{found.rows:,}"),
        ("trials", f"{found.trials:,}"),
        (
            "catch trials",
            f"{found.catch_trials:,}" + (f", {_percent(found.catch_accuracy)} passed" if found.catch_trials else ""),
        ),
        ("participants", f"{found.participants:,}" if found.participants else "not named"),
        ("stimuli", f"{found.stimuli:,}"),
        ("pairs judged", f"{found.pairs_observed:,} of {found.pairs_total:,}"),
        ("judgments per judged pair", f"{found.judgments_per_pair:.3f}"),
        ("triplets judged again", f"{found.repeated_triplets:,}"),
    ]
    if found.repeated_triplets:
        shares = f"{_percent(agreed.agreement)} between people, {_percent(agreed.within)} within (chance 33.3 %)"
        rows.append(("agreement on them", shares))
    if times.count:
        spread = f"1 % {times.percent_1:.2f}, 99 % {times.percent_99:,.1f}, longest {times.maximum:,.0f} s"
        rows.append(("response times", f"median {times.median:.2f} s; {spread}"))
    if sum(bias.counts):
        shares = ", ".join(_percent(share) for share in bias.shares)
        rows.append(("odd one at place 1, 2, 3", f"{shares} (equal: p = {bias.p:.3g})"))
    show.table(("what", "value"), rows, prose=("value",))
    worst = sorted((p for p in found.per_participant if p.catch_trials), key=lambda p: (p.catch_accuracy, p.name))
    worst = [p for p in worst if p.catch_accuracy < 1][:WORST]
    if worst:
        people = [
            (p.name, f"{p.trials:,}", f"{p.catch_trials:,}", _percent(p.catch_accuracy), f"{p.response_time:.2f}")
            for p in worst
        ]
        header = ("participant", "trials", "catch trials", "passed", "median s")
        show.table(header, people, right=header[1:])
    tell_defects([vars(d) for d in found.defects], [vars(e) for e in found.exclusions], list(found.notes))


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"
