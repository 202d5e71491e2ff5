"""Leaves: every module of a network that holds no other, as a layer.

The paper's extraction takes all of them. Here a leaf counts if its output tells clips apart: modules that hand their
input through (dropout, identity), run more than once in a pass, or give the same for every clip (tables of positions)
are left out. A linear layer that an adapter has wrapped counts as the one leaf that it was.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd  # pyright: ignore[reportPrivateUsage]

from vidsim.encoders.base import Encoder, EncoderCard, Pooling
from vidsim.errors import VidsimError

PASSING = (_DropoutNd, nn.Identity)
"""Modules that hand their input through when nothing is trained."""

FEATURES_LAST = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding)
"""Modules whose features stand last, whatever the shape; of other maps of four axes and more they come second."""

CAPTIONS = ("A dog runs across a field.", "Two people sit at a table; one of them laughs, the other looks away.")
"""What encoders that read are asked to tell apart."""

WRAPPED = "base_layer"
"""What an adapter calls the layer that it has wrapped."""

SAMPLED = 512
"""Features of a layer that are compared, at most."""


def leaf_vectors(
    module: nn.Module, output: Float[Tensor, "rows ..."], inputs: int, rule: Pooling
) -> Float[Tensor, "inputs features"]:
    """Turn the output of any module into one vector per input.

    Parameters
    ----------
    module : Module
        Where it comes from.
    output : tensor of shape (rows, ...)
        Inputs may have been cut in parts (frames, places): the rows of each stand together.
    inputs : int
        How many inputs the pass has.
    rule : {"cls", "mean", "flatten", "none"}
        All values side by side, or (every other rule) the mean over everything but the features: only blocks have a
        CLS token at a place that is known.

    Returns
    -------
    tensor of shape (inputs, features)
        NaN of one feature where the rows cannot be shared out.

    Examples
    --------
    >>> tokens = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])  # two frames of two tokens
    >>> leaf_vectors(nn.Linear(2, 2), tokens, 1, "cls").tolist(), leaf_vectors(nn.ReLU(), tokens, 2, "mean").tolist()
    ([[4.0, 5.0]], [[2.0, 3.0], [6.0, 7.0]])
    """
    if output.ndim < 2 or len(output) % inputs:
        return output.new_full((inputs, 1), torch.nan)
    apart = output.unflatten(0, (inputs, -1))
    if rule == "flatten":
        return apart.flatten(1)
    module = getattr(module, WRAPPED, module)
    features = apart.ndim - 1 if output.ndim <= 3 or isinstance(module, FEATURES_LAST) else 2
    return apart.mean([axis for axis in range(1, apart.ndim) if axis != features])


def all_layers(encoder: Encoder) -> tuple[str, ...]:
    """List the layers of an encoder's card and all its leaves, in the order in which they run.

    Two drawn clips are encoded together, and one of them alone: a leaf is listed if its vector differs between clips
    and does not depend on what else is in the batch.

    Parameters
    ----------
    encoder : Encoder
        An encoder with a network.

    Returns
    -------
    tuple of str
        Real module paths; layers that no module gives (a pipeline's output) stand last.

    Raises
    ------
    VidsimError
        If it has no network, or none of its leaves can be used.
    """
    model = getattr(encoder, "model", None)
    card = encoder.card
    if not isinstance(model, nn.Module):
        raise VidsimError(f"{card.name} has no modules: its layers are all it computes; leave --all-modules out")
    stimuli = _stimuli(encoder)
    ran = _run_once(encoder, model, stimuli[:1])
    leaves = [name for name in ran if name not in card.layers]
    both, alone = (
        encoder.encode(_batch(encoder, some), [*leaves, *_last(card)], _sample) for some in (stimuli, stimuli[:1])
    )
    telling = {name for name in leaves if _tells(both[name], alone[name])}
    if not telling:
        raise VidsimError(f"no leaf module of {card.name} tells two clips apart; leave --all-modules out")
    order = [name for name in ran if name in telling or name in card.layers]
    return (*order, *(name for name in card.layers if name not in ran))


def _run_once(encoder: Encoder, model: nn.Module, stimuli: Sequence[Any]) -> list[str]:
    """List the card's layers and the leaves that run once and give a tensor, in the order in which they end."""
    runs: Counter[str] = Counter()
    handles: list[Any] = []
    for name, module, leaf in _modules(model):
        own = name in encoder.card.layers
        if not own and (isinstance(module, PASSING) or not leaf):
            continue

        def hook(_module: nn.Module, _inputs: object, output: Any, name: str = name, own: bool = own) -> None:
            if own or (isinstance(output, Tensor) and output.is_floating_point()):
                runs[name] += 1

        handles.append(module.register_forward_hook(hook))
    try:
        encoder.encode(_batch(encoder, stimuli), _last(encoder.card), _sample)
    finally:
        for handle in handles:
            handle.remove()
    return [name for name, times in runs.items() if times == 1 or name in encoder.card.layers]


def _modules(model: nn.Module) -> Iterator[tuple[str, nn.Module, bool]]:
    """List modules with their paths, and whether each is a leaf; nothing within a wrapped layer."""
    within: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if name.startswith(within):
            continue
        wrapped = hasattr(module, WRAPPED)
        if wrapped:
            within = (*within, f"{name}.")
        yield name, module, wrapped or not any(True for _ in module.children())


def _last(card: EncoderCard) -> tuple[str, ...]:
    """Name what keeps a pass going to its end: the last layer, and the one before, as an adapter's head may be last."""
    return card.layers[-2:]


def _stimuli(encoder: Encoder) -> list[Any]:
    """Draw two stimuli that have nothing in common."""
    card = encoder.card
    if card.modality == "text":
        return [encoder.prepare((caption,)) for caption in CAPTIONS]
    assert card.sampling is not None
    t, y, x, colour = np.meshgrid(*(np.arange(n) for n in (card.sampling.frames, 48, 64, 3)), indexing="ij")
    grating = 127.5 + 127.5 * np.sin((x + 3 * t) / 5 + colour) * np.cos((y - 2 * t) / 4)
    noise = np.random.default_rng(0).uniform(0, 255, grating.shape)
    clips = [
        torch.stack([torch.as_tensor(encoder.prepare(frame)) for frame in np.rint(clip).astype(np.uint8)])
        for clip in (grating, noise)
    ]
    return clips if card.modality != "video+text" else [(c, (text,)) for c, text in zip(clips, CAPTIONS, strict=True)]


def _batch(encoder: Encoder, stimuli: Sequence[Any]) -> Any:
    return stimuli if "text" in encoder.card.modality else torch.stack(list(stimuli))


def _sample(_layer: str, features: Tensor) -> Tensor:
    return features[:, :: max(1, features.shape[1] // SAMPLED)]


def _tells(both: Float[np.ndarray, "2 d"], alone: Float[np.ndarray, "1 _"]) -> bool:
    if both.shape[1:] != alone.shape[1:] or not (np.isfinite(both).all() and np.isfinite(alone).all()):
        return False
    size = float(np.abs(both).max())
    differs = float(np.abs(both[0] - both[1]).max()) > 1e-6 * size  # more than rounding
    return differs and float(np.abs(both[0] - alone[0]).max()) <= 1e-3 * size
