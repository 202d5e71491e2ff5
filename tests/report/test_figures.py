import pytest

from vidsim.report.figures import LONGEST, name_rows, or_nan, plot, png, points, shorten, svg

NAMES = (r"cost $\frac{a$ x", "100% $", r"$\foo$", "模型 😀 قطة", "a_b^c")


@pytest.mark.parametrize("name", NAMES)
def test_names_are_drawn_as_they_are_wherever_they_stand(name):
    """A dollar sign opens no formula, and a script that the font lacks is no warning."""
    with plot() as (drawing, axes):
        axes.plot([0, 1], [0, 1], label=name)
        axes.set(title=name, xlabel=name, ylabel=name)
        axes.set_yticks([0, 1], [name, name])
        axes.annotate(name, (0, 0))
        axes.legend()
        drawing.suptitle(name)
        assert png(drawing).startswith(b"\x89PNG")
        assert svg(drawing).count(name) >= 7


def test_points_lie_at_their_values_and_what_is_not_known_is_left_out():
    ends = [[0.1, 0.3], [or_nan(None), or_nan(None)]]
    with plot() as (_, axes):
        points(axes, [0.2, 0.5], ends, [0.1, 1.1], colour="black", marker="o", label="these")
        name_rows(axes, ["first", "second"])
        drawn = [[*map(list, line.get_data())] for line in axes.get_lines()]
        assert drawn == [[[0.1, 0.3], [0.1, 0.1]], [[0.2, 0.5], [0.1, 1.1]]]
        assert axes.get_legend_handles_labels()[1] == ["these"]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
        assert axes.yaxis_inverted()


def test_long_names_keep_their_ends():
    name = "".join(chr(ord("a") + k % 26) for k in range(LONGEST + 1))
    assert shorten(name[1:]) == name[1:]
    assert shorten(name) == "…" + name[2:]
    assert len(shorten(name)) == LONGEST
