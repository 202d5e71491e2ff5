from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsim.store.log import living

Row = tuple[str, int, int, str | None]


def slow_living(rows: Sequence[Row]) -> list[bool]:
    alive: list[bool] = []
    for key, written, number, _ in rows:
        rewritten = any(k == key and (w, n) > (written, number) for k, w, n, _ in rows)
        replaced = any(replaces == key and w > written for _, w, _, replaces in rows)
        alive.append(not rewritten and not replaced)
    return alive


def as_table(rows: Sequence[Row], chunk: int) -> pa.Table:
    types = {"id": pa.string(), "written": pa.int64(), "row": pa.int64(), "replaces": pa.string()}
    parts = [rows[i : i + chunk] for i in range(0, len(rows), chunk)] or [()]
    tables = [
        pa.table({name: pa.array([row[i] for row in part], type_) for i, (name, type_) in enumerate(types.items())})
        for part in parts
    ]
    return pa.concat_tables(tables)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.integers(1, 4), st.sampled_from([None, None, *"abcd"])), max_size=12
    ),
    st.integers(1, 5),
    st.randoms(),
)
def test_living_rows_are_those_of_a_slow_loop(rows: list[tuple[str, int, str | None]], chunk: int, random) -> None:
    numbers = random.sample(range(100), len(rows))
    table = [(key, written, number, to) for (key, written, to), number in zip(rows, numbers, strict=True)]
    assert living(as_table(table, chunk)).tolist() == slow_living(table)


def test_swapped_ids_of_one_commit_survive_each_other() -> None:
    rows: list[Row] = [("a", 1, 1, None), ("b", 1, 2, None), ("b", 2, 3, "a"), ("a", 2, 4, "b")]
    assert living(as_table(rows, 4)).tolist() == [False, False, True, True]


def test_an_empty_log_has_no_living_rows() -> None:
    assert living(as_table([], 1)).shape == (0,)
    assert living(as_table([], 1)).dtype == np.bool_
