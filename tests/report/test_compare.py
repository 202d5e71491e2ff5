import re

import numpy as np
import pytest

from vidsim.analysis.comparison import compare
from vidsim.embeddings import Embeddings
from vidsim.report.compare import Look, compare_page, compare_plot, sections
from vidsim.rsm import RSM, cosine_rsm
from vidsim.triplets import Triplets

from judges import random_rows

IDS = tuple(f"clip {k}" for k in range(10))
A, B = (cosine_rsm(Embeddings(IDS, np.random.default_rng(k).normal(size=(10, 4)))) for k in (0, 1))
FOUND = compare(A, B, Triplets(IDS, random_rows(10, 200)), names=("base:head", "tuned:head"), resamples=50)
IMAGES = {name: np.full((18, 32, 3), 40 * k, np.uint8) for k, name in enumerate(IDS[:6])}
LOOK = Look({name: f"<script>{name}</script> costs $5 & $6, " + "and so on " * 30 for name in IDS}, IMAGES)
PLAIN = Look({}, {})


def test_sections_tell_numbers_and_examples():
    numbers, towards, away = sections(FOUND, LOOK, n=3)
    assert numbers.facts["trials"] == "200"
    assert numbers.facts["only tuned:head does (towards people)"].startswith(f"{FOUND.counts['towards']} (")
    assert numbers.facts["change"].startswith(f"{FOUND.change:+.4f}, 95 % ")
    for section, examples, agreeing in ((towards, FOUND.towards, "tuned:head"), (away, FOUND.away, "base:head")):
        assert f"{len(examples)} different choices" in section.text
        assert len(section.strips) == 3
        for strip, example in zip(section.strips, examples, strict=False):
            assert f"{example.margin_a:+.2f} sd for base:head" in strip.title
            assert [card.name for card in strip.cards] == list(example.stimuli)
            assert [card.strong for card in strip.cards] == [False, False, True]
            assert set(strip.cards[2].marks) == {"people", agreeing}
            assert sum(len(card.marks) for card in strip.cards) == 3
            for card in strip.cards:
                assert bool(card.image) == (card.name in IMAGES)
                assert card.text == LOOK.captions[card.name]


def test_page_is_one_file_and_escapes():
    page = compare_page(FOUND, LOOK, n=2, source="lab & <b>co</b>").html()
    assert "<script>" not in page
    assert "&lt;script&gt;clip" in page
    assert "lab &amp; &lt;b&gt;co" in page
    shown = [name for way in (FOUND.towards, FOUND.away) for e in way[:2] for name in e.stimuli]
    assert page.count("data:image/jpeg;base64,") == sum(name in IMAGES for name in shown)
    assert page.count('class="card strong"') == 4
    assert not re.search(r'(src|href)="(?!data:)', page)


@pytest.mark.parametrize("look", [LOOK, PLAIN])
def test_plot_has_a_row_of_three_for_each_example(look):
    drawing = compare_plot(FOUND, look, n=2, form="svg").decode()
    assert drawing.startswith("<svg")
    texts = [re.sub(r"<[^>]+>", "", text) for text in re.findall(r"<text[^>]*>.*?</text>", drawing, re.DOTALL)]
    for words in ("singled out by people", "singled out by tuned:head", f"away: {FOUND.counts['away']} trials"):
        assert any(words in text for text in texts), words
    shown = [name for way in (FOUND.towards, FOUND.away) for e in way[:2] for name in e.stimuli]
    assert drawing.count("<image ") == sum(name in look.images for name in shown)
    assert sum("clip" in text for text in texts) >= 12
    if look is LOOK:
        assert any("costs $5" in text.replace("&amp;", "&") for text in texts)  # no formula
    assert compare_plot(FOUND, look, n=2).startswith(b"\x89PNG")


def test_nothing_flips_and_ties():
    same = compare(A, RSM(IDS, A.similarities / 2), Triplets(IDS, random_rows(10, 50)), resamples=0)
    _, towards, away = sections(same, PLAIN)
    assert (towards.text, away.text, towards.strips) == ("No trial.", "No trial.", [])
    assert compare_plot(same, PLAIN).startswith(b"\x89PNG")
    tied = np.where(np.eye(3), 1, 0.5)
    tied[0, 1] = tied[1, 0] = 0.1
    ids = ("x", "y", "z")
    clear = np.array([[1, 0.9, 0.1], [0.9, 1, 0.2], [0.1, 0.2, 1]])
    found = compare(RSM(ids, tied), RSM(ids, clear), Triplets(ids, np.array([[0, 1, 2]])), names=("tied", "clear"))
    (_, towards, _) = sections(found, PLAIN)
    assert "tied singles out none, as two pairs are equally similar" in towards.strips[0].title
    assert "judged once" in towards.strips[0].title
