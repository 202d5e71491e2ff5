"""Attached: LoRA weights inside an encoder, and a head behind it (METHODS, section 4). The door to PEFT."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from vidsim.adapt.trunk import trunk_of
from vidsim.encoders.base import Encoder
from vidsim.errors import VidsimError

PREFIX = "base_model.model."
"""What PEFT puts in front of the names of the base's modules."""

ADAPTER = "default"


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
        One that can be trained. It is changed.
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
        return attach_as(encoder, None, head)
    config = LoraConfig(
        r=rank,
        lora_alpha=scaling,  # pyright: ignore[reportArgumentType]  # any number does
        target_modules=list(targets),
        lora_dropout=dropout,
        bias="none",
        base_model_name_or_path=encoder.card.checkpoint,
        revision=encoder.resolved.revision,  # pyright: ignore[reportAttributeAccessIssue]  # of all that can be trained
    )
    return attach_as(encoder, config, head)


def attach_as(
    encoder: Encoder, config: LoraConfig | None, head: nn.Module | None, mend: str = "mend adapter.targets"
) -> Attached:
    """Put new weights inside and behind an encoder, as a configuration of PEFT's says.

    Parameters
    ----------
    encoder : Encoder
        As for `attach`.
    config : LoraConfig, optional
        None for no LoRA weights.
    head : Module, optional
        The head.
    mend : str
        What to do where there are no such modules, for the error.

    Returns
    -------
    Attached
        As of `attach`.

    Raises
    ------
    VidsimError
        As of `attach`.
    """
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
