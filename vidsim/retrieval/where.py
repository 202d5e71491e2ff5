"""Filters: ``valence > 3 and setting = 'indoor'`` becomes an Arrow expression; nothing is evaluated or pasted."""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool
from numpy import ndarray

from vidsim.errors import VidsimError

LONGEST = 10_000
"""Characters of a filter."""

DEEPEST = 50
"""Parentheses and negations inside one another."""

KEYWORDS = frozenset({"and", "or", "not", "in", "is", "null", "true", "false"})
"""Words, in any case, that name no column unless in double quotes."""

COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

_TOKEN = re.compile(
    r"""(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    |(?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    |(?P<name>[^\W\d](?:[\w.:/-]*\w)?)
    |(?P<sign><=|>=|!=|<>|==|[=<>(),])""",
    re.VERBOSE,
)


def parse(text: str, schema: pa.Schema) -> pc.Expression:
    """Read a filter on what is known of stimuli.

    Comparisons (``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in (...)``, ``not in (...)``, ``is null``,
    ``is not null``) of a column with values are joined by ``and``, ``or``, ``not`` and parentheses; ``not`` binds more
    strongly than ``and``, that more than ``or``. Texts stand in single or double quotes, a quote within is doubled; a
    column whose name has blanks or is a keyword stands in double quotes. As in SQL, a comparison with a value that is
    not known is neither true nor false, and neither is its negation.

    Parameters
    ----------
    text : str
        The filter.
    schema : pyarrow.Schema
        Columns it may name: numbers, texts, flags (``true``, ``false``); of lists only whether they are null.

    Returns
    -------
    pyarrow.compute.Expression
        Its values are bound to it as they are.

    Raises
    ------
    VidsimError
        If it is no such filter: at which character, and what was expected there.

    Examples
    --------
    >>> schema = pa.schema({"valence": pa.float64(), "setting": pa.string()})
    >>> str(parse("valence > 3 and not setting = 'out'", schema))
    '((valence > 3) and invert((setting == "out")))'
    """
    if len(text) > LONGEST:
        raise VidsimError(f"the filter has {len(text):,} characters; expected at most {LONGEST:,}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise VidsimError(f"the filter is not valid text (UTF-8) at character {error.start + 1}") from None
    parser = _Parser(_tokens(text), schema)
    expression = parser.either()
    parser.end()
    return expression


def matching(table: pa.Table, expression: pc.Expression) -> Bool[ndarray, " rows"]:
    """Tell which rows a filter lets through.

    Parameters
    ----------
    table : pyarrow.Table
        With the columns that it names.
    expression : pyarrow.compute.Expression
        Of `parse`.

    Returns
    -------
    array of shape (rows,)
        False where the filter is not true, or not known to be.

    Examples
    --------
    >>> table = pa.table({"valence": [1.0, None, 5.0]})
    >>> matching(table, parse("valence < 3", table.schema))
    array([ True, False, False])
    """
    row = "row"
    while row in table.column_names:
        row += "_"
    numbered = table.append_column(row, pa.array(np.arange(table.num_rows)))
    mask = np.zeros(table.num_rows, bool)
    mask[numbered.filter(expression)[row].to_numpy()] = True
    return mask


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int

    @property
    def word(self) -> str:
        """The keyword or sign, in lower case."""
        return self.text.lower() if self.kind in {"name", "sign"} else ""


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            raise VidsimError(f"the filter at character {at + 1}: {_odd(text, at)}")
        assert match.lastgroup is not None
        found.append(_Token(match.lastgroup, match[0], at))
        at = match.end()
    return [*found, _Token("end", "", len(text))]


def _odd(text: str, at: int) -> str:
    if text[at] in "'\"":
        return f"a text begins with {text[at]} and does not end; close it"
    return f"{text[at : at + 20]!r} is no column, value or comparison; texts stand in quotes"


class _Parser:
    """Read tokens from left to right, one method a rule of the grammar."""

    def __init__(self, tokens: Sequence[_Token], schema: pa.Schema) -> None:
        self._tokens = tokens
        self._schema = schema
        self._at = 0
        self._depth = 0

    def either(self) -> pc.Expression:
        """Read what ``or`` joins."""
        return _joined(self._separated("or", self._all), operator.or_)

    def end(self) -> None:
        """Expect nothing more."""
        if self._next.kind != "end":
            raise self._wrong("and, or, or the end")

    def _all(self) -> pc.Expression:
        return _joined(self._separated("and", self._one), operator.and_)

    def _separated(self, word: str, rule: Callable[[], pc.Expression]) -> list[pc.Expression]:
        parts = [rule()]
        while self._accept(word):
            parts.append(rule())
        return parts

    def _one(self) -> pc.Expression:
        negated = self._accept("not")
        if not negated and not self._accept("("):
            return self._comparison()
        self._depth += 1
        if self._depth > DEEPEST:
            raise VidsimError(f"the filter is nested more than {DEEPEST} deep at character {self._next.start + 1}")
        if negated:
            inner = ~self._one()
        else:
            inner = self.either()
            self._expect(")")
        self._depth -= 1
        return inner

    def _comparison(self) -> pc.Expression:
        field = self._column()
        column = pc.field(field.name)
        if self._accept("is"):
            negated = self._accept("not")
            self._expect("null")
            return column.is_valid() if negated else column.is_null()
        kind = _kind(field.type)
        if kind is None:
            raise self._wrong(f"'is null' or 'is not null', for {field.name!r} holds several texts at once")
        if pa.types.is_integer(field.type):  # Arrow would refuse to compare great ones with a number like 1.5
            column = column.cast(pa.float64(), safe=False)
        sign = self._next
        if sign.word in COMPARE:
            self._at += 1
            if kind == "flag" and sign.word not in {"=", "==", "!=", "<>"}:
                raise VidsimError(f"the filter at character {sign.start + 1}: {field.name!r} is true or false; use =")
            return COMPARE[sign.word](column, self._value(field.name, kind))
        negated = self._accept("not")
        if not self._accept("in"):
            raise self._wrong("in" if negated else "a comparison (=, !=, <, <=, >, >=, in, is null)")
        self._expect("(")
        values = [self._value(field.name, kind)]
        while self._accept(","):
            values.append(self._value(field.name, kind))
        self._expect(")", "a comma or ')'")
        # not is_in, which takes what is not known for false
        found = _joined([column == value for value in values], operator.or_)
        return ~found if negated else found

    def _column(self) -> pa.Field:
        token = self._next
        quoted = token.kind == "text" and token.text[0] == '"'
        if not quoted and (token.kind != "name" or token.word in KEYWORDS):
            raise self._wrong("a column")
        name = _unquoted(token.text) if quoted else token.text
        names = [field.name for field in self._schema]
        if name not in names:
            names = [field.name for field in self._schema if _kind(field.type)]  # not those of lists
            near = get_close_matches(name, names, 1, 0.5)
            shown = ", ".join(map(repr, names[:12])) + (", ..." if len(names) > 12 else "")
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {shown or 'none'}"
            raise VidsimError(f"the filter at character {token.start + 1}: no column {name[:80]!r}; {hint}")
        self._at += 1
        return self._schema.field(names.index(name))

    def _value(self, name: str, kind: str) -> pc.Expression:
        token = self._next
        wanted = {"number": "a number", "text": "a text in quotes", "flag": "true or false"}[kind]
        if token.word == "null":
            raise self._wrong(f"{wanted} (`is null` asks for what is not known)")
        if kind == "flag" and token.word in {"true", "false"}:
            value = pa.scalar(token.word == "true")
        elif kind == "text" and token.kind == "text":
            value = pa.scalar(_unquoted(token.text), pa.string())
        elif kind == "number" and token.kind == "number":
            number = float(token.text)
            if not np.isfinite(number):
                raise self._wrong("a number below 1e308")
            value = pa.scalar(number, pa.float64())
        else:
            raise self._wrong(f"{wanted}, as in column {name!r}")
        self._at += 1
        return pc.scalar(value)

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _accept(self, word: str) -> bool:
        taken = self._next.word == word
        self._at += taken
        return taken

    def _expect(self, word: str, what: str | None = None) -> None:
        if not self._accept(word):
            raise self._wrong(what or repr(word))

    def _wrong(self, expected: str) -> VidsimError:
        token = self._next
        came = "it ends" if token.kind == "end" else f"{token.text[:40]!r} came"
        return VidsimError(f"the filter at character {token.start + 1}: expected {expected}, {came}")


def _joined(
    parts: Sequence[pc.Expression], join: Callable[[pc.Expression, pc.Expression], pc.Expression]
) -> pc.Expression:
    """Join in pairs: a chain of thousands would nest as deeply."""
    while len(parts) > 1:
        parts = [join(*parts[k : k + 2]) if k + 1 < len(parts) else parts[k] for k in range(0, len(parts), 2)]
    return parts[0]


def _unquoted(text: str) -> str:
    quote = text[0]
    return text[1:-1].replace(quote * 2, quote)


def _kind(of: pa.DataType) -> str | None:
    if pa.types.is_boolean(of):
        return "flag"
    if pa.types.is_integer(of) or pa.types.is_floating(of):
        return "number"
    return "text" if pa.types.is_string(of) or pa.types.is_large_string(of) else None
