"""The failure ledger and a plan: which failures an extraction can mend, and what its plan says of them."""

import os
from collections.abc import Sequence

from vidsim.data.video import file_content
from vidsim.encoders.base import EncoderCard
from vidsim.extract.plan import FILES, NO_CAPTION, Plan
from vidsim.store import EmbeddingTable, Failure, Store


def mendable(failure: Failure, scopes: Sequence[str], card: EncoderCard) -> bool:
    """Tell whether a success mends a failure: it says nothing of other encoders, nor that of captions of files.

    Parameters
    ----------
    failure : Failure
        Entry of the ledger.
    scopes : sequence of str
        Scopes of the ledger that concern the extraction: decoder and encoder.
    card : EncoderCard
        The encoder.

    Returns
    -------
    bool
        True where its file, or its id, need only succeed.
    """
    if failure.scope != FILES:
        return failure.scope in scopes
    return not failure.id or (failure.kind == NO_CAPTION) == (card.modality == "text")


def settle(store: Store, table: EmbeddingTable | None, todo: Plan, known: Sequence[Failure]) -> None:
    """Bring ledger and table in line with what the plan has found: new failures, mended ones, and rows out of date.

    Parameters
    ----------
    store : Store
        Has the ledger.
    table : EmbeddingTable or None
        Table of the extraction; None where it is yet to be created.
    todo : Plan
        What has been found.
    known : sequence of Failure
        Entries of the ledger that are `mendable`.

    Raises
    ------
    VidsimError
        If the store cannot be written.
    """
    if todo.new_failures:
        store.failures.record(todo.new_failures)
    fine = {*todo.done, *(entry.id for _, entry, _ in todo.copies)}
    paths = {entry.path for _, entry, _ in todo.copies}
    failing = {f.path for f in (*todo.known_failures, *todo.new_failures)}
    mended = [
        f
        for f in known
        if f.path not in failing
        and (f.id in fine or f.path in paths or (not f.id and os.access(f.path, os.R_OK | os.X_OK)))
    ]
    if mended:
        store.failures.forget(mended)
    if table is not None and failing:
        entries = table.entries()
        rows = zip(*(entries[column].to_pylist() for column in ("id", "path", "content")), strict=True)
        contents = {f.path: f.content for f in (*todo.known_failures, *todo.new_failures) if f.content}
        stale = [
            name
            for name, path, content in rows
            if (key := path or name) in contents and file_content(contents[key]) != file_content(str(content))
        ]
        if stale:
            table.delete(stale)
