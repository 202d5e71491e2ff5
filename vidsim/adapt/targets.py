"""Targets: the linear layers that take LoRA weights."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from jaxtyping import Float
from torch import Tensor, nn

from vidsim.adapt.recipe import Unfit
from vidsim.adapt.trunk import trunk_of
from vidsim.encoders.base import Encoder
from vidsim.errors import VidsimError


def find_targets(
    encoder: Encoder, layer: str, wanted: str | Sequence[str], embed: Callable[[], Float[Tensor, "n d"]]
) -> tuple[str, ...]:
    """Find the linear layers that take LoRA weights: what has no part in the trained layer would learn nothing.

    Parameters
    ----------
    encoder : Encoder
        One that can be trained.
    layer : str
        Layer of the card that is trained.
    wanted : {"attention", "all-linear"}, or sequence of str
        Those that the card names, all of its blocks, or ends of names.
    embed : callable
        Embeds a stimulus or more by the layer, following gradients.

    Returns
    -------
    tuple of str
        The ends, where all that they mean has a part; else whole names, as in the encoder's network.

    Raises
    ------
    Unfit
        If the encoder has no such linear layers, or they have no part.
    VidsimError
        If the card names some that it has not, modules that are none, or none that has a part.
    """
    named = {"attention": encoder.card.lora_targets, "all-linear": linear_layers(encoder)}
    ends = named[wanted] if isinstance(wanted, str) else tuple(wanted)
    there = dict(trunk_of(encoder).named_modules())
    meant = {end: [path for path in there if f".{path}".endswith(f".{end}")] for end in ends}
    key = "lora_targets of its card" if wanted == "attention" else "adapter.targets"
    name = encoder.card.name
    for end, paths in meant.items():
        kinds = {path: type(there[path]).__name__ for path in paths if not isinstance(there[path], nn.Linear)}
        if kinds or not paths:  # PEFT takes all that it can of such a list, and says nothing of the rest
            odd = "".join(f" ({path} is a {kind})" for path, kind in [*kinds.items()][:1])
            _refuse(key, f"{name} has no such linear layers: {end!r}{odd}")
    learning = _learning(there, embed)
    idle = [end for end in ends if learning.isdisjoint(meant[end])]
    if len(idle) == len(ends) or (idle and not isinstance(wanted, str)):
        what = repr(idle[0]) if idle else "linear layer of its blocks"
        _refuse(key, f"no {what} of {name} has a part in its layer {layer!r}, which is trained")
    paths = dict.fromkeys(path for end in ends for path in meant[end])
    return ends if learning.issuperset(paths) else tuple(path for path in paths if path in learning)


def linear_layers(encoder: Encoder) -> tuple[str, ...]:
    """List the linear layers inside an encoder's blocks.

    Parameters
    ----------
    encoder : Encoder
        One that can be trained.

    Returns
    -------
    tuple of str
        Their names in its network.
    """
    trunk = trunk_of(encoder)
    names = {id(module): name for name, module in trunk.named_modules()}
    model: Any = getattr(encoder, "model", trunk)
    within = tuple(f"{names[id(model.get_submodule(block))]}." for block in encoder.card.blocks)
    return tuple(
        name for name, module in trunk.named_modules() if isinstance(module, nn.Linear) and name.startswith(within)
    )


def _learning(modules: Mapping[str, nn.Module], embed: Callable[[], Float[Tensor, "n d"]]) -> set[str]:
    """Tell which linear layers a gradient of the embeddings reaches: names and the order of a card say little."""
    found: set[str] = set()
    handles = [
        module.register_forward_hook(partial(_follow, found, name))
        for name, module in modules.items()
        if isinstance(module, nn.Linear)
    ]
    try:
        total = embed().sum()
        if total.requires_grad:  # it does once a linear layer has run
            total.backward()
    finally:
        for handle in handles:
            handle.remove()
    return found


def _follow(found: set[str], name: str, _module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
    """Give an output a gradient, which is noted when it comes."""
    followed = output + output.new_zeros((), requires_grad=True)
    followed.register_hook(partial(_note, found, name))
    return followed


def _note(found: set[str], name: str, _gradient: Tensor) -> None:
    found.add(name)


def _refuse(key: str, said: str) -> NoReturn:
    said = f"{said}; mend {key}"
    raise Unfit(key, said) if key == "adapter.targets" else VidsimError(said)
