"""Pickles: state dicts of plain tensors are read without running any code, and kept as safetensors."""

import logging
import os
import shutil
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vidsim.encoders.checkpoint import Resolved, cache_folder, hash_folder, parts_of, weights_of
from vidsim.errors import VidsimError

log = logging.getLogger(__name__)

ZOO_PART = "model_state"
"""Entry of a zoo file that holds the weights; beside it are an optimizer's and the configuration."""

PLAIN = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)
"""Numbers that a pickle may hold; whole ones count things or number places."""

CONVERTED: dict[Path, Path] = {}
"""Copies in the cache that this process has used, and what they were made from: messages name the user's files."""


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


def original(place: Path) -> Path:
    """Return what a file or folder is a copy of.

    Parameters
    ----------
    place : Path
        File or folder.

    Returns
    -------
    Path
        The user's; of no copy, the same.
    """
    made = next((made for made in CONVERTED if place.is_relative_to(made)), None)
    return place if made is None else CONVERTED[made] / place.relative_to(made)


def published(file: Path) -> Path:
    """Return where weights are from, for messages.

    Parameters
    ----------
    file : Path
        Safetensors.

    Returns
    -------
    Path
        Of a copy, the user's file, or their folder where there are several files; else the same.
    """
    place = original(file.parent)
    if place == file.parent:
        return file
    files = weights_of(place)
    return files[0] if len(files) == 1 else place


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
            made = Path(draft) / "made"  # the draft itself nobody else may read
            made.mkdir()
            _convert(folder, made)
            for path in made.rglob("*.safetensors"):
                path.chmod(0o644)  # nor what the library writes
            return made.rename(home / _copy_name(stem, made))
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
