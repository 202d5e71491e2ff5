import re

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vidsim.errors import VidsimError
from vidsim.retrieval.where import matching, parse

WORDS = ("indoor", "out'door", 'a "quoted" word', "", "drop table x; --", "視頻", "é")
NUMBERS = (-1.5, 0.0, 0.1, 2.0, 3.25)
ROWS = [
    {"valence": valence, "year": year, "setting": setting, "is loud": loud}
    for valence, setting, loud, year in zip(
        [*NUMBERS, None] * 4, [*WORDS[:5], None] * 4, [True, False, None] * 8, [1, 2, None, 2**60] * 6, strict=True
    )
]
TABLE = pa.table(
    {
        "valence": pa.array([row["valence"] for row in ROWS], pa.float64()),
        "year": pa.array([row["year"] for row in ROWS], pa.int64()),
        "setting": pa.array([row["setting"] for row in ROWS], pa.string()),
        "is loud": pa.array([row["is loud"] for row in ROWS], pa.bool_()),
        "captions": pa.array([["a"]] * len(ROWS), pa.list_(pa.string())),
    }
)
SIGNS = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def value(tree, row):
    """Evaluate a tree in plain Python: True, False, or None where it is not known."""
    what, *rest = tree
    if what == "not":
        inner = value(rest[0], row)
        return None if inner is None else not inner
    if what in {"and", "or"}:
        parts = [value(part, row) for part in rest]
        decisive = what == "or"
        return decisive if decisive in parts else None if None in parts else not decisive
    column, argument = rest
    cell = row[column]
    if what == "is null":
        return (cell is None) == argument
    if cell is None:
        return None
    return cell in argument if what == "in" else SIGNS[what](cell, argument)


def written(tree):
    what, *rest = tree
    if what == "not":
        return f"not {written(rest[0])}" if rest[0][0] in {*SIGNS, "in", "is null"} else f"NOT ({written(rest[0])})"
    if what in {"and", "or"}:
        # each part that binds less strongly needs its parentheses
        return f" {what} ".join(f"({written(p)})" if p[0] == "or" and what == "and" else written(p) for p in rest)
    column, argument = rest
    name = f'"{column}"' if " " in column else column
    if what == "is null":
        return f"{name} is {'' if argument else 'not '}null"
    if what == "in":
        return f"{name} IN ({', '.join(map(literal, argument))})"
    return f"{name}{what}{literal(argument)}"


def literal(argument):
    if isinstance(argument, bool):
        return str(argument).lower()
    if isinstance(argument, float | int):
        return repr(argument)
    return "'" + argument.replace("'", "''") + "'" if '"' in argument else '"' + argument + '"'


def comparisons(column, values, signs=tuple(SIGNS)):
    return st.one_of(
        st.tuples(st.sampled_from(signs), st.just(column), values),
        st.tuples(st.just("in"), st.just(column), st.lists(values, min_size=1, max_size=3)),
        st.tuples(st.just("is null"), st.just(column), st.booleans()),
    )


TREES = st.recursive(
    st.one_of(
        comparisons("valence", st.sampled_from(NUMBERS)),
        comparisons("year", st.sampled_from((1, 2, 1.5))),
        comparisons("setting", st.sampled_from(WORDS)),
        comparisons("is loud", st.booleans(), ("=", "!=")),
    ),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(("and", "or")), inner, inner),
        st.tuples(st.sampled_from(("and", "or")), inner, inner, inner),
    ),
    max_leaves=8,
)


@given(TREES)
@settings(max_examples=60)
def test_filters_let_through_what_plain_python_does(tree):
    text = written(tree)
    expected = [value(tree, row) is True for row in ROWS]
    assert matching(TABLE, parse(text, TABLE.schema)).tolist() == expected, text


@given(st.text(max_size=60) | st.text("valence ><=()'\"notandri1.5,\0\x1b", max_size=60))
@example("valence > 3 or '")
@example("valence > 1) -- ")
@example("setting = '\ud800'")
def test_hostile_text_is_a_filter_or_one_line(text):
    said = ""
    try:
        matching(TABLE, parse(text, TABLE.schema))
    except VidsimError as error:
        said = str(error)
    assert said.isprintable()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at character 1: expected a column, it ends"),
        ("valence", "character 8: expected a comparison (=, !=, <, <=, >, >=, in, is null), it ends"),
        ("valence >", "character 10: expected a number, as in column 'valence', it ends"),
        ("valence > 'x'", "character 11: expected a number, as in column 'valence', \"'x'\" came"),
        ("setting = 3", "character 11: expected a text in quotes, as in column 'setting', '3' came"),
        ("setting = indoor", "expected a text in quotes, as in column 'setting', 'indoor' came"),
        ("valense > 3", "character 1: no column 'valense'; did you mean 'valence'?"),
        ("xyzzy > 3", "no column 'xyzzy'; there are: 'valence', 'year', 'setting', 'is loud'"),
        ("valence > 3 setting", "character 13: expected and, or, or the end, 'setting' came"),
        ("(valence > 3", "character 13: expected ')', it ends"),
        ("valence in (1, 2", "expected a comma or ')', it ends"),
        ("valence in ()", "character 13: expected a number"),
        ("valence not 3", "character 13: expected in, '3' came"),
        ("valence = null", "character 11: expected a number (`is null` asks for what is not known), 'null' came"),
        ("valence is 3", "expected 'null', '3' came"),
        ("valence > 1e999", "expected a number below 1e308"),
        ("captions = 'a'", "expected 'is null' or 'is not null', for 'captions' holds several texts at once, '=' came"),
        ('"is loud" > true', "character 11: 'is loud' is true or false; use ="),
        ("setting = 'in", "character 11: a text begins with ' and does not end"),
        ("valence > 3; drop", "character 12: '; drop' is no column"),
        ("valence > 3x", "character 11: '3x' is no column"),
        ("and > 3", "character 1: expected a column, 'and' came"),
        ("\x1b[2J > 3", r"character 1: '\x1b[2J > 3' is no column"),
        ("(" * 60 + "valence > 3" + ")" * 60, "nested more than 50 deep at character 52"),
        ("not " * 60 + "valence > 3", "nested more than 50 deep"),
        ("valence > 3" + " " * 10_000, "10,011 characters; expected at most 10,000"),
        ("setting = '\udcff'", "not valid text (UTF-8) at character 12"),
    ],
)
def test_what_is_no_filter_is_said_where(text, message):
    with pytest.raises(VidsimError, match=re.escape(message)) as caught:
        parse(text, TABLE.schema)
    assert str(caught.value).isprintable()


def test_columns_of_lists_are_not_offered_but_may_be_null():
    with pytest.raises(VidsimError) as caught:
        parse("xyzzy > 3", TABLE.schema)
    assert str(caught.value).endswith("; there are: 'valence', 'year', 'setting', 'is loud'")
    with pytest.raises(VidsimError, match="no column 'caption'; there are: "):
        parse("caption = 'a'", TABLE.schema)
    assert matching(TABLE, parse("captions is not null", TABLE.schema)).all()


def test_many_terms_are_no_matter():
    either = " or ".join(["valence=2"] * 200)
    many = f"valence in ({','.join(['2.0'] * 500)})"
    expected = [row["valence"] == 2 for row in ROWS]
    for text in (either, many):
        assert matching(TABLE, parse(text, TABLE.schema)).tolist() == expected


def test_a_column_may_be_called_anything():
    names = ["rating-intimacy", "and", 'a "b"', "row", "視頻", "x.y:z/w"]
    table = pa.table({name: [1.0, 2.0] for name in names})
    for name in names:
        quoted = '"' + name.replace('"', '""') + '"'
        assert matching(table, parse(f"{quoted} > 1", table.schema)).tolist() == [False, True]
    assert matching(table, parse("rating-intimacy>1 and x.y:z/w<3", table.schema)).tolist() == [False, True]
