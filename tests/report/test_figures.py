import pytest

from vidsim.report.figures import plot, png, svg

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
