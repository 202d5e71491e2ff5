import re

import pytest

from vidsim.report.label import DESIGNS, label_card

FACTS = {
    "kind": "triplets",
    "triplets": 1_500_000,
    "probability": 0.6,
    "quantiles": {"5%": 0.4, "50%": 0.55, "95%": 0.9},
    "entropy": 0.7,
    "occurrences": (40, 52),
    "encoder": "net|<b>",
    "layer": "blocks.1",
    "similarity": "cosine",
    "revision": "abc123",
    "adapter": None,
    "table": {"name": "net.1", "version": 7},
    "index": {"kind": "flat", "created": None, "version": 7},
    "identity": {"weights": "f" * 64},
    "clips": 100_000,
    "stimuli": "social",
    "split": "train",
    "created": "2030-01-01T00:00:00+00:00",
    "versions": {"vidsim": "1.2"},
    "design": "random",
    "seed": 3,
    "temperature": 0.25,
    "calibration": {
        "judgments": "people",
        "split": "val",
        "trials": 24_096,
        "nll": 0.93,
        "ece": 0.021,
        "created": "2030",
    },
    "file": {"name": "triplets.parquet", "bytes": 10, "sha256": "e" * 64},
}


def test_the_card_says_first_of_all_that_no_person_judged():
    card = label_card(FACTS)
    assert card.startswith("---\npretty_name: ")
    assert "size_categories:\n- 1M<n<10M" in card
    assert card.index("no person judged any of it") < card.index("## What it holds")
    for fact in ("1,500,000 triplets of 100,000 clips", "abc123", "f" * 64, "e" * 64, "net.1, version 7", "0.25",
                 "24,096 choices", "judged people, split val", "social, split train", "0.930 nats", "0.021",
                 "40 to 52"):  # fmt: skip
        assert fact in card, fact
    assert "<b>" not in card.split("---", 2)[2]
    headings = re.findall(r"^## (.*)$", card, re.MULTILINE)
    assert headings == ["What it holds", "How it was made", "Whom it stands for", "Limits", "How to use it"]
    # a table's rows have its columns, whatever names hold
    for line in card.splitlines():
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", line)) == 3, line


@pytest.mark.parametrize("design", DESIGNS)
def test_the_card_says_what_the_triplets_are_a_sample_of(design):
    card = label_card({**FACTS, "design": design, "pool": 15_000_000})
    assert ("no random sample" in card) == (design == "uncertain")
    assert ("15,000,000" in card) == (design == "uncertain")
    assert ("every pair" in card) == (design == "covering")


def test_what_is_not_calibrated_is_not_called_so():
    card = label_card({**FACTS, "calibration": None, "stimuli": None, "split": None})
    assert "**not calibrated**" in card
    assert "stand for nobody's choices" in card
    assert "no sample of any population" in card


def test_similarities_have_a_card_too():
    names = ("triplets", "probability", "quantiles", "entropy", "occurrences", "design", "seed", "temperature",
             "calibration")  # fmt: skip
    facts = {name: value for name, value in FACTS.items() if name not in names}
    card = label_card({**facts, "kind": "similarities", "pairs": 4_999_950_000})
    assert "4,999,950,000 pairs of 100,000 clips" in card
    assert "are no shares of choices" in card
    assert "temperature" not in card
