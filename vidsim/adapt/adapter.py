"""Adapters: an encoder with what was trained inside and behind it, written to a folder and read back.

An adapter is itself an encoder: extraction, alignment, indexes and search take it by its name.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from numpy import ndarray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vidsim.adapt.attached import Attached, attach_as
from vidsim.adapt.embed import encode_with_head
from vidsim.adapt.folder import GOLDEN, HEAD, WEIGHTS
from vidsim.adapt.golden import golden_embedding, is_golden
from vidsim.adapt.head import head_like
from vidsim.adapt.lora_config import CONFIG, read_lora_config, write_lora_config
from vidsim.adapt.manifest import RESTORE, Manifest, read_manifest
from vidsim.encoders import catalog
from vidsim.encoders.base import Encoder, EncoderCard, Reduce
from vidsim.encoders.catalog import Resolved
from vidsim.errors import VidsimError


def save(attached: Attached, folder: Path, encoder: Encoder, layer: str) -> None:
    """Write the weights of an adapter, PEFT's configuration and a golden embedding into a folder.

    Parameters
    ----------
    attached : Attached
        What was trained.
    folder : Path
        An empty folder.
    encoder : Encoder
        The encoder that it is attached to.
    layer : str
        Layer that was trained.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in attached.trainable().items()}
    if attached.config is not None:
        save_file({name: value for name, value in state.items() if not name.startswith("head.")}, folder / WEIGHTS)
        write_lora_config(attached.config, folder)
    if attached.head is not None:
        head = {name.removeprefix("head."): value for name, value in state.items() if name.startswith("head.")}
        save_file(head, folder / HEAD)
    save_file({"embedding": torch.from_numpy(golden_embedding(encoder, attached.head, layer))}, folder / GOLDEN)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # the library lets nobody else read them


def read_weights(manifest: Manifest, folder: Path) -> dict[str, Tensor]:
    """Read the weights of an adapter.

    Parameters
    ----------
    manifest : Manifest
        What its folder says.
    folder : Path
        The folder.

    Returns
    -------
    dict of str to Tensor
        By the names of `vidsim.adapt.attached.Attached.trainable`.

    Raises
    ------
    VidsimError
        If a file cannot be read, or a weight is not finite.
    """
    state = _read_finite(folder / WEIGHTS) if WEIGHTS in manifest.files else {}
    head = _read_finite(folder / HEAD) if HEAD in manifest.files else {}
    return state | {f"head.{name}": value for name, value in head.items()}


class AdaptedEncoder:
    """Encode with an adapter's base and the weights that people's judgments gave it.

    Parameters
    ----------
    resolved : Resolved
        Of `vidsim.adapt.card.resolve_adapter`.
    device : str
        Device as torch names it.

    Raises
    ------
    VidsimError
        If weights are missing, left over, changed or not finite, the configuration is none that
        `vidsim.adapt.attached.attach` makes, or the golden embedding is not what it was.
    """

    def __init__(self, resolved: Resolved, device: str) -> None:
        folder = Path(resolved.card.options["adapter"])
        manifest = read_manifest(folder)
        base_card = catalog.card(manifest.base["encoder"])
        self.card: EncoderCard = resolved.card
        self.resolved = resolved
        self.base = catalog.load(replace(resolved, card=base_card), device=device)
        self.layer = manifest.layer
        where = os.fspath(folder)
        state = read_weights(manifest, folder)
        head = {name.removeprefix("head."): value for name, value in state.items() if name.startswith("head.")}
        golden = _read_golden(folder / GOLDEN)
        config = read_lora_config(folder / CONFIG) if WEIGHTS in manifest.files else None
        mend = f"{os.fspath(folder / CONFIG)!r} was changed: {RESTORE}"
        attached = attach_as(self.base, config, head_like(head) if head else None, mend)
        attached.fill(state, where)
        self.head = None if attached.head is None else attached.head.eval().requires_grad_(requires_grad=False)
        attached.trunk.eval().requires_grad_(requires_grad=False)
        if not is_golden(golden_embedding(self.base, self.head, self.layer), golden):
            raise VidsimError(
                f"the adapter in {where!r} gives another embedding than when it was saved (of the caption or clip "
                f"whose embedding is in {GOLDEN}): a library computes otherwise (compare the versions in vidsim.json), "
                f"or a file was changed; {RESTORE}"
            )

    @property
    def provenance(self) -> Mapping[str, object]:
        """Return what determines the embeddings, and where the weights came from."""
        return self.resolved.provenance

    @property
    def model(self) -> nn.Module:
        """Return the base's network, with the adapter's weights inside; the head is no part of it."""
        return self.base.model  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def preprocess(self) -> Any:
        """Return what its base prepares frames with; None where that takes none."""
        return getattr(self.base, "preprocess", None)

    def prepare(self, stimulus: Any) -> Any:
        """Turn one decoded frame, or captions, into what ``encode`` takes, as the base does.

        Parameters
        ----------
        stimulus : array of shape (h, w, 3), or sequence of str
            A frame, or captions.

        Returns
        -------
        object
            Prepared.
        """
        return self.base.prepare(stimulus)

    def encode(self, batch: Any, layers: Sequence[str], reduce: Reduce) -> dict[str, Float[ndarray, "b _"]]:
        """Run one forward pass and reduce every wanted layer inside it.

        Parameters
        ----------
        batch : tensor of shape (b, t, 3, size, size), or sequence of sequence of str
            Prepared stimuli.
        layers : sequence of str
            Layers of the base, and the card's own where there is a head.
        reduce : Reduce
            Takes a layer's name and its pooled features.

        Returns
        -------
        dict of str to array of shape (b, dims)
            float32 embeddings.
        """
        own = self.card.default_layer
        if self.head is None or own not in layers:
            return self.base.encode(batch, layers, reduce)
        return encode_with_head(self.base, self.head, self.layer, batch, layers, reduce, own)

    def encode_text(self, texts: Sequence[str]) -> Float[ndarray, "n d"]:
        """Place texts among clips, where the base can: its text tower is as it was.

        Parameters
        ----------
        texts : sequence of str
            Texts.

        Returns
        -------
        array of shape (n, d)
            As of `vidsim.encoders.video_text.VideoText.encode_text`.
        """
        return self.base.encode_text(texts)  # pyright: ignore[reportAttributeAccessIssue]


def _read_finite(path: Path) -> dict[str, Tensor]:
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise VidsimError(f"{os.fspath(path)!r} of the adapter cannot be read: {error}; {RESTORE}") from error
    for name, value in state.items():
        if not value.isfinite().all():
            raise VidsimError(f"{os.fspath(path)!r} has NaN or infinity in {name}, expected finite weights; {RESTORE}")
    return state


def _read_golden(path: Path) -> Float[ndarray, "..."]:
    state = _read_finite(path)
    if "embedding" not in state:
        held = ", ".join(sorted(state)) or "nothing"
        raise VidsimError(f"{os.fspath(path)!r} holds {held}, expected 'embedding'; {RESTORE}")
    return state["embedding"].float().numpy()
