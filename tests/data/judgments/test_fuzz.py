"""Whatever bytes come in: judgments that account for every row, or one line that names the file."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidsim.analysis.quality import quality
from vidsim.data.judgments.judgments import Judgments
from vidsim.data.judgments.read import Reading, read
from vidsim.errors import VidsimError

CELLS = st.one_of(
    st.sampled_from(
        ["", "0", "1", "2", "3", "6.0", "-1", "1.5", "nan", "inf", "1e9", "2,5", "a", "日", "'; DROP", " 1 ", "NULL"]
    ),
    st.text(max_size=6),
)
NAMES = st.sampled_from(
    [
        *("stim1", "stim2", "stim3", "choice", "choice_position", "a", "b", "odd", "participant", "session", "trial"),
        *("response_time", "stim1_name", "stim2_name", "stim3_name", "participation", "task", "", "x", "日"),
    ]
)
GOOD = ("stim1", "stim2", "stim3", "choice", "participant", "trial", "response_time")
SMALL = st.sampled_from(["0", "1", "2", "3", "4"])


@st.composite
def tables(draw):
    """Draw a CSV file, near enough to one of judgments to get past the header about half of the time."""
    separator = draw(st.sampled_from([",", ";", "\t"]))
    header = list(draw(st.one_of(st.just(GOOD), st.just(("a", "b", "odd")), st.lists(NAMES, max_size=8))))
    cells = draw(st.sampled_from([SMALL, st.one_of(SMALL, CELLS), CELLS]))
    width = len(header)
    rows = draw(
        st.lists(st.one_of(st.lists(cells, min_size=width, max_size=width), st.lists(cells, max_size=9)), max_size=12)
    )
    quote = draw(st.booleans())
    lines = [header, *rows]
    text = "".join(
        separator.join('"' + cell.replace('"', '""') + '"' if quote and cell else cell for cell in line) + "\n"
        for line in lines
    )
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    content = text.encode(encoding, "replace")
    cut = draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    return content[:cut]


CONTENT = st.one_of(tables(), st.binary(max_size=200))
FILES = st.sampled_from(["t.csv", "t.tsv", "t.txt", "t.npy", "t.mat", "t.json"])
HOWS = st.sampled_from(
    [
        *[Reading()] * 5,
        Reading(order="odd-last"),
        Reading(order="odd-first"),
        Reading(order="choice-column"),
        Reading(order="comparisons"),
        Reading(format="things"),
        Reading(format="cblearn", order="comparisons"),
        Reading(format="rsm", zero="unseen"),
        Reading(format="table"),
        Reading(format="meadows"),
        Reading(columns={"stim1": "a"}),
        Reading(unit="ms"),
    ]
)


def check(folder, content, name, how):
    path = folder / name
    path.write_bytes(content)
    refusal = None
    try:
        found = read(path, how)
    except VidsimError as error:
        refusal = str(error)
    if refusal is not None:
        assert name in refusal
        assert refusal.splitlines() == [refusal]
        return "refused"
    if found.judgments is None:
        return "similarities"
    judgments = found.judgments
    lost = sum(d.count for d in judgments.defects if not d.kept)
    if judgments.order == "comparisons":
        assert 2 * len(judgments) + lost >= judgments.source_rows - lost
    else:
        assert len(judgments) + lost == judgments.source_rows
    assert len(judgments) > 0
    assert all(
        1 <= line <= content.count(b"\n") + content.count(b"\r") + 1 for d in judgments.defects for line in d.lines
    )
    again = Judgments.from_table(judgments.table())
    assert again.ids == judgments.ids
    np.testing.assert_array_equal(again.rows, judgments.rows)
    facts = quality(judgments).facts()
    assert facts["trials"] + facts["catch_trials"] == len(judgments)
    return "judgments"


def run(examples, folder, each=1):
    """Read every content drawn as ``each`` kinds of file; to draw one takes longer than to read it."""
    outcomes: dict[str, int] = {}

    @settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
    )
    @given(CONTENT, st.lists(st.tuples(FILES, HOWS), min_size=each, max_size=each))
    def fuzz(content, kinds):
        for name, how in kinds:
            outcome = check(folder, content, name, how)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1

    fuzz()
    return outcomes


def test_any_input_is_read_or_refused_in_one_line(tmp_path):
    outcomes = run(200, tmp_path)
    assert outcomes["refused"] > 20
    assert outcomes["judgments"] > 5


@pytest.mark.slow
def test_ten_thousand_inputs(tmp_path):
    outcomes = run(2_500, tmp_path, each=4)
    assert sum(outcomes.values()) >= 10_000
    assert outcomes["judgments"] > 300


def test_random_bytes_of_any_size(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("t.csv", "t.txt", "t.npy", "t.mat", "t.json"):
        for size in (1, 10, 1000, 100_000):
            for how in (Reading(), Reading(order="odd-last"), Reading(format="rsm")):
                assert check(tmp_path, rng.bytes(size), name, how) == "refused"
