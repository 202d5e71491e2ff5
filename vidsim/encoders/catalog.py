"""The catalog: every encoder by name, found, hashed and loaded. Imports no torch, so that listing models is quick."""

import json
import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, get_args

from vidsim.encoders import zoo
from vidsim.encoders.base import Encoder, EncoderCard, Pooling
from vidsim.encoders.cards import (
    image,
    motion_energy,
    sentence,
    video_cnn,
    video_text,
    video_transformer,
    vision_language,
)
from vidsim.encoders.checkpoint import Resolved, hash_config, hash_weights, needed_beside_weights, read_json
from vidsim.encoders.locate import locate
from vidsim.encoders.own_cards import OwnCards, read_own_cards
from vidsim.errors import NoEncoder, VidsimError
from vidsim.paths import Place

__all__ = ["ALIASES", "CARDS", "Resolved", "card", "cards", "load", "resolve", "resolve_device", "select_layers"]

FAMILIES: Mapping[str, tuple[str, int]] = {
    "image": ("ImageEncoder", 1),
    "motion_energy": ("MotionEnergy", 1),
    "sentence": ("SentenceEncoder", 1),
    "video_cnn": ("VideoCNN", 1),
    "video_text": ("VideoText", 1),
    "video_transformer": ("VideoTransformer", 1),
    "vision_language": ("VisionLanguage", 1),
}
"""Module of ``vidsim.encoders`` to its class, and a version raised when the same weights give other embeddings."""

CARDS: Mapping[str, EncoderCard] = {
    row.name: row
    for rows in (video_transformer, video_cnn, video_text, image, vision_language, sentence, motion_energy)
    for row in rows.ROWS
}
"""Every built-in encoder by name."""

ALIASES: Mapping[str, str] = {
    "timesformer": "timesformer-base",
    "videomae": "videomae-base-finetuned-kinetics",
    "vivit": "vivit-b-16x2-kinetics400",
    "vjepa2": "vjepa2-vitl-fpc64-256",
    "slowfast": "slowfast-r50",
    "i3d": "i3d-r50",
    "c2d": "c2d-r50",
    "xclip": "xclip-base-patch32",
    "clip": "clip-vit-b-32",  # the paper's text names B/16, its table has B/32
    "dino": "dino-vitb16",
    "dinov2": "dinov2-base",
    "dinov3": "dinov3-vitb16",
    "siglip2": "siglip2-base-patch16-224",
    "qwen3-vl": "Qwen3-VL-2B-Instruct",
}
"""Short names of encoders, in lower case."""

NOT_SHAPING = frozenset({"heads", "unused", "file", "package", "processor", "prepared", "mean", "std", "version"})
"""Options that leave embeddings as they are, or that an encoder's identity has in another place."""


def cards() -> Mapping[str, EncoderCard]:
    """Return the cards of all encoders, the user's own behind the built-in ones.

    Returns
    -------
    mapping of str to EncoderCard
        By name; those of the user's that cannot be used are left out (`own_cards` says why).

    Raises
    ------
    VidsimError
        If ``VIDSIM_CARDS`` names a folder that is not there.
    """
    return {**CARDS, **own_cards().cards}


def own_cards() -> OwnCards:
    """Return the user's own cards, from files and packages.

    Returns
    -------
    OwnCards
        Those that can be used, and why the others cannot.

    Raises
    ------
    VidsimError
        If ``VIDSIM_CARDS`` names a folder that is not there.
    """
    return read_own_cards(CARDS, ALIASES)


def card(name: str) -> EncoderCard:
    """Return the card of an encoder, built-in or the user's own.

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
    NoEncoder
        If there is none of this name; the nearest is suggested.
    VidsimError
        If the user's own of this name cannot be used.

    Examples
    --------
    >>> card("VideoMAE").name
    'videomae-base-finetuned-kinetics'
    """
    names = {known.lower(): known for known in CARDS} | {alias.lower(): full for alias, full in ALIASES.items()}
    if name.lower() in names:
        return CARDS[names[name.lower()]]
    found = own_cards()
    names |= {own.lower(): own for own in found.cards}
    if name.lower() in names:
        return found.cards[names[name.lower()]]
    found.refuse(name)
    near = get_close_matches(name.lower(), names, 1, 0.5)
    hint = f"did you mean {names[near[0]]!r}?" if near else f"there are {', '.join((*CARDS, *found.cards))}"
    more = f" ({len(found.left_out)} left out, vidsim models says why)" if found.left_out else ""
    raise NoEncoder(f"no encoder named {name!r}; {hint}{more}")


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
    checkpoint: Place | None = None,
    revision: str | None = None,
    pooling: str | None = None,
    offline: bool = False,
) -> Resolved:
    """Find and hash an encoder's files, without loading them.

    Parameters
    ----------
    name : str or EncoderCard
        Name in the catalog, or a card of one's own.
    checkpoint : str or path, optional
        Local folder with the checkpoint's files, instead of the hub; for a model of the zoo, its file or a folder with
        that.
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
    rule = pooling_of(found, pooling)
    *_, version = _family(found)
    if found.checkpoint is None:
        if checkpoint is not None or revision is not None:
            raise VidsimError(f"{found.name} has no weights; leave --checkpoint and --revision out")
        return Resolved(card=found, version=version, pooling=rule, own=_own(found))
    alternatives = [row.name for row in CARDS.values() if row.checkpoint is None]
    given = None if checkpoint is None else os.fspath(checkpoint)
    source, folder, commit = locate(
        found, checkpoint=given, revision=revision, offline=offline, alternatives=alternatives
    )
    weights_hash = hash_weights(folder)
    if zoo.in_zoo(found):
        zoo.refuse_changed(folder, weights_hash)
        beside = zoo.preprocess_config(found)
    elif found.family in FAMILIES:
        beside = read_json(folder / needed_beside_weights(found))
    else:  # the package knows what it does with frames, and may need no such file
        processor = folder / found.options.get("processor", "preprocessor_config.json")
        beside = read_json(processor) if processor.is_file() else {}
    return Resolved(
        card=found,
        version=version,
        pooling=rule,
        source=source,
        folder=folder,
        local=None if checkpoint is None else os.fspath(folder.resolve()),
        revision=commit,
        weights_hash=weights_hash,
        config_hash=hash_config(folder),
        preprocess=beside if found.modality != "text" else {},
        followed=found.family in FAMILIES,
        own=_own(found),
    )


def pooling_of(of: EncoderCard, wanted: str | None) -> Pooling:
    """Choose the rule from token map to vector.

    Parameters
    ----------
    of : EncoderCard
        The encoder.
    wanted : {"cls", "mean", "flatten"}, optional
        Instead of the card's.

    Returns
    -------
    str
        The rule.

    Raises
    ------
    VidsimError
        If the encoder cannot be pooled so.

    Examples
    --------
    >>> pooling_of(card("timesformer-base"), "mean")
    'mean'
    """
    if wanted is None or wanted == of.pooling:
        return of.pooling
    if "text" in of.modality or of.pooling == "none":
        raise VidsimError(f"{of.name} has one pooling, {of.pooling!r}; leave --pooling out instead of {wanted!r}")
    rules = [rule for rule in get_args(Pooling) if rule != "none"]
    if wanted not in rules:
        raise VidsimError(f"no pooling {wanted!r}; expected one of {', '.join(rules)}")
    if wanted == "cls" and not of.options.get("prefix_tokens", of.family == "video_text"):
        raise VidsimError(f"{of.name} has no CLS token to pool with; expected mean or flatten instead of 'cls'")
    return wanted  # pyright: ignore[reportReturnType]


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
        If the device is not there or has too little memory, the checkpoint does not fit the card (every difference
        names both values), or the family of another package raises anything or makes no encoder.
    """
    from vidsim.encoders.machine import able  # imports torch
    from vidsim.encoders.prepared import refuse_other_steps  # imports numpy, which listing models does not need

    where = resolve_device(device)
    refuse_other_steps(resolved)
    card = resolved.card
    given = card if card.checkpoint is None else resolved
    module, name, _ = _family(card)
    with able(where, "free some of it, or give another --device"):
        if card.family not in FAMILIES:
            from vidsim.encoders.package_family import make_encoder

            return make_encoder(card, given, where)
        return getattr(import_module(module), name)(given, where)


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


def _family(of: EncoderCard) -> tuple[str, str, int]:
    """Name module, class and version of a family; that of another package is written module:Class."""
    if of.family in FAMILIES:
        name, version = FAMILIES[of.family]
        return f"vidsim.encoders.{of.family}", name, version
    module, colon, name = of.family.partition(":")
    if not (colon and module and name):
        raise VidsimError(
            f"no family {of.family!r} for {of.name}; expected one of {', '.join(FAMILIES)}, "
            "or module:Class of a package"
        )
    version = of.options.get("version", 1)
    if not isinstance(version, int) or isinstance(version, bool):
        raise VidsimError(f"{of.name} has version {version!r} among its options; expected a whole number")
    return module, name, version


def _own(of: EncoderCard) -> Mapping[str, Any]:
    """Gather what shapes the embeddings of a card that is not built in, as JSON has it."""
    own, built_in = _shaping(of), CARDS.get(of.name)
    if built_in is not None and own == _shaping(built_in):
        return {}
    # what JSON cannot hold, of a package's card, goes by its name
    return json.loads(json.dumps(own, default=lambda value: getattr(value, "__qualname__", str(value))))


def _shaping(of: EncoderCard) -> dict[str, Any]:
    # what another package makes of its options is not known here: all count
    indifferent = NOT_SHAPING if of.family in FAMILIES else ()
    found = {"architecture": of.architecture, **of.options}
    return {key: value for key, value in found.items() if value is not None and key not in indifferent}
