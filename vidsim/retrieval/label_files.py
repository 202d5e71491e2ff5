"""Predictions as Parquet files: row groups are written as they come, so that memory does not grow with the file."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from numpy import ndarray
from pyarrow import parquet

from vidsim.data.judgments.predicted import TRIPLETS, metadata, similarity_schema
from vidsim.retrieval.label import CHUNK, Labels

BINS = 2000
"""Cells of the histogram from which quantiles of the probability are told, to 1/3000."""

BLOCK_BYTES = 1 << 26


@dataclass(frozen=True)
class Written:
    """Say what a file of triplets holds.

    Parameters
    ----------
    triplets : int
        How many.
    probability : float
        Mean probability of the odd one: if calibrated, the share of people's choices that are expected to agree.
    quantiles : mapping of str to float
        5 %, 50 % and 95 % of the probability.
    entropy : float
        Mean, in nats.
    occurrences : tuple of int
        Fewest and most triplets that hold the same clip.
    """

    triplets: int
    probability: float
    quantiles: Mapping[str, float]
    entropy: float
    occurrences: tuple[int, int]


def write_triplets(
    file: BinaryIO,
    ids: Sequence[str],
    labels: Iterable[Labels],
    provenance: Mapping[str, Any],
    progress: Callable[[int], None] | None = None,
) -> Written:
    """Write predicted choices.

    Parameters
    ----------
    file : binary file
        Open for writing.
    ids : sequence of str
        Stimuli, by position.
    labels : iterable of Labels
        In order; a row group each.
    provenance : mapping
        JSON-able facts, kept in the metadata of the file.
    progress : callable, optional
        Told how many triplets are written so far.

    Returns
    -------
    Written
        What was written.
    """
    names = pa.array(ids, pa.string())
    histogram, places = np.zeros(BINS, np.int64), np.zeros(len(ids), np.int64)
    count, probability, entropy = 0, 0.0, 0.0
    with parquet.ParquetWriter(
        file,
        TRIPLETS.with_metadata(metadata(provenance)),
        compression="zstd",
        compression_level=1,
        use_dictionary=["a", "b", "odd"],  # pyright: ignore[reportArgumentType]
        use_byte_stream_split=["probability", "entropy"],  # pyright: ignore[reportArgumentType]
        dictionary_pagesize_limit=1 << 30,  # all ids, or they would be written out row by row
        write_statistics=["probability", "entropy"],  # pyright: ignore[reportArgumentType]
    ) as writer:
        for part in labels:
            stimuli = (pa.DictionaryArray.from_arrays(pa.array(column), names) for column in part.rows.T)
            columns = [*stimuli, pa.array(part.probability), pa.array(part.entropy)]
            writer.write_batch(pa.record_batch(columns, schema=writer.schema), row_group_size=CHUNK)
            histogram += np.histogram(part.probability, BINS, (1 / 3, 1 + 1e-6))[0]
            places += np.bincount(part.rows.ravel(), minlength=len(ids))
            count += len(part)
            probability += float(part.probability.sum(dtype=np.float64))
            entropy += float(part.entropy.sum(dtype=np.float64))
            if progress is not None:
                progress(count)
    return Written(
        count,
        probability / count,
        {f"{share:.0%}": _quantile(histogram, share) for share in (0.05, 0.5, 0.95)},
        entropy / count,
        (int(places.min()), int(places.max())),
    )


def write_similarities(
    file: BinaryIO,
    ids: Sequence[str],
    vectors: Float[ndarray, "n d"],
    provenance: Mapping[str, Any],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write the predicted RSM: cosine similarities of all pairs (Eq. 1), a block of rows at a time.

    Parameters
    ----------
    file : binary file
        Open for writing.
    ids : sequence of str
        Stimuli, by position.
    vectors : array of shape (n, d)
        Their unit vectors, float32.
    provenance : mapping
        JSON-able facts, kept in the metadata of the file.
    progress : callable, optional
        Told how many rows are written so far.
    """
    n = len(ids)
    schema = similarity_schema(n).with_metadata(metadata(provenance))
    step = max(1, BLOCK_BYTES // (4 * n))
    with parquet.ParquetWriter(
        file,
        schema,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
    ) as writer:
        for start in range(0, n, step):
            block = vectors[start : start + step] @ vectors.T
            np.clip(block, -1, 1, out=block)
            own = np.arange(len(block))
            block[own, start + own] = 1
            values = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), type=schema.field("similarity").type)
            rows = [pa.array(ids[start : start + step], pa.string()), values]
            writer.write_batch(pa.record_batch(rows, schema=schema), row_group_size=len(block))
            if progress is not None:
                progress(start + len(block))


def _quantile(histogram: ndarray, share: float) -> float:
    cell = int(np.searchsorted(np.cumsum(histogram), share * histogram.sum()))
    return round(1 / 3 + (cell + 0.5) * (2 / 3) / BINS, 4)
