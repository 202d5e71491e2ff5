import tomllib
from datetime import date
from typing import Annotated, Literal

import pytest
from pydantic import Field

from vidsim.adapt.legal import legal, spell


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "a whole number"),
        (Annotated[int, Field(ge=1)], "a whole number, at least 1"),
        (Annotated[float, Field(gt=0, le=0.5)], "a number, above 0 and at most 0.5"),
        (Annotated[float, Field(lt=1)], "a number, below 1"),
        (str, "a name"),
        (Literal["one"], "'one'"),
        (Literal["a", "b", "c"], "'a', 'b' or 'c'"),
        (tuple[str, ...], "a list of names"),
        (tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]], "a list of two numbers, each at least 0"),
        (Literal["all"] | tuple[str, ...], "'all', or a list of names"),
    ],
)
def test_legal_values_in_words(annotation, words):
    assert legal(annotation) == words


@pytest.mark.parametrize("value", [True, False, 3, 1e-4, "text", "it's", [1, 2.5], ["a", "b"], [], date(1979, 5, 27)])
def test_what_is_spelt_is_toml(value):
    assert tomllib.loads(f"x = {spell(value)}") == {"x": value}


def test_what_is_spelt_stays_short():
    assert spell({"a": 1, "b": 2}) == "a table of a, b"
    assert len(spell("x" * 1000)) == 80
