import re

from vidsim.report.neighbours import (
    COMPARED,
    columns,
    neighbour_comparisons,
    neighbour_notes,
    neighbour_rows,
    neighbour_sections,
    neighbours_plot,
)
from vidsim.report.page import Page


def measured(value):
    return {"value": value, "interval": [value - 0.05, value + 0.05], "above_chance": value - 0.1, "p_value": 0.0004}


FOUND = {
    "k": 5,
    "stimuli": 40,
    "left_out": 2,
    "candidates": 30.25,
    "chance": {"ndcg": 0.3, "recall": 0.1},
    "models": {
        "poor & <b>": {"ndcg": measured(0.5), "recall": measured(0.2)},
        "good": {"ndcg": measured(0.8), "recall": measured(0.4)},
    },
    "differences": [
        {
            "first": "good",
            "second": "poor & <b>",
            "statistic": "ndcg",
            "difference": 0.3,
            "interval": [0.2, 0.4],
            "p_value": 0.004,
            "p_corrected": None,
        }
    ],
}
UNKNOWN = FOUND | {
    "left_out": 0,
    "differences": [],
    "models": {
        "good": {name: measured(0.5) | {"interval": [None, None], "p_value": None} for name in ("ndcg", "recall")}
    },
}


def test_tables_have_a_cell_for_every_column():
    rows = neighbour_rows(FOUND)
    assert [len(row) for row in rows] == [1 + len(columns(FOUND))] * 3
    assert [row[0] for row in rows] == ["good", "poor & <b>", "order at random"]
    assert rows[0][1:4] == ("0.8000", "0.750 to 0.850", "< 0.001")
    assert (rows[2][1], rows[2][4]) == ("0.3000", "0.1000")
    (row,) = neighbour_comparisons(FOUND)
    assert len(row) == 2 + len(COMPARED)
    assert row == ("good - poor & <b>", "nDCG@5", "+0.3000", "+0.200 to +0.400", "0.004", "-")


def test_notes_say_what_the_numbers_are_of():
    (line,) = neighbour_notes(FOUND)
    assert "for each of 40 stimuli, the 5 that a model finds most similar among 30.2 judged with it" in line
    assert "; 2 judged with too few others, or similar to none, left out" in line
    assert "left out" not in neighbour_notes(UNKNOWN)[0]


def test_the_plot_and_the_page_show_models_and_chance():
    drawing = neighbours_plot(FOUND)
    for label in ("good", "poor &amp; &lt;b&gt;", "nDCG@5, chance", "recall@5, chance"):
        assert label in drawing
    page = Page("title", "lead", neighbour_sections(FOUND)).html()
    assert page.count("<svg") == 1
    assert "Differences in neighbours" in page
    assert "<b>" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    bare = Page("title", "lead", neighbour_sections(UNKNOWN)).html()
    assert "Differences" not in bare
    assert "None" not in bare
