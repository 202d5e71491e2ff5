"""The feature spec: everything beside the encoder itself that determines what is stored."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from vidsim.check import one_of
from vidsim.projection import MATRIX_VERSION

PAPER_DIMS = 4732
"""Johnson-Lindenstrauss dimension for 250 clips at eps = 0.1; as in the paper, one projection serves all clips."""


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """Say how layers become stored columns.

    Parameters
    ----------
    dims : int or None
        Layers wider than this are projected to it; None stores every layer at full width.
    seed : int
        Seed of the sparse random projection.
    dtype : {"float32", "float16"}
        Precision in the store.
    decoder : str
        Name of the video decoder.
    captions : {"mean", "first"}
        Whether a stimulus with several captions uses the mean of their embeddings or the first caption.
    compute : {"float32", "bfloat16"}
        Precision of the model's matrix products. Halved, it is several times quicker on GPUs that have it; embeddings
        then agree to about two digits, so they are kept in a table of their own.

    Raises
    ------
    VidsimError
        If ``dtype``, ``captions`` or ``compute`` is none of these.
    """

    dims: int | None = PAPER_DIMS
    seed: int = 0
    dtype: Literal["float32", "float16"] = "float32"
    decoder: str = "pyav"
    captions: Literal["mean", "first"] = "mean"
    compute: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        one_of("dtype", self.dtype, ("float32", "float16"))
        one_of("captions", self.captions, ("mean", "first"))
        one_of("compute", self.compute, ("float32", "bfloat16"))

    def identity(self, encoder: Mapping[str, object], modality: str) -> dict[str, object]:
        """Join the encoder's identity with what this spec adds to it.

        Parameters
        ----------
        encoder : mapping
            What determines the encoder's output (checkpoint, weights hash, sampling, preprocessing, pooling).
        modality : str
            Modality of the encoder: decoding matters where it takes frames, the use of captions where it takes text.

        Returns
        -------
        dict
            JSON-able; two extractions with equal identities give equal embeddings.
        """
        facts = asdict(self)
        if self.compute == "float32":  # tables from before there was a choice have nothing to say about it
            facts.pop("compute")
        if "text" not in modality:
            facts.pop("captions")
        if modality == "text":
            facts.pop("decoder")
        facts["projection"] = {
            "kind": "sparse, stratified",
            "version": MATRIX_VERSION,
            "density": "1/sqrt(d)",
            "dims": facts.pop("dims"),
            "seed": facts.pop("seed"),
        }
        return {**encoder, "features": facts}
