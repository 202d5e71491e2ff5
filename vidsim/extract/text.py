"""Texts as queries: a text's place in the space of an encoder of captions, or of one with a text tower."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vidsim.encoders import catalog
from vidsim.encoders.base import EncoderCard
from vidsim.errors import VidsimError
from vidsim.extract.encode import computing, encode, reducer
from vidsim.extract.spec import FeatureSpec

TEXT_TOWERS: Mapping[str, str] = {"XCLIPModel": "video_embeds"}
"""Architectures of video encoders that have a text tower, and the layer whose space it shares; adapters keep it."""

READER = "all-MiniLM-L6-v2"
"""An encoder of captions, to name as an example."""


def takes_text(card: EncoderCard, layer: str) -> bool:
    """Tell whether a text has a place among the embeddings of a layer.

    Parameters
    ----------
    card : EncoderCard
        The encoder.
    layer : str
        Its layer.

    Returns
    -------
    bool
        True for every layer of encoders of captions, and for one of those with a text tower.

    Examples
    --------
    >>> takes_text(catalog.card("xclip"), "video_embeds"), takes_text(catalog.card("timesformer"), "layernorm")
    (True, False)
    """
    return card.modality == "text" or _shared(card) == layer


def who_takes_text() -> str:
    """Name the encoders whose indexes can be searched by text, in a line."""
    known = catalog.cards().values()
    towers = [f"{card.name} ({layer})" for card in known if (layer := _shared(card))]
    return f"{', '.join(towers)}, and encoders of captions such as {READER}"


def _shared(card: EncoderCard) -> str | None:
    return TEXT_TOWERS.get(card.architecture or "")


def embed_text(
    text: str, resolved: catalog.Resolved, spec: FeatureSpec, layer: str, device: str = "auto"
) -> Float[ndarray, " d"]:
    """Encode a text so that it can be compared with what ``extract`` stores.

    An encoder of captions takes it for the one caption of a stimulus; a text tower sets it among clips, and is
    projected as they are.

    Parameters
    ----------
    text : str
        The text.
    resolved : Resolved
        Encoder whose files have been found; `takes_text` holds for its card.
    spec : FeatureSpec
        Spec with which the compared embeddings were made.
    layer : str
        Layer of those.
    device : str
        Where to compute.

    Returns
    -------
    array of shape (d,)
        The embedding.

    Raises
    ------
    VidsimError
        If the text has no words, or the encoder cannot be used or takes no text.
    """
    if not text.strip():
        raise VidsimError("the text has no words in it; give some")
    if not takes_text(resolved.card, layer):
        raise VidsimError(
            f"{resolved.card.name} has no place for texts in {layer}; encoders that have: {who_takes_text()}"
        )
    where = catalog.resolve_device(device)
    encoder: Any = catalog.load(resolved, device=where)

    if resolved.card.modality == "text":
        return encode(encoder, [(text,)], [layer], spec, where)[layer][0].astype(np.float32)
    import torch

    from vidsim.encoders.machine import able

    with able(where, "give another --device"):
        with computing(spec, where):
            vector = torch.from_numpy(encoder.encode_text([text])).to(where)
        return reducer(spec)(layer, vector)[0].to("cpu", torch.float32).numpy()
