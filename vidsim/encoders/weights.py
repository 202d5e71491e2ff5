"""Weights: load a checkpoint into a model strictly."""

import json
import os
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn
from transformers.utils import logging as transformers_logging

from vidsim.encoders.checkpoint import Resolved, read_json, weights_of
from vidsim.encoders.machine import of_machine
from vidsim.encoders.pickled import original, published, safe_folder
from vidsim.errors import VidsimError

FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
"""Numbers that weights may be stored in, as safetensors names them; any other were rounded or want a scale."""


def load_strictly(
    architecture: str, folder: Path, *, heads: Sequence[str] = (), optional: Sequence[str] = (), **init: Any
) -> Any:
    """Build a model of transformers and fill it; no weight may be missing, none left over.

    Parameters
    ----------
    architecture : str
        Class of transformers.
    folder : Path
        Folder with ``config.json`` and safetensors.
    heads : sequence of str
        Prefixes of weights in the file that the model has no place for, by design.
    optional : sequence of str
        Prefixes of weights in the model that the file may lack, because no layer of the card reads them.
    **init
        Keyword arguments of the class, ``options.init`` of a card.

    Returns
    -------
    PreTrainedModel
        The model, in evaluation mode, in float32, without gradients.

    Raises
    ------
    VidsimError
        If weights are missing, left over, of another shape or stored in whole numbers (the first of them are named),
        the model needs one that begins as ``heads`` say, the class does not take ``init``, or a file cannot be read.
    """
    place = original(folder)
    where = os.fspath(place)
    family = _class(architecture)
    stored = {path: _dtypes(path) for path in weights_of(folder)}
    with quiet_transformers():
        try:
            model, told = family.from_pretrained(
                os.fspath(folder),
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are told, and refused below with both shapes
                **init,
            )
        except Exception as error:  # what config.json asks for is code of the library, which fails in its own ways
            if of_machine(error):
                raise
            said = str(error).replace(os.fspath(folder), where)
            said = " ".join(said.split())[:200].rstrip(".") or type(error).__name__
            odd = next((name for name in init if repr(name) in said), None)
            mend = f"mend {odd} in options.init of the card" if odd else "expected config.json and weights as published"
            if not odd and (changed := _overridden(folder, init)):
                mend += f", and {', '.join(changed)} in options.init of the card to fit them"
            raise VidsimError(f"{where!r} cannot be loaded as {architecture}: {said}; {mend}") from error
    config = os.fspath(place / "config.json")
    changed = ", ".join(_overridden(folder, init))
    _refuse_misfit(
        where,
        architecture,
        told["mismatched_keys"],
        [name for name in told["missing_keys"] if not name.startswith(tuple(optional))],
        [name for name in told["unexpected_keys"] if not name.startswith(tuple(heads))],
        of_shapes="" if changed else f"; either they or {config!r} are not as published",
        of_any=f"; options.init of the card overrides {changed} of {config!r}: either that or a file is wrong"
        if changed
        else "",
    )
    _refuse_needed(model, architecture, [head for head in heads if not head.startswith(tuple(optional))])
    _refuse_rounded(model, stored, heads)
    return model.eval().requires_grad_(requires_grad=False)


def fill_strictly(model: nn.Module, resolved: Resolved) -> None:
    """Fill a network of our own with the weights of one file; none may be missing, none left over.

    Parameters
    ----------
    model : Module
        The network, on the meta device. It ends in evaluation mode, in float32, without gradients.
    resolved : Resolved
        Its card and file.

    Raises
    ------
    VidsimError
        If weights are missing, left over, of another shape or stored in whole numbers (the first of them are named), or
        cannot be read.
    """
    assert resolved.folder is not None
    where, path = os.fspath(resolved.folder), safe_folder(resolved)
    path = path if path.is_file() else path / "model.safetensors"
    stored = {path: _dtypes(path)}
    state = load_file(path)
    expected = model.state_dict()
    _refuse_misfit(
        where,
        f"{resolved.card.architecture} of {resolved.card.name}",
        [
            (name, state[name].shape, tensor.shape)
            for name, tensor in expected.items()
            if name in state and state[name].shape != tensor.shape
        ],
        expected.keys() - state.keys(),
        state.keys() - expected.keys(),
    )
    _refuse_rounded(model, stored)
    model.load_state_dict({name: value.to(expected[name].dtype) for name, value in state.items()}, assign=True)
    model.eval().requires_grad_(requires_grad=False)


def refuse_other_model(architecture: str, folder: Path) -> None:
    """Refuse the checkpoint of another kind of model before its configuration is taken for one of this kind.

    Parameters
    ----------
    architecture : str
        Class of transformers.
    folder : Path
        Folder with ``config.json``.

    Raises
    ------
    VidsimError
        If the configuration names another model.
    """
    expected = getattr(getattr(_class(architecture), "config_class", None), "model_type", None)
    if not expected:
        raise VidsimError(f"{architecture} of transformers is no class of one model; expected one such as XCLIPModel")
    found = read_json(folder / "config.json").get("model_type")
    if found != expected:
        raise VidsimError(
            f"{os.fspath(folder)!r} holds a model of type {found!r}; expected {expected!r} for {architecture}"
        )


def check_fit(
    model: nn.Module,
    resolved: Resolved,
    fields: Mapping[str, str] = MappingProxyType({}),
    **facts: tuple[object, object],
) -> None:
    """Refuse a checkpoint that is not what the card says.

    Parameters
    ----------
    model : Module
        The loaded model.
    resolved : Resolved
        Its card.
    fields : mapping of str to str
        Where the checkpoint's configuration has a fact, which ``options.init`` of a card may override.
    **facts : tuple
        What the card says and what the checkpoint says, by name.

    Raises
    ------
    VidsimError
        If two values differ; both are told.
    """
    where = os.fspath(resolved.folder or "")
    remedy = "give another or mend its card" if resolved.own else f"is it {resolved.card.checkpoint}?"
    parameters = sum(weight.numel() for weight in model.parameters())
    compared: Mapping[str, tuple[object, object]] = {**facts, "parameters": (resolved.card.parameters, parameters)}
    for name, (card, checkpoint) in compared.items():
        if name == "parameters" and card == 0:  # a user's card need not count them
            continue
        if card != checkpoint and (field := fields.get(name)) in resolved.card.options.get("init", {}):
            raise VidsimError(
                f"{resolved.card.name} expects {name.replace('_', ' ')} {card}, and options.init.{field} of its card "
                f"says {checkpoint}; mend one of the two"
            )
        if card != checkpoint:
            raise VidsimError(
                f"{resolved.card.name} expects {name.replace('_', ' ')} {card}, the checkpoint in {where!r} has "
                f"{checkpoint}; {remedy}"
            )


@contextmanager
def quiet_transformers() -> Generator[None]:
    """Silence the progress bars and the chatter of transformers; what matters is checked and raised."""
    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def _class(architecture: str) -> Any:
    try:
        found = getattr(transformers, architecture, None)
        known = hasattr(found, "from_pretrained")
    except ImportError as error:  # a class that needs a package which is not here
        said = " ".join(str(error).split())
        raise VidsimError(f"transformers cannot give {architecture}: {said}") from error
    if not known:  # the card is a user's
        raise VidsimError(f"transformers has no model {architecture!r}; expected one such as VideoMAEModel")
    return found


def _dtypes(path: Path) -> dict[str, str]:
    """Read from the header what numbers tensors are stored in."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise VidsimError(
            f"{os.fspath(path)!r} cannot be read as safetensors: {error}; it is damaged or cut off: download it again"
        ) from error


def _refuse_needed(model: Any, architecture: str, heads: Sequence[str]) -> None:
    """Refuse heads that are none: no weight of the model may begin so, as it or a file with its prefix names it."""
    for name in model.state_dict():
        head = next((one for one in heads if f"{model.base_model_prefix}.{name}".startswith(one)), None)
        head = head or next((one for one in heads if name.startswith(one)), None)
        if head is not None:
            raise VidsimError(
                f"options.heads of the card names {head!r}, and {architecture} needs {name}; expected how weights "
                "begin that it has no use for"
            )


def _refuse_rounded(model: nn.Module, stored: Mapping[Path, Mapping[str, str]], heads: Sequence[str] = ()) -> None:
    """Refuse weights in numbers that mean nothing once they are cast to float32."""
    # files may have other prefixes and other names in the middle than models, but not at their ends
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    ends = {
        real: {name.rpartition(".")[2] for name, tensor in tensors.items() if tensor.is_floating_point() == real}
        for real in (True, False)
    }
    ignored = [
        pattern
        for part in model.modules()
        for pattern in getattr(part, "_keys_to_ignore_on_load_unexpected", None) or ()
    ]
    for path, dtypes in stored.items():
        for name, dtype in dtypes.items():
            counts = name.rpartition(".")[2] in ends[False] - ends[True] or name.startswith(tuple(heads))
            if dtype in FLOATS or counts or any(re.search(pattern, name) for pattern in ignored):
                continue
            raise VidsimError(
                f"{os.fspath(published(path))!r} holds {name} as {dtype}; expected {', '.join(sorted(FLOATS))}: "
                "weights that were rounded or quantised cannot be used; download them in floating point"
            )


def _refuse_misfit(
    where: str,
    architecture: str,
    mismatched: Iterable[tuple[str, Sequence[int], Sequence[int]]],
    missing: Iterable[str],
    unexpected: Iterable[str],
    *,
    of_shapes: str = "",
    of_any: str = "",
) -> None:
    shapes = [f"{name} is {_shape(have)}, expected {_shape(want)}" for name, have, want in sorted(mismatched)]
    kinds = (
        shapes,
        [f"{name} is missing" for name in sorted(missing)],
        [f"{name} is left over" for name in sorted(unexpected)],
    )
    # the first of each kind: names that are left over show why others are missing
    said = "; ".join(_first(problems) for problems in kinds if problems)
    if said:
        raise VidsimError(
            f"the weights in {where!r} do not fit {architecture}: {said}{of_shapes if shapes else ''}{of_any}"
        )


def _overridden(folder: Path, init: Mapping[str, Any]) -> list[str]:
    """List the arguments that stand in ``config.json`` too, with other values."""
    config = read_json(folder / "config.json") if init else {}
    given = json.loads(json.dumps(init))  # lists, where a card of a package has tuples
    return [key for key, value in given.items() if key in config and config[key] != value]


def _first(problems: Sequence[str], count: int = 3) -> str:
    return "; ".join(problems[:count]) + (f" and {len(problems) - count} more" if len(problems) > count else "")


def _shape(shape: Any) -> str:
    return "x".join(map(str, shape))
