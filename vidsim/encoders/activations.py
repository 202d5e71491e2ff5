"""Activations: the outputs of a model's own modules, reduced as they appear in one forward pass."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vidsim.encoders.base import Pooling, Reduce
from vidsim.encoders.transfer import Fetched
from vidsim.errors import VidsimError

Sink = Callable[[str, Any], None]
"""Takes a layer's name and its output: a tensor, or a list of them where a network has several pathways."""


class _Complete(Exception):
    """Leave the forward pass: every wanted layer has been seen."""


@contextmanager
def capture(model: nn.Module, layers: Sequence[str], sink: Sink, *, stop: bool = True) -> Generator[None]:
    """Hand the outputs of modules to ``sink`` while the model runs inside the ``with``.

    Parameters
    ----------
    model : Module
        The model.
    layers : sequence of str
        Real module paths.
    sink : callable
        Called once a layer with its name and its output (the first tensor of a tuple, a list whole), in the order of
        the pass.
    stop : bool
        Leave the ``with`` when the last wanted layer has run, without running the rest of the model.

    Yields
    ------
    None
        Run the model once here.

    Raises
    ------
    VidsimError
        If the model has no module of that name, or a module did not run.
    """
    modules = find_modules(model, layers)
    waiting = set(layers)
    handles: list[RemovableHandle] = []

    def hook_of(layer: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: Any) -> None:
            waiting.discard(layer)
            sink(layer, output if isinstance(output, Tensor | list) else output[0])
            if stop and not waiting:
                raise _Complete

        return hook

    try:
        handles += [module.register_forward_hook(hook_of(layer)) for layer, module in modules.items()]
        yield
    except _Complete:
        pass
    finally:
        for handle in handles:
            handle.remove()
    if waiting:
        raise VidsimError(f"layer {min(waiting)!r} has no part in the forward pass; leave it out of --layers")


def collect(
    model: nn.Module,
    layers: Sequence[str],
    forward: Callable[[], Any],
    features: Callable[[str, Any], Tensor],
    reduce: Reduce,
    *,
    stop: bool = True,
) -> dict[str, Float[ndarray, "batch _"]]:
    """Run one forward pass and keep every wanted layer in reduced form.

    A layer's output is pooled, reduced and sent to the CPU inside its hook, so memory on the device does
    not grow with the number of layers.

    Parameters
    ----------
    model : Module
        The model.
    layers : sequence of str
        Real module paths.
    forward : callable
        Runs the model once.
    features : callable
        Takes a layer's name and its output; returns (batch, features).
    reduce : Reduce
        Takes the layer's name and those features; returns (batch, dims).
    stop : bool
        Leave the forward pass at the last wanted layer.

    Returns
    -------
    dict of str to array of shape (batch, dims)
        float32 on the CPU, in the order of ``layers``.
    """
    found: dict[str, Fetched] = {}

    def sink(layer: str, output: Any) -> None:
        found[layer] = Fetched(reduce(layer, features(layer, single(output))).float())

    # float32 means float32 on a GPU too: convolutions would use TF32 there, and give other embeddings than a CPU
    own = torch.backends.cudnn
    exact = own.flags(
        enabled=own.enabled,
        benchmark=own.benchmark,
        benchmark_limit=own.benchmark_limit,
        deterministic=own.deterministic,
        allow_tf32=False,
    )
    with torch.inference_mode(), exact, capture(model, layers, sink, stop=stop):
        forward()
    return {layer: found[layer].wait().numpy() for layer in layers}


def single(output: Any) -> Any:
    """Widen a layer's output: under autocast blocks give bfloat16, and means over their tokens are taken in float32.

    Parameters
    ----------
    output : tensor, or list of tensor
        Of any floating-point precision.

    Returns
    -------
    tensor, or list of tensor
        In float32.
    """
    if isinstance(output, list):
        return [part.float() for part in output]
    return output.float()


def find_modules(model: nn.Module, layers: Sequence[str]) -> Mapping[str, nn.Module]:
    """Find modules by their path.

    Parameters
    ----------
    model : Module
        The model.
    layers : sequence of str
        Real module paths.

    Returns
    -------
    mapping of str to Module
        The modules, in the order of ``layers``.

    Raises
    ------
    VidsimError
        If there is no module of that name; the nearest is suggested.
    """
    modules = dict(model.named_modules())
    for layer in layers:
        if not layer or layer not in modules:
            near = get_close_matches(layer, [name for name in modules if name], 1, 0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise VidsimError(f"{type(model).__name__} has no module {layer!r}{hint}")
    return {layer: modules[layer] for layer in layers}


def pool(tokens: Float[Tensor, "batch *rest"], rule: Pooling, prefix_tokens: int) -> Float[Tensor, "batch features"]:
    """Turn token maps into vectors.

    Parameters
    ----------
    tokens : tensor of shape (batch, tokens, width), or (batch, width)
        Output of a layer. One that is a vector per input already (the final norm of CLIP, which only reads the
        CLS token) stays as it is under every rule.
    rule : {"cls", "mean", "flatten", "none"}
        First token; mean over patch tokens, without those in front of them; all tokens side by side.
    prefix_tokens : int
        Tokens that stand before the patch tokens.

    Returns
    -------
    tensor of shape (batch, features)
        One vector per input.

    Raises
    ------
    VidsimError
        If the rule does not fit the tokens, or none is behind those in front.

    Examples
    --------
    >>> tokens = torch.tensor([[[9.0, 9.0], [1.0, 2.0], [3.0, 4.0]]])
    >>> pool(tokens, "cls", 1).tolist(), pool(tokens, "mean", 1).tolist()
    ([[9.0, 9.0]], [[2.0, 3.0]])
    """
    if tokens.ndim == 2:
        return tokens
    if rule == "flatten":
        return tokens.flatten(1)
    if rule == "mean":
        if prefix_tokens >= tokens.shape[1]:
            raise VidsimError(
                f"options.prefix_tokens of the card leaves out {prefix_tokens} tokens, and a layer has "
                f"{tokens.shape[1]}; expected those in front of the patches, fewer than there are: mend the card"
            )
        return tokens[:, prefix_tokens:].mean(1)
    if rule == "cls" and prefix_tokens:
        return tokens[:, 0]
    raise VidsimError(f"pooling {rule!r} does not fit tokens of shape {tuple(tokens.shape)}; expected mean or flatten")


def pool_maps(maps: Tensor | list[Tensor], rule: Pooling) -> Float[Tensor, "batch features"]:
    """Turn feature maps of convolutions into vectors.

    Parameters
    ----------
    maps : tensor of shape (batch, channels, t, h, w) or (batch, channels), or a list of them
        Output of a layer; of a network with several pathways, those of all. Their vectors go side by side.
    rule : {"cls", "mean", "flatten", "none"}
        Mean over time and space; or all values side by side.

    Returns
    -------
    tensor of shape (batch, features)
        One vector per clip.

    Raises
    ------
    VidsimError
        If the rule does not fit maps.

    Examples
    --------
    >>> slow, fast = torch.arange(8.0).view(1, 2, 1, 2, 2), torch.ones(1, 1, 4, 2, 2)
    >>> pool_maps([slow, fast], "mean").tolist(), pool_maps(slow, "flatten").shape
    ([[1.5, 5.5, 1.0]], torch.Size([1, 8]))
    """
    if isinstance(maps, list):
        return torch.cat([pool_maps(pathway, rule) for pathway in maps], 1)
    if maps.ndim == 2 or rule == "flatten":
        return maps.flatten(1)
    if rule == "mean":
        return maps.flatten(2).mean(2)
    raise VidsimError(f"pooling {rule!r} does not fit maps of shape {tuple(maps.shape)}; expected mean or flatten")
