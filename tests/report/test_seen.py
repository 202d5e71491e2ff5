import pytest

from vidsim.report.seen import seen_lines


def encoders(**seen):
    return [
        {"encoder": name, "seen_in_training": counts and dict(zip(("fitted", "validated"), counts, strict=True))}
        for name, counts in seen.items()
    ]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ({"net": None, "far": (0, 0)}, []),
        ({"a": (1200, 0)}, ["a was fitted to 1,200 of these 1,500 stimuli"]),
        ({"a": (0, 40)}, ["a had its epoch chosen on 40 of these 1,500 stimuli"]),
        ({"a": (3, 2)}, ["a was fitted to 3 of these 1,500 stimuli, and its epoch chosen on 2"]),
        (
            {"a": (3, 2), "net": None, "b": (3, 2), "c": (3, 0)},
            [
                "a, b were fitted to 3 of these 1,500 stimuli, and their epochs chosen on 2",
                "c was fitted to 3 of these 1,500 stimuli",
            ],
        ),
    ],
)
def test_adapters_that_saw_the_same_share_a_line(seen, expected):
    assert seen_lines(encoders(**seen), 1500) == [
        f"seen in training: {line}; expect less of others" for line in expected
    ]


def test_layers_of_one_adapter_are_named_once_and_old_answers_say_nothing():
    both = [*encoders(a=(1, 0)), *encoders(a=(1, 0)), {"encoder": "b"}]
    assert seen_lines(both, 4) == ["seen in training: a was fitted to 1 of these 4 stimuli; expect less of others"]
