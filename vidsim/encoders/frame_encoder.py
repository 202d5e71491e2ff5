"""Frame encoders: what models that take decoded frames have in common."""

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from vidsim.encoders.activations import collect, find_modules, pool
from vidsim.encoders.base import EncoderCard, Reduce
from vidsim.encoders.checkpoint import Resolved
from vidsim.encoders.first_pass import FirstPass
from vidsim.encoders.fused_attention import fuse_attention
from vidsim.encoders.gelu import gelu_in_place
from vidsim.encoders.leaves import leaf_vectors
from vidsim.encoders.mapped import release_when_used
from vidsim.encoders.pickled import safe_folder
from vidsim.encoders.preprocess import Preprocess
from vidsim.encoders.short_side import ShortSide
from vidsim.encoders.transfer import move_constants
from vidsim.encoders.weights import check_fit, load_strictly
from vidsim.errors import VidsimError

FIELDS: Mapping[str, tuple[str, str]] = {"VJEPA2Model": ("frames_per_clip", "crop_size")}
"""Where an architecture's configuration has the number and the size of its frames; else num_frames, image_size."""

RANDOM = ("pos_embed_shift", "pos_embed_jitter", "pos_embed_rescale")
"""Settings by which a model moves its patches' places at random while it is trained (DINOv3)."""


class FramedEncoder:
    """Prepare frames of one size, refuse others, and encode; loading, `forward` and `pooled` are the family's.

    Parameters
    ----------
    resolved : Resolved
        Encoder whose files have been found.
    device : str
        Device as torch names it.
    preprocess : Preprocess or ShortSide
        What its frames go through.
    """

    returned: str | None = None
    """Layer that is no module's output, but what `forward` returns."""

    def __init__(self, resolved: Resolved, device: str, preprocess: Preprocess | ShortSide) -> None:
        self.card: EncoderCard = resolved.card
        self.resolved = resolved
        self.device = device
        self.preprocess = preprocess
        self.model: Any
        self.first_pass = FirstPass(resolved)

    @property
    def provenance(self) -> Mapping[str, object]:
        """Return what determines the embeddings, and where the weights came from."""
        return self.resolved.provenance

    def prepare(self, stimulus: UInt8[ndarray, "h w 3"]) -> UInt8[Tensor, "3 size size"]:
        """Resize and crop one decoded frame.

        Parameters
        ----------
        stimulus : array of shape (h, w, 3)
            RGB frame.

        Returns
        -------
        tensor of shape (3, size, size)
            What a batch is stacked from.
        """
        return self.preprocess.frame(stimulus)

    def check_frames(self, batch: UInt8[Tensor, "b t 3 h w"]) -> None:
        """Refuse a batch that the model was not trained for.

        Parameters
        ----------
        batch : tensor of shape (b, t, 3, h, w)
            Prepared frames.

        Raises
        ------
        VidsimError
            If the number or the size of frames differs; both values are told.
        """
        card = self.card
        assert card.sampling is not None
        if batch.shape[1] != card.sampling.frames:
            raise VidsimError(f"{card.name} takes {card.sampling.frames} frames a clip, {batch.shape[1]} came")
        if tuple(batch.shape[-2:]) != (card.size, card.size):
            came = "x".join(map(str, batch.shape[-2:]))
            raise VidsimError(f"{card.name} takes frames of {card.size}x{card.size} pixels, {came} came")

    def encode(
        self, batch: UInt8[Tensor, "b t 3 h w"], layers: Sequence[str], reduce: Reduce
    ) -> dict[str, Float[ndarray, "b _"]]:
        """Run one forward pass and reduce every wanted layer inside it.

        Parameters
        ----------
        batch : tensor of shape (b, t, 3, size, size)
            Prepared frames of b clips.
        layers : sequence of str
            Layers of the card, or other modules.
        reduce : Reduce
            Takes a layer's name and its pooled features.

        Returns
        -------
        dict of str to array of shape (b, dims)
            float32 embeddings.

        Raises
        ------
        VidsimError
            If the clips have another number of frames than the card says, or frames of another size; or if the network
            cannot run as its checkpoint and its card have it.
        """
        self.check_frames(batch)
        clips, returned = len(batch), self.returned
        outputs: list[Any] = []
        with self.first_pass.told():
            found = collect(
                self.model,
                [layer for layer in layers if layer != returned],
                lambda: outputs.append(self.forward(self.preprocess.normalise(batch.to(self.device)))),
                lambda layer, output: self.pooled(layer, output, clips),
                reduce,
                stop=returned not in layers,
            )
        if returned is not None and returned in layers:
            features = self.pooled(returned, outputs[0], clips)
            found[returned] = reduce(returned, features).to("cpu", torch.float32).numpy()
        return {layer: found[layer] for layer in layers}

    def forward(self, pixels: Float[Tensor, "b ..."]) -> Any:
        """Run the model on normalised clips."""
        raise NotImplementedError

    def pooled(self, layer: str, output: Any, clips: int) -> Float[Tensor, "clips features"]:
        """Turn a layer's output into one vector per clip."""
        raise NotImplementedError


def check_width(card: EncoderCard, found: Mapping[str, int]) -> None:
    """Refuse a width that a card does not have: what is trained on top of its layers is made by it.

    Parameters
    ----------
    card : EncoderCard
        Row of the catalog; with a width of 0 its layers may differ.
    found : mapping of str to int
        Features of each layer.

    Raises
    ------
    VidsimError
        If a layer has another width; both are told.
    """
    for layer, width in found.items():
        if card.width not in {0, width}:
            remedy = f"expected width {width}" if len(set(found.values())) == 1 else "expected 0, as its layers differ"
            raise VidsimError(
                f"{card.name} has width {card.width}, its layer {layer} has {width}; {remedy} in its card"
            )


def _refuse_other_arguments(card: EncoderCard, model: Any) -> None:
    """Refuse what a card gives each pass beside the frames, if the model has no such argument: it may be swallowed."""
    named = inspect.signature(model.forward).parameters.values()
    legal = [one.name for one in named if one.kind is not one.VAR_KEYWORD and one.name != model.main_input_name]
    for key in card.options.get("forward", {}):
        if key not in legal:
            raise VidsimError(
                f"{card.name} has options.forward.{key} in its card, which {type(model).__name__} does not take beside "
                f"its frames; expected {'one of ' + ', '.join(legal) if legal else 'none'}"
            )


class FrameEncoder(FramedEncoder):
    """Load a checkpoint of the transformers library that fits its card, and encode clips with it.

    Parameters
    ----------
    resolved : Resolved
        Encoder whose files have been found.
    device : str
        Device as torch names it.

    Raises
    ------
    VidsimError
        If the checkpoint does not fit the card.
    """

    def __init__(self, resolved: Resolved, device: str) -> None:
        card, options = resolved.card, resolved.card.options
        assert card.sampling is not None
        assert card.architecture is not None
        preprocess = Preprocess.from_config(resolved.preprocess, card.architecture)
        super().__init__(resolved, device, preprocess)
        model = load_strictly(
            card.architecture, safe_folder(resolved), heads=options.get("heads", ()), **options.get("init", {})
        )
        _refuse_other_arguments(card, model)
        for part in options.get("unused", ()):
            find_modules(model, [part])
            parent, _, name = part.rpartition(".")
            setattr(model.get_submodule(parent), name, None)
        # None, and so refused with both values, where a class of the user's choice has no such thing
        said = partial(getattr, model.config)
        frames_field, size_field = FIELDS.get(card.architecture, ("num_frames", "image_size"))
        facts: dict[str, tuple[object, object]] = {}
        if card.modality == "video":
            facts["frames"] = (card.sampling.frames, said(frames_field, None))
        if card.width:
            facts["width"] = (card.width, said("hidden_size", card.width))
        check_fit(
            model,
            resolved,
            {"frames": frames_field, "image_size": size_field, "width": "hidden_size", "blocks": "num_hidden_layers"},
            **facts,
            image_size=(options.get("trained_size", card.size), said(size_field, None)),
            frames_prepared_at=((card.size, card.size), preprocess.size),
            blocks=(len(card.blocks), said("num_hidden_layers", None)),
        )
        find_modules(model, card.layers)
        for key in RANDOM:  # clips are seen as they are, in training too
            if getattr(model.config, key, None) is not None:
                setattr(model.config, key, None)
        fuse_attention(model)
        gelu_in_place(model)
        self.model = model.to(device)
        move_constants(self.model, device)
        release_when_used(self.model)

    def forward(self, pixels: Float[Tensor, "b ..."]) -> Any:
        """Run the model.

        Parameters
        ----------
        pixels : tensor of shape (b, t, 3, size, size), or (b, 3, size, size)
            Normalised clips, or frames for an image encoder.

        Returns
        -------
        ModelOutput
            Of the upstream library.
        """
        return self.model(**{self.model.main_input_name: pixels, **self.card.options.get("forward", {})})

    def pooled(self, layer: str, output: Float[Tensor, "rows ..."], clips: int) -> Float[Tensor, "clips features"]:
        """Turn a layer's output into one vector per clip; of an image encoder, the mean over its frames.

        Parameters
        ----------
        layer : str
            Layer of the card, or any other module.
        output : tensor of shape (rows, ...)
            Its output.
        clips : int
            Clips of the batch.

        Returns
        -------
        tensor of shape (clips, features)
            Gradients are followed.
        """
        card, rule = self.card, self.resolved.pooling
        assert card.sampling is not None
        inputs = clips * (card.sampling.frames if card.modality == "image" else 1)
        if layer in card.layers:
            vectors = pool(output, rule, int(card.options.get("prefix_tokens", 0)))
        else:
            vectors = leaf_vectors(self.model.get_submodule(layer), output, inputs, rule)
        return vectors if inputs == clips else vectors.unflatten(0, (clips, -1)).mean(1)
