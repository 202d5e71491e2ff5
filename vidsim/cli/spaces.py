"""Spaces that verbs compare: an encoder's layer, a similarity matrix of the store, or a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from vidsim.cli import show
from vidsim.cli.options import Captions
from vidsim.cli.root import root_of
from vidsim.cli.stored import is_path
from vidsim.errors import VidsimError
from vidsim.paths import expand

if TYPE_CHECKING:
    from vidsim.embeddings import Embeddings
    from vidsim.rsm import RSM
    from vidsim.store import EmbeddingTable, Store

CaptionsOption = Annotated[
    Captions, typer.Option("--captions", help="Which embeddings of encoders that read: of all captions, or the first.")
]


class Similarity(StrEnum):
    """How embeddings are compared."""

    cosine = "cosine"
    pearson = "pearson"


SimilarityOption = Annotated[
    Similarity, typer.Option("--similarity", help="Of embeddings: cosine (Eq. 1), or Pearson's correlation.")
]


@dataclass(frozen=True, eq=False)
class Space:
    """Hold what a name stands for.

    Parameters
    ----------
    name : str
        In full: ``ENCODER:LAYER``, the name of a similarity matrix, or a path.
    found : RSM or Embeddings
        Of all its stimuli.
    """

    name: str
    found: "RSM | Embeddings"

    @property
    def ids(self) -> Sequence[str]:
        """Return its stimuli."""
        return self.found.ids

    def rsm(self, ids: Sequence[str] | None = None, similarity: str = "cosine") -> "RSM":
        """Return the similarities of some stimuli.

        Parameters
        ----------
        ids : sequence of str, optional
            Stimuli wanted; all by default.
        similarity : {"cosine", "pearson"}
            Of embeddings, their cosines (Eq. 1), or their correlations, as the paper's code has it. A similarity matrix
            is what it is.

        Returns
        -------
        RSM
            In their order.

        Raises
        ------
        VidsimError
            If some are not here, or their embeddings are not finite.
        """
        from vidsim.rsm import RSM, cosine_rsm, pearson_rsm

        ids = self.ids if ids is None else ids
        self._refuse_lacking(ids)
        if isinstance(self.found, RSM):
            return self.found.take(ids)
        return (pearson_rsm if similarity == "pearson" else cosine_rsm)(self.embeddings(ids))

    def embeddings(self, ids: Sequence[str]) -> "Embeddings":
        """Return the embeddings of some stimuli.

        Parameters
        ----------
        ids : sequence of str
            Stimuli wanted.

        Returns
        -------
        Embeddings
            In their order.

        Raises
        ------
        VidsimError
            If there are only similarities, some stimuli are not here, or their embeddings are not finite.
        """
        import numpy as np

        from vidsim.rsm import RSM

        if isinstance(self.found, RSM):
            raise VidsimError(
                f"{self.name!r} is a similarity matrix; expected embeddings: ENCODER:LAYER, or a file of them"
            )
        self._refuse_lacking(ids)
        part = self.found.take(ids)
        wrong = np.flatnonzero(~np.isfinite(part.matrix).all(axis=1))
        if len(wrong):
            raise VidsimError(
                f"{self.name!r}: the embeddings of {len(wrong)} of {len(ids)} stimuli are not finite, the first is "
                f"{ids[int(wrong[0])]!r}; extract them again"
            )
        return part

    def _refuse_lacking(self, ids: Sequence[str]) -> None:
        lacking = [stimulus for stimulus in ids if stimulus not in self.found.position]
        if lacking:
            raise VidsimError(
                f"{self.name!r} lacks {len(lacking)} of {len(ids)} stimuli, the first is {lacking[0]!r}; it has "
                f"{len(self.ids)}, such as {next(iter(self.ids), '')!r}: extract those missing, or choose with --split"
            )


def find_space(name: str, root: str, captions: str = "mean") -> Space:
    """Find what a name stands for.

    Parameters
    ----------
    name : str
        A similarity matrix of the store by name, ``ENCODER:LAYER``, ``ENCODER`` for its default layer, either of them
        with a table's name in place of the encoder's, or a file (see `vidsim.data.spaces.read_space`).
        What begins with ``.``, ``/`` or ``~`` is always a file.
    root : str
        Artefact root.
    captions : {"mean", "first"}
        Which embeddings of an encoder that reads captions.

    Returns
    -------
    Space
        With its full name.

    Raises
    ------
    VidsimError
        If there is nothing of that name; the nearest is suggested.
    """
    from vidsim.data.spaces import SPACE_SUFFIXES, read_space
    from vidsim.errors import NoStore
    from vidsim.rsm import RSM
    from vidsim.store import Store
    from vidsim.store.missing import nearest

    path = expand(name)
    if is_path(name):
        return Space(name, read_space(path))
    is_file = path.suffix.lower() in SPACE_SUFFIXES and path.is_file()
    try:
        store = Store(root_of(root))
    except NoStore as error:
        if is_file:
            return Space(name, read_space(path))
        raise VidsimError(f"no file {name!r}, and {error}") from None
    stored = store.rsms.get(name)
    if stored is not None:
        return Space(name, RSM.from_table(stored))
    encoder, colon, layer = name.partition(":")
    if holds(store, encoder):
        table = table_of(store, encoder, captions, layer if colon else None)
        layer = layer if colon else table.default_layer
        return Space(f"{encoder}:{layer}", table[layer])
    if is_file:
        return Space(name, read_space(path))
    known = nearest(encoder, [*store, *store.rsms])
    raise VidsimError(f"no encoder, similarity matrix or file {name!r}{known or '; the store is empty'}")


def holds(store: "Store", name: str) -> bool:
    """Say whether a store has an encoder, or a table, of that name."""
    return name in store or any(table.name == name for table in store.tables())


def table_of(store: "Store", encoder: str, captions: str = "mean", layer: str | None = None) -> "EmbeddingTable":
    """Find an encoder's table: of several the most recently created, which is said on stderr.

    Parameters
    ----------
    store : Store
        Where to look.
    encoder : str
        Its name, or that of the table itself. Of an adapter, what its present weights gave.
    captions : {"mean", "first"}
        Which embeddings of an encoder that reads captions.
    layer : str, optional
        A layer that the table must have.

    Returns
    -------
    EmbeddingTable
        The table.

    Raises
    ------
    VidsimError
        If the encoder, its captions or its layer are not stored, or what is stored of an adapter was given by other
        weights than it has.
    """
    from vidsim.store.missing import nearest

    tables = store.tables(encoder)
    if tables:
        fitting = _of_captions(encoder, _of_present_weights(store.root, encoder, tables), captions)
    else:
        fitting = [table for table in store.tables() if table.name == encoder]
        if not fitting:
            _ = store[encoder]  # says which there are
    if layer is not None:
        holding = [table for table in fitting if layer in table.layers]
        if not holding:
            known = nearest(layer, dict.fromkeys(name for table in fitting for name in table.layers))
            raise VidsimError(f"{encoder!r} has no layer {layer!r}{known}")
        fitting = holding
    if len(fitting) > 1:
        others = ", ".join(table.name for table in fitting[1:])
        told = f"of {encoder} the table made last is read, {fitting[0].name}; there is also {others}"
        typer.echo(f"vidsim: {show.printable(told)}", err=True)
    return fitting[0]


def captions_of(table: "EmbeddingTable") -> str | None:
    """Tell which captions the embeddings of an encoder that reads them are of; None of any other."""
    from vidsim.retrieval import calibration

    return calibration.captions_of(table.identity)


def _of_captions(encoder: str, tables: "list[EmbeddingTable]", captions: str) -> "list[EmbeddingTable]":
    fitting = [table for table in tables if captions_of(table) in {None, captions}]
    if not fitting:
        there = ", ".join(sorted({str(captions_of(table)) for table in tables}))
        raise VidsimError(
            f"{encoder!r} is stored for --captions {there}, not {captions}: vidsim extract --stimuli NAME --encoder "
            f"{encoder} --captions {captions}"
        )
    return fitting


def _of_present_weights(root: str, encoder: str, tables: "list[EmbeddingTable]") -> "list[EmbeddingTable]":
    """Leave out what an adapter has given before it was trained again."""
    from vidsim.adapt.card import FAMILY
    from vidsim.adapt.folder import find_adapter
    from vidsim.adapt.manifest import read_manifest

    folder = find_adapter(root, encoder)
    if folder is None:
        return tables
    try:
        weights = read_manifest(folder).weights
    except VidsimError:  # what it gave lies in the store all the same
        return tables
    fitting = [one for one in tables if one.identity.get("family") != FAMILY or one.identity.get("weights") == weights]
    if not fitting:
        raise VidsimError(
            f"{encoder!r} has other weights than when its embeddings were stored, as it was trained again; extract "
            f"them anew: vidsim extract --stimuli NAME --encoder {encoder}"
        )
    return fitting
