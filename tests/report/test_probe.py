import re

import numpy as np
import pytest

from vidsim.analysis.probe import probe
from vidsim.data.ratings import Ratings
from vidsim.embeddings import Embeddings
from vidsim.report.figures import COLOURS, plot
from vidsim.report.page import Page
from vidsim.report.probe import HEADER, _bars, probe_plot, section, table_rows


def made(spaces=2, attributes=3, resamples=60, held_out=0):
    rng = np.random.default_rng(0)
    ids = tuple(f"clip {k}" for k in range(60))
    x = rng.normal(size=(60, 4))
    y = x @ rng.normal(size=(4, attributes)) + rng.normal(size=(60, attributes))
    names = ("intimacy", "valence", "communication", *(f"long_name of {k}" for k in range(attributes)))[:attributes]
    ratings = Ratings(ids, names, y, (None,) * 60)
    noisy = {f"model-{k}:block.{k}": Embeddings(ids, x + k * rng.normal(size=x.shape)) for k in range(spaces)}
    return probe(noisy, ratings, held_out=ids[:held_out], repeats=2, resamples=resamples)


def test_bars_show_r_and_intervals():
    found = made()
    with plot() as (_, axes):
        marked = [_bars(axes, space, place, 2) for place, space in enumerate(found.spaces)]
        for place, space in enumerate(found.spaces):
            bars = axes.containers[2 * place]
            assert [bar.get_height() for bar in bars] == [score.r for score in space.scores]
            assert {bar.get_facecolor() for bar in bars} == {bars[0].get_facecolor()}
            centres = [bar.get_x() + bar.get_width() / 2 for bar in bars]
            assert centres == pytest.approx(np.arange(3) + (-0.2, 0.2)[place])
            (whiskers,) = axes.containers[2 * place + 1].lines[2]
            for (low, high), score in zip(whiskers.get_segments(), space.scores, strict=True):
                assert (low[1], high[1]) == pytest.approx(score.interval)
        stars = [text for text in axes.texts if text.get_text() == "*"]
    starred = [gain for gain in found.spaces[1].gains if gain.p_corrected < 0.05]
    assert len(stars) == len(starred) > 0
    assert marked == [False, True]


def test_the_plot_names_what_it_shows():
    drawing = probe_plot(made(3), "svg").decode()
    assert drawing.startswith("<svg")
    texts = [re.sub(r"<[^>]+>", "", text) for text in re.findall(r"<text[^>]*>.*?</text>", drawing, re.DOTALL)]
    for word in ("model-2:block.2", "intimacy", "communication", "differs from the first", "and rating, 95 %"):
        assert any(word in text for text in texts), word
    for colour in COLOURS[:3]:
        assert colour.lower() in drawing
    assert probe_plot(made(3), "svg") == drawing.encode()


@pytest.mark.parametrize(("spaces", "attributes"), [(1, 1), (1, 11), (10, 2)])
def test_any_number_of_bars_is_drawn(spaces, attributes):
    assert probe_plot(made(spaces, attributes)).startswith(b"\x89PNG")


def test_without_resamples_there_are_no_intervals():
    found = made(resamples=0)
    drawing = probe_plot(found, "svg").decode()
    assert "95 %" not in drawing
    assert {row[3] for row in table_rows(found)} == {""}


def test_the_section_holds_the_numbers():
    found = made()
    part = section(found, stimuli="social, split train", left_out=3)
    assert part.header == HEADER
    assert len(part.rows) == 6
    second = found.spaces[1]
    row = next(row for row in part.rows if row[:2] == ("valence", second.space))
    score, gain = second.scores[1], second.gains[1]
    assert row[2] == f"{score.r:.3f}"
    assert row[3] == f"{score.interval[0]:.3f} to {score.interval[1]:.3f}"
    assert row[4] == f"{gain.value:+.3f}"
    assert row[6:] == (f"{gain.p:.3f}", f"{gain.p_corrected:.3f}")
    assert part.facts["stimuli rated"] == "60, 3 without ratings left out"
    assert part.facts["fitted"] == "48"
    assert part.facts["validation"] == "5-fold, stimuli dealt 2 times; r within folds"
    assert "corrected for 3 differences" in part.text
    page = Page("Report", "lead", [part]).html()
    assert "<svg" in page
    assert "social, split train" in page


def test_a_single_space_has_no_differences():
    part = section(made(1, held_out=20))
    assert part.header == ("attribute", "space", "r", "95 %")
    assert {len(row) for row in part.rows} == {4}
    assert "ifferences" not in part.text
    assert part.facts["validation"] == "fitted to one split, r of the held-out split"
    assert (part.facts["fitted"], part.facts["predicted"]) == ("40", "20")
