"""The page of ``vidsim judgments inspect --html``: what judgments are like, for people."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vidsim import __version__
from vidsim.analysis.quality import SLOW, PositionBias, Quality
from vidsim.report.figures import COLOURS, GREY, bars, plot, svg
from vidsim.report.page import Page, Section
from vidsim.report.text import number


def quality_page(quality: Quality, response_times: Float[ndarray, " t"]) -> Page:
    """Lay out the quality of judgments as a page.

    Parameters
    ----------
    quality : Quality
        The numbers.
    response_times : array of shape (t,)
        Of all trials, in seconds; NaN where unknown.

    Returns
    -------
    Page
        Facts, figures, defects, exclusions and participants.
    """
    figures: dict[str, str] = {}
    known = response_times[np.isfinite(response_times)]
    if len(known):
        late = quality.response_times.slow
        figures[f"Response times of {len(known):,} trials; {late:,} are longer than {SLOW:g} s."] = _times(known)
    if sum(quality.position_bias.counts):
        bias = quality.position_bias
        figures[f"Where the odd one was chosen (all places alike: p {_p(bias.p)})."] = _places(bias)
    never = quality.pairs_total - quality.pairs_observed
    caption = f"Judgments of each of the {quality.pairs_total:,} pairs; {never:,} were never judged."
    figures[caption] = _pairs(quality.judgments_per_pair_histogram)
    tested = [p.catch_accuracy for p in quality.per_participant if p.catch_trials]
    if tested:
        figures[f"Catch trials passed, by each of the {len(tested)} participants who had any."] = _accuracies(tested)
    sections = [
        Section("What there is", facts=_facts(quality)),
        Section("In figures", figures=figures),
        _defects(quality),
        *([_exclusions(quality)] if quality.exclusions else []),
        *([Section("Notes", header=("note",), rows=[(note,) for note in quality.notes])] if quality.notes else []),
        *([_participants(quality)] if quality.per_participant else []),
    ]
    lead = f"{quality.source or 'judgments'}: {quality.trials:,} odd-one-out trials on {quality.stimuli:,} stimuli"
    return Page("Judgments", lead, sections, f"vidsim {__version__}; the odd one is told by: {quality.order}.")


def _facts(quality: Quality) -> dict[str, str]:
    times, agreed = quality.response_times, quality.agreement
    return {
        "rows of the source": f"{quality.rows:,}",
        "trials": f"{quality.trials:,}",
        "catch trials, found by structure": f"{quality.catch_trials:,}",
        "catch trials passed": _percent(quality.catch_accuracy),
        "participants": f"{quality.participants:,}" if quality.participants else "not named",
        "stimuli": f"{quality.stimuli:,}",
        "pairs judged": f"{quality.pairs_observed:,} of {quality.pairs_total:,}",
        "judgments per judged pair": number(quality.judgments_per_pair, 3),
        "triplets judged more than once": f"{quality.repeated_triplets:,}",
        "agreement of people on them (chance 33.3 %)": _percent(agreed.agreement),
        "agreement of people with themselves": _percent(agreed.within),
        "median response time": "unknown" if np.isnan(times.median) else f"{times.median:.2f} s",
        "response times, 1 % to 99 %": "unknown"
        if np.isnan(times.median)
        else f"{times.percent_1:.2f} to {times.percent_99:,.1f} s",
    }


def _times(seconds: Float[ndarray, " t"]) -> str:
    with plot() as (figure, axes):
        edges = np.geomspace(max(0.05, float(seconds.min())), max(float(seconds.max()) * 1.001, 1.0), 60)
        axes.hist(np.maximum(seconds, edges[0]), bins=edges.tolist(), color=COLOURS[0])
        axes.set_xscale("log")
        ticks = [t for t in (0.1, 0.3, 1, 3, 10, 30, 100, 1000, 10_000, 100_000) if edges[0] <= t <= edges[-1]]
        axes.set_xticks(ticks, [f"{t:,g}" for t in ticks])
        axes.minorticks_off()
        median = float(np.median(seconds))
        axes.axvline(median, color=COLOURS[5], linewidth=2)
        axes.annotate(f"median {median:.1f} s", (median, 0.97), (6, 0), xycoords=("data", "axes fraction"),
                      textcoords="offset points", color=COLOURS[5], va="top")  # fmt: skip
        axes.set(title="Response times", xlabel="Response time (s, log scale)", ylabel="Trials")
        return svg(figure)


def _places(bias: PositionBias) -> str:
    with plot() as (figure, axes):
        bars(axes, ["1", "2", "3"], bias.counts)
        axes.axhline(sum(bias.counts) / 3, color=GREY, linestyle="--", linewidth=1.5, label="if places were equal")
        axes.legend(loc="upper right")
        axes.margins(y=0.25)
        axes.set(title="Place of the chosen stimulus", xlabel="Place, in the order of the source", ylabel="Trials")
        return svg(figure)


def _pairs(histogram: Sequence[tuple[int, int]]) -> str:
    judged, pairs = np.array(histogram).T
    with plot() as (figure, axes):
        colours = [GREY if count == 0 else COLOURS[0] for count in judged]
        if len(judged) <= 40:
            axes.bar(judged, pairs, color=colours, width=0.85)
        else:
            axes.hist(judged, bins=40, weights=pairs, color=COLOURS[0])
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(title="Judgments per pair", xlabel="Trials that showed the pair", ylabel="Pairs")
        return svg(figure)


def _accuracies(accuracies: Sequence[float]) -> str:
    with plot() as (figure, axes):
        axes.hist(100 * np.array(accuracies), bins=np.linspace(0, 100, 41).tolist(), color=COLOURS[0])
        low = sum(a < 0.8 for a in accuracies)
        axes.axvline(80, color=GREY, linestyle="--", linewidth=1.5)
        axes.annotate(f"{low} below 80 %", (80, 0.97), (-6, 0), xycoords=("data", "axes fraction"),
                      textcoords="offset points", color="#555555", ha="right", va="top")  # fmt: skip
        axes.set(title="Catch accuracy", xlabel="Catch trials passed (%)", ylabel="Participants", xlim=(0, 102))
        return svg(figure)


def _defects(quality: Quality) -> Section:
    if not quality.defects:
        return Section("What was wrong with the source", "Nothing: every row is a trial.")
    rows = [
        (f"{d.count:,}", d.kind, d.meaning, "kept" if d.kept else "left out", ", ".join(map(str, d.lines)))
        for d in quality.defects
    ]
    return Section(
        "What was wrong with the source",
        "Rows that are kept are among the trials; the others are not. Lines count from 1, the header included.",
        header=("rows", "kind", "what", "now", "first lines"),
        rows=rows,
        numbers=("rows",),
    )


def _exclusions(quality: Quality) -> Section:
    rows = [(e.rule, str(e.value), f"{e.rows:,}", ", ".join(e.participants)) for e in quality.exclusions]
    return Section("What was excluded", header=("rule", "value", "trials", "people"), rows=rows, numbers=("trials",))


def _participants(quality: Quality) -> Section:
    worst = sorted(quality.per_participant, key=lambda p: (np.nan_to_num(p.catch_accuracy, nan=2.0), p.name))
    rows = [
        (p.name, f"{p.trials:,}", f"{p.catch_trials:,}", _percent(p.catch_accuracy), number(p.response_time, 2))
        for p in worst
    ]
    header = ("participant", "trials", "catch trials", "passed", "median response time (s)")
    return Section("Participants, lowest catch accuracy first", header=header, rows=rows, numbers=header[1:])


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.1f} %"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
