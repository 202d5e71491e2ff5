"""Attributes: what a store knows of stimuli beside their embeddings; a table of it lies beside an index."""

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from vidsim.retrieval.shared import content_words, pc
from vidsim.store import Store


def gather(store: Store, ids: Sequence[str], entries: pa.Table | None = None) -> pa.Table:
    """Collect what a store knows of stimuli.

    Stimuli are told by their ids. Where several stimulus sets of the store know a stimulus, the set that has most of
    ``ids`` comes first, and later ones fill in what it does not say.

    Parameters
    ----------
    store : Store
        Its stimulus sets have captions, splits, ratings and tags; its embedding tables have durations.
    ids : sequence of str
        Stimuli wanted.
    entries : pyarrow.Table, optional
        Entries of the embedding table that is indexed, whose durations count before those of other tables.

    Returns
    -------
    pyarrow.Table
        One row an id, in their order; null is what is not known. Column ``id``; where anything is known of it,
        ``captions`` (list), ``words`` (list: the captions' content words, those first that fewest stimuli have),
        ``split``, ``duration`` in seconds, numbers (float64), texts and flags of the stimulus sets under their own
        names. Columns of other types are left out.
    """
    wanted = pa.array(ids, pa.string())
    columns: dict[str, pa.Array] = {}
    for table in _sets(store, wanted):
        for name in table.column_names:
            column = None if name in {"id", "path", "words"} else _plain(name, table[name])
            earlier = columns.get(name)
            if column is not None and earlier is None:
                columns[name] = column
            elif column is not None and earlier is not None and earlier.type == column.type:
                columns[name] = pc.if_else(pc.is_valid(earlier), earlier, column)
    if "captions" in columns:
        columns["words"] = _words(columns["captions"])
    durations = _durations(store, wanted, entries)
    stated = columns.get("duration")
    if stated is not None and pa.types.is_floating(stated.type):
        durations = pc.coalesce(durations, stated)
    columns["duration"] = durations
    known = {name: column for name, column in columns.items() if column.null_count < len(column)}
    first = {name: known.pop(name) for name in ("captions", "words", "split", "duration") if name in known}
    return pa.table({"id": wanted, **first, **known})


def _sets(store: Store, wanted: pa.Array) -> list[pa.Table]:
    """Take the rows wanted from each stimulus set, those sets first that have most of them."""
    found: list[tuple[int, pa.Table]] = []
    for name in store.stimuli:
        table = store.stimuli[name]
        if "id" not in table.column_names:
            continue
        rows = pc.index_in(wanted, table["id"].combine_chunks().cast(pa.string()))
        if rows.null_count < len(rows):
            found.append((rows.null_count, table.take(rows)))
    order = sorted(range(len(found)), key=lambda k: found[k][0])  # in the order of their names where equal
    return [found[k][1] for k in order]


def _plain(name: str, column: pa.ChunkedArray) -> pa.Array | None:
    """Bring a column to one of few types; None for one of another type."""
    values = column.combine_chunks()
    if name == "captions":
        if not pa.types.is_list(values.type) or not pa.types.is_string(values.type.value_type):
            return None
        return pc.if_else(pc.greater(pc.list_value_length(values), 0), values, pa.scalar(None, values.type))
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        numbers = values.cast(pa.float64(), safe=False)
        return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))
    if pa.types.is_boolean(values.type):
        return values
    return (
        values.cast(pa.string()) if pa.types.is_string(values.type) or pa.types.is_large_string(values.type) else None
    )


def _durations(store: Store, wanted: pa.Array, entries: pa.Table | None) -> pa.Array:
    found = pa.nulls(len(wanted), pa.float64())
    if entries is not None:
        found = _looked_up(wanted, entries)
    if found.null_count:  # an encoder of captions has none, another may have decoded the clips
        for table in store.tables():
            found = pc.coalesce(found, _looked_up(wanted, table.entries()))
            if not found.null_count:
                break
    return found


def _looked_up(wanted: pa.Array, entries: pa.Table) -> pa.Array:
    if "duration" not in entries.column_names:
        return pa.nulls(len(wanted), pa.float64())
    rows = pc.index_in(wanted, entries["id"].combine_chunks())
    return entries["duration"].combine_chunks().cast(pa.float64()).take(rows)


def _words(captions: pa.Array) -> pa.Array:
    """List each stimulus's content words, the rarest first."""
    of = [None if said is None else content_words(said) for said in captions.to_pylist()]
    counts = Counter(word for words in of if words for word in words)
    ordered = [words and sorted(words, key=lambda word: (counts[word], word)) for words in of]
    return pa.array([words or None for words in ordered], pa.list_(pa.string()))
