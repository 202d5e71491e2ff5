"""Weights: load a checkpoint into a model strictly, and turn pickles of plain tensors into safetensors."""

import logging
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.utils import logging as transformers_logging

from vidsim.encoders.checkpoint import Resolved, cache_folder, hash_folder, parts_of, read_json, weights_of
from vidsim.errors import VidsimError

log = logging.getLogger(__name__)

ZOO_PART = "model_state"
"""Entry of a zoo file that holds the weights; beside it are an optimizer's and the configuration."""

FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
"""Numbers that weights may be stored in, as safetensors names them; any other were rounded or want a scale."""

PLAIN = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)
"""Numbers that a pickle may hold; whole ones count things or number places."""

CONVERTED: dict[Path, Path] = {}
"""Copies in the cache that this process has used, and what they were made from: messages name the user's files."""


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
        Keyword arguments of the class.

    Returns
    -------
    PreTrainedModel
        The model, in evaluation mode, in float32, without gradients.

    Raises
    ------
    VidsimError
        If weights are missing, left over, of another shape or stored in whole numbers (the first of them are named), or
        a file cannot be read.
    """
    place = _original(folder)
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
            said = str(error).replace(os.fspath(folder), where)
            said = " ".join(said.split())[:200].rstrip(".") or type(error).__name__
            raise VidsimError(
                f"{where!r} cannot be loaded as {architecture}: {said}; expected config.json and weights as published"
            ) from error
    _refuse_misfit(
        where,
        architecture,
        told["mismatched_keys"],
        [name for name in told["missing_keys"] if not name.startswith(tuple(optional))],
        [name for name in told["unexpected_keys"] if not name.startswith(tuple(heads))],
        f"; either they or {os.fspath(place / 'config.json')!r} are not as published",
    )
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


def safe_folder(resolved: Resolved) -> Path:
    """Return a folder with the checkpoint's weights as safetensors, converting them once if they are pickled.

    Parameters
    ----------
    resolved : Resolved
        An encoder with a checkpoint.

    Returns
    -------
    Path
        The checkpoint's own folder (or file, of the zoo), or a folder with a copy in the cache.

    Raises
    ------
    VidsimError
        If a pickle holds anything but plain tensors, or the cache cannot be written.
    """
    folder = resolved.folder
    assert folder is not None, f"{resolved.card.name} has no checkpoint"
    if all(path.suffix == ".safetensors" for path in weights_of(folder)):
        return folder
    home, stem = cache_folder() / "checkpoints", f"{resolved.weights_hash[:32]}-{resolved.config_hash[:16]}"
    made = _find_copy(home, stem) or _make_copy(folder, home, stem)
    CONVERTED[made] = folder
    return made


def read_pickle(path: Path, part: str | None = None) -> dict[str, Tensor]:
    """Read a pickled state dict of plain tensors, running no code from it.

    Parameters
    ----------
    path : Path
        ``pytorch_model.bin`` or a shard of it, or a file of the zoo.
    part : str, optional
        Entry that holds the state dict, where it is not alone: training leaves its own state beside it.

    Returns
    -------
    dict of str to Tensor
        The tensors.

    Raises
    ------
    VidsimError
        If it holds anything else; the first tensor that is not plain is named.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that are then refused
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle misleads its reader into any of them
        raise VidsimError(
            f"{os.fspath(path)!r} is not a pickle of plain tensors and may run code, so it is not loaded; "
            f"expected {'model.safetensors, or a state dict' if part is None else f'named tensors under {part}'}; "
            "if it was one, it is damaged: fetch it again"
        ) from error
    if part is not None:
        if not isinstance(state, dict) or part not in state:
            keys = ", ".join(map(str, list(state)[:3])) if isinstance(state, dict) else type(state).__name__
            raise VidsimError(f"{os.fspath(path)!r} holds {keys}; expected a checkpoint of the zoo, with {part}")
        state = state[part]
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise VidsimError(f"{os.fspath(path)!r} holds more than named tensors; expected a plain state dict")
    for name, value in state.items():
        if (oddity := _oddity(value)) is not None:
            raise VidsimError(
                f"{os.fspath(path)!r} holds {oddity} under {name!r}; expected dense tensors of float32, float16, "
                "bfloat16 or float64: save the model's own state dict, or download it as published"
            )
    return state


def check_fit(model: nn.Module, resolved: Resolved, **facts: tuple[object, object]) -> None:
    """Refuse a checkpoint that is not what the card says.

    Parameters
    ----------
    model : Module
        The loaded model.
    resolved : Resolved
        Its card.
    **facts : tuple
        What the card says and what the checkpoint says, by name.

    Raises
    ------
    VidsimError
        If two values differ; both are told.
    """
    where = os.fspath(resolved.folder or "")
    parameters = sum(weight.numel() for weight in model.parameters())
    compared: Mapping[str, tuple[object, object]] = {**facts, "parameters": (resolved.card.parameters, parameters)}
    for name, (card, checkpoint) in compared.items():
        if name == "parameters" and card == 0:  # a user's card need not count them
            continue
        if card != checkpoint:
            raise VidsimError(
                f"{resolved.card.name} expects {name.replace('_', ' ')} {card}, the checkpoint in {where!r} has "
                f"{checkpoint}; is it {resolved.card.checkpoint}?"
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


def _original(place: Path) -> Path:
    """Return what a file or folder is a copy of; of none, itself."""
    made = next((made for made in CONVERTED if place.is_relative_to(made)), None)
    return place if made is None else CONVERTED[made] / place.relative_to(made)


def _published(file: Path) -> Path:
    """Return the user's file that weights are from, or their folder where there are several; of no copy, the file."""
    place = _original(file.parent)
    if place == file.parent:
        return file
    files = weights_of(place)
    return files[0] if len(files) == 1 else place


def _dtypes(path: Path) -> dict[str, str]:
    """Read from the header what numbers tensors are stored in."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise VidsimError(
            f"{os.fspath(path)!r} cannot be read as safetensors: {error}; it is damaged or cut off: download it again"
        ) from error


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
                f"{os.fspath(_published(path))!r} holds {name} as {dtype}; expected {', '.join(sorted(FLOATS))}: "
                "weights that were rounded or quantised cannot be used; download them in floating point"
            )


def _oddity(value: Tensor) -> str | None:
    kinds = {
        "a nested tensor": value.is_nested,
        f"a quantised tensor ({value.dtype})": value.is_quantized,
        "a tensor without numbers (of the meta device)": value.is_meta,
        f"a tensor of layout {value.layout}": value.layout != torch.strided,
        f"a tensor of {value.dtype}": value.dtype not in PLAIN,
    }
    return next((kind for kind, found in kinds.items() if found), None)


def _find_copy(home: Path, stem: str) -> Path | None:
    """Find a whole copy and drop damaged ones: a copy's name ends in the hash of what it holds."""
    for place in sorted(home.glob(f"{stem}*")):
        with suppress(OSError):  # what cannot be read is damaged
            if place.name == _copy_name(stem, place):
                return place
        log.info("%s is damaged or was made by an older version, and is made again", place)
        shutil.rmtree(place, ignore_errors=True)
    return None


def _make_copy(folder: Path, home: Path, stem: str) -> Path:
    log.info("converting the pickled weights of %s to safetensors under %s", folder, home)
    try:
        home.mkdir(parents=True, exist_ok=True)
        # built aside and renamed, so that a killed conversion leaves nothing that looks whole
        with tempfile.TemporaryDirectory(prefix="draft-", dir=home, ignore_cleanup_errors=True) as draft:
            _convert(folder, Path(draft))
            return Path(draft).rename(home / _copy_name(stem, Path(draft)))
    except (OSError, SafetensorError) as error:  # safetensors has its own error for a full disk
        if (made := _find_copy(home, stem)) is not None:  # another process was quicker
            return made
        raise VidsimError(
            f"{os.fspath(folder)!r} cannot be converted to safetensors under {os.fspath(home)!r}: {error}; "
            "set VIDSIM_CACHE to a folder with room"
        ) from error


def _copy_name(stem: str, place: Path) -> str:
    return f"{stem}-{hash_folder(place)[:32]}"


def _convert(folder: Path, draft: Path) -> None:
    if folder.is_file():
        state = read_pickle(folder, ZOO_PART)
        save_file({name: value.clone().contiguous() for name, value in state.items()}, draft / "model.safetensors")
        return
    weights = weights_of(folder)
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".json", ".txt", ".model"} and path.is_file() and not path.name.startswith("pytorch_model"):
            target = draft / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    for part in parts_of(folder):
        pieces = [path for path in weights if path.parent == part]
        if pieces:
            target = draft / part.relative_to(folder)
            target.mkdir(parents=True, exist_ok=True)
            if pieces[0].suffix == ".safetensors":
                for path in pieces:
                    shutil.copyfile(path, target / path.name)
                continue
            # cloned: tied weights share memory, which safetensors refuses
            state = {name: value.clone().contiguous() for path in pieces for name, value in read_pickle(path).items()}
            save_file(state, target / "model.safetensors", metadata={"format": "pt"})


def _refuse_misfit(
    where: str,
    architecture: str,
    mismatched: Iterable[tuple[str, Sequence[int], Sequence[int]]],
    missing: Iterable[str],
    unexpected: Iterable[str],
    unless: str = "",
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
        raise VidsimError(f"the weights in {where!r} do not fit {architecture}: {said}{unless if shapes else ''}")


def _first(problems: Sequence[str], count: int = 3) -> str:
    return "; ".join(problems[:count]) + (f" and {len(problems) - count} more" if len(problems) > count else "")


def _shape(shape: Any) -> str:
    return "x".join(map(str, shape))
