"""Adapters: LoRA weights inside an encoder, and a head behind it (METHODS, section 4). The door to PEFT.

An adapter is itself an encoder: extraction, alignment, indexes and search take it by its name.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vidsim.adapt.head import head_like
from vidsim.adapt.lora_config import CONFIG, read_lora_config
from vidsim.adapt.manifest import GOLDEN, HEAD, HEAD_LAYER, RESTORE, WEIGHTS, Manifest, read_manifest
from vidsim.adapt.tower import trunk_of
from vidsim.encoders import catalog
from vidsim.encoders.base import Encoder, EncoderCard, Reduce
from vidsim.encoders.catalog import Resolved
from vidsim.encoders.transfer import Fetched
from vidsim.errors import VidsimError

PREFIX = "base_model.model."
"""What PEFT puts in front of the names of the base's modules."""

ADAPTER = "default"

GOLDEN_CAPTION = "Two people sit at a table and talk; a third one laughs."
GOLDEN_CLIP = (48, 64)
"""Height and width of the clip whose embedding is kept."""

TOLERANCE = 1e-3
"""By how much of its largest value a golden embedding may differ on another machine."""


@dataclass(frozen=True, eq=False)
class Attached:
    """Hold what was attached to an encoder.

    Parameters
    ----------
    trunk : Module
        The encoder's network, with LoRA weights inside.
    head : Module or None
        The head.
    config : LoraConfig or None
        Rank, scaling and modules; None without LoRA weights.
    """

    trunk: nn.Module
    head: nn.Module | None
    config: LoraConfig | None

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the weights that are trained, by PEFT's names; those of the head begin with ``head.``."""
        weights = {_peft_name(name): value for name, value in self.trunk.named_parameters() if "lora_" in name}
        head = {} if self.head is None else {f"head.{name}": value for name, value in self.head.named_parameters()}
        return weights | head

    def fill(self, state: Mapping[str, Tensor], where: str) -> None:
        """Fill the trained weights strictly.

        Parameters
        ----------
        state : mapping of str to Tensor
            By the names of `trainable`.
        where : str
            Where they come from, for the error.

        Raises
        ------
        VidsimError
            If one is missing, left over or of another shape.
        """
        own = self.trainable()
        problems = [
            *(f"{name} is missing" for name in sorted(own.keys() - state.keys())),
            *(f"{name} is left over" for name in sorted(state.keys() - own.keys())),
            *(
                f"{name} is {tuple(state[name].shape)}, expected {tuple(own[name].shape)}"
                for name in sorted(own.keys() & state.keys())
                if state[name].shape != own[name].shape
            ),
        ]
        if problems:
            more = f" and {len(problems) - 2} more" if len(problems) > 2 else ""
            raise VidsimError(f"the weights in {where!r} do not fit the adapter: {'; '.join(problems[:2])}{more}")
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(state[name])


def attach(
    encoder: Encoder,
    *,
    rank: int,
    scaling: int | float,
    targets: Sequence[str],
    dropout: float = 0.0,
    head: nn.Module | None = None,
) -> Attached:
    """Put new LoRA weights inside an encoder, and a head behind it; nothing else is trained.

    Parameters
    ----------
    encoder : Encoder
        A transformer on frames, or a sentence encoder. It is changed.
    rank : int
        Rank of the LoRA matrices; 0 for none.
    scaling : float
        LoRA's alpha: updates are scaled by ``scaling / rank``.
    targets : sequence of str
        Ends of the names of linear layers that take them.
    dropout : float
        Dropout in front of the LoRA matrices.
    head : Module, optional
        The head.

    Returns
    -------
    Attached
        A new adapter changes nothing: its second matrices are 0 (the head's output is another space, though).

    Raises
    ------
    VidsimError
        If the encoder cannot be trained, or has no module of such a name.
    """
    if not rank:
        return _attach(encoder, None, head)
    config = LoraConfig(
        r=rank,
        lora_alpha=scaling,  # pyright: ignore[reportArgumentType]  # any number does
        target_modules=list(targets),
        lora_dropout=dropout,
        bias="none",
        base_model_name_or_path=encoder.card.checkpoint,
        revision=encoder.resolved.revision,  # pyright: ignore[reportAttributeAccessIssue]  # of all that can be trained
    )
    return _attach(encoder, config, head)


def linear_layers(encoder: Encoder) -> tuple[str, ...]:
    """List the linear layers inside an encoder's blocks.

    Parameters
    ----------
    encoder : Encoder
        A transformer on frames, or a sentence encoder.

    Returns
    -------
    tuple of str
        Their names in its network.
    """
    trunk = trunk_of(encoder)
    names = {id(module): name for name, module in trunk.named_modules()}
    model: Any = getattr(encoder, "model", trunk)
    blocks = [names[id(model.get_submodule(layer))] for layer in encoder.card.blocks]
    return tuple(
        name
        for name, module in trunk.named_modules()
        if isinstance(module, nn.Linear) and name.startswith(tuple(f"{block}." for block in blocks))
    )


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
        replace(attached.config, inference_mode=True).save_pretrained(os.fspath(folder))
    if attached.head is not None:
        head = {name.removeprefix("head."): value for name, value in state.items() if name.startswith("head.")}
        save_file(head, folder / HEAD)
    save_file({"embedding": torch.from_numpy(golden_embedding(encoder, attached.head, layer))}, folder / GOLDEN)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # the library lets nobody else read them


def golden_embedding(encoder: Encoder, head: nn.Module | None, layer: str) -> Float[ndarray, " d"]:
    """Embed a stimulus that is the same everywhere: a caption, or a clip that a formula draws.

    Parameters
    ----------
    encoder : Encoder
        The encoder with its adapter.
    head : Module, optional
        The head.
    layer : str
        Layer that was trained.

    Returns
    -------
    array of shape (d,)
        What the adapter gives for it.
    """
    if encoder.card.modality == "text":
        batch: Any = [encoder.prepare((GOLDEN_CAPTION,))]
    else:
        assert encoder.card.sampling is not None
        t, y, x, colour = np.ogrid[: encoder.card.sampling.frames, : GOLDEN_CLIP[0], : GOLDEN_CLIP[1], :3]
        clip = ((x * 5 + y * 3 + t * 11 + colour * 41) % 256).astype(np.uint8)
        batch = torch.stack([torch.as_tensor(encoder.prepare(frame)) for frame in clip])[None]
    return embed(encoder, head, layer, batch)[0]


def embed(encoder: Encoder, head: nn.Module | None, layer: str, batch: Any) -> Float[ndarray, "b d"]:
    """Embed a batch by what is trained: the head, or the layer where there is none.

    Parameters
    ----------
    encoder : Encoder
        The encoder with its adapter.
    head : Module, optional
        The head.
    layer : str
        Layer that is trained.
    batch : object
        What the encoder's ``encode`` takes.

    Returns
    -------
    array of shape (b, d)
        float32.
    """
    if head is None:
        return encoder.encode(batch, [layer], lambda _, features: features)[layer]
    return _encode_with_head(encoder, head, layer, batch, [HEAD_LAYER], lambda _, features: features)[HEAD_LAYER]


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
        By the names of `Attached.trainable`.

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
        Of `vidsim.adapt.manifest.resolve_adapter`.
    device : str
        Device as torch names it.

    Raises
    ------
    VidsimError
        If weights are missing, left over, changed or not finite, the configuration is none that `attach` makes, or
        the golden embedding is not what it was.
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
        attached = _attach(self.base, config, head_like(head) if head else None, mend)
        attached.fill(state, where)
        self.head = None if attached.head is None else attached.head.eval().requires_grad_(requires_grad=False)
        attached.trunk.eval().requires_grad_(requires_grad=False)
        found = golden_embedding(self.base, self.head, self.layer)
        near = found.shape == golden.shape and np.abs(found - golden).max() <= TOLERANCE * np.abs(golden).max()
        if not near:  # NaN is not
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
            Layers of the base, and ``head`` where there is one.
        reduce : Reduce
            Takes a layer's name and its pooled features.

        Returns
        -------
        dict of str to array of shape (b, dims)
            float32 embeddings.
        """
        if HEAD_LAYER not in layers:
            return self.base.encode(batch, layers, reduce)
        assert self.head is not None
        return _encode_with_head(self.base, self.head, self.layer, batch, layers, reduce)


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


def _attach(
    encoder: Encoder, config: LoraConfig | None, head: nn.Module | None, mend: str = "mend adapter.targets"
) -> Attached:
    trunk = trunk_of(encoder)
    attached = Attached(trunk, None if head is None else head.to(next(trunk.parameters()).device), config)
    try:
        if config is not None:
            inject_adapter_in_model(config, trunk, ADAPTER)
            for module in trunk.modules():
                if isinstance(module, BaseTunerLayer):
                    # autocast does it; PEFT would widen what is narrow already
                    module.cast_input_dtype_enabled = False  # pyright: ignore[reportArgumentType]
                if isinstance(module, Linear) and not module.lora_variant:
                    module.forward = MethodType(_plain_lora, module)
    except ValueError as error:
        raise VidsimError(
            f"{encoder.card.name} has no such linear layers: {str(error).splitlines()[0]}; {mend}"
        ) from error
    for value in attached.trainable().values():
        value.requires_grad_()
    return attached


def _plain_lora(self: Any, x: Tensor) -> Tensor:
    """Compute what PEFT does of LoRA without variants, scaled where it is narrow: what is wide is gone through less."""
    if self.merged or self.disable_adapters:
        return Linear.forward(self, x)
    inner = self.lora_A[ADAPTER](self.lora_dropout[ADAPTER](x)) * self.scaling[ADAPTER]
    return self.base_layer(x) + self.lora_B[ADAPTER](inner)


def _peft_name(name: str) -> str:
    return PREFIX + name.replace(f".{ADAPTER}.", ".")


def _encode_with_head(
    base: Encoder, head: nn.Module, layer: str, batch: Any, layers: Sequence[str], reduce: Reduce
) -> dict[str, Float[ndarray, "b _"]]:
    inner = [name for name in layers if name != HEAD_LAYER]
    of_head: list[Fetched] = []

    def tap(name: str, features: Tensor) -> Tensor:
        if name == layer:
            with torch.inference_mode():
                small = reduce(HEAD_LAYER, head(features))
            of_head.append(Fetched(small.float()))
            if layer not in inner:
                return features[:, :1]
        return reduce(name, features)

    found = base.encode(batch, inner if layer in inner else [*inner, layer], tap)
    found = found | {HEAD_LAYER: of_head[0].wait().numpy()}
    return {name: found[name] for name in layers}
