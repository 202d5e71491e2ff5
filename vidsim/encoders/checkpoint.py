"""Checkpoints: what in an encoder's files determines its embeddings. Imports no torch."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vidsim.encoders.base import EncoderCard, Pooling
from vidsim.errors import VidsimError
from vidsim.paths import expand

Source = Literal["none", "folder", "hub", "package", "zoo"]

OLD_PIPELINES = ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")

TEXT_FILES = (
    *("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "tokenizer.json"),
    *("tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model"),
    *("special_tokens_map.json", "added_tokens.json", "chat_template.json", "chat_template.jinja"),
    # of pipelines older than sentence_bert_config.json, which are read all the same
    *(f"sentence_{kind}_config.json" for kind in OLD_PIPELINES),
)
"""Files that change what a model makes of text, beside its weights and ``config.json``."""

INDIFFERENT = (
    *("_name_or_path", "name_or_path", "transformers_version", "__version__", "architectures", "torch_dtype", "dtype"),
    *("id2label", "label2id", "use_cache", "gradient_checkpointing"),
)
"""Fields of a configuration that leave embeddings as they are (weights are always computed with in float32)."""

ADAPTER = "adapter_config.json"

FORMS = (
    ("model.safetensors", "*.safetensors", "model-*-of-*.safetensors"),
    ("pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model-*-of-*.bin"),
)
"""The file of whole weights, what an index may name in its place, and how shards are published."""

POINTER = b"version https://git-lfs.github.com/spec/"
"""What stands in a repository, cloned without Git LFS, in the place of a large file."""


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
    followed : bool
        Whether ``preprocess`` is followed here; the family of another package may read it in a way of its own.
    own : mapping
        What else in a card of the user's or a package's shapes embeddings, JSON-able; empty for built-in cards, whose
        tables are older than this.
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
    followed: bool = True
    own: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """Return what determines the embeddings, JSON-able; equal files give equal values wherever they come from."""
        from vidsim.encoders.prepared import steps_of  # imports numpy, which listing models does not need

        card = self.card
        sampling, steps = card.sampling, dict(self.preprocess)
        if steps and self.followed:
            # the steps, not the spelling: processors are saved again under other names
            steps = dict(steps_of(self).provenance)
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
            "preprocess": steps,
            "pooling": self.pooling,
            **({"card": dict(self.own)} if self.own else {}),
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
        Of another package's family nothing is known: the model's own configuration.
    """
    if ":" in card.family:
        return "config.json"
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
        If a configuration, the weights or the index of their shards are missing, the index names other files, or an
        adapter of PEFT lies beside the weights.
    """
    if folder.is_file():
        return (folder,)
    found: list[Path] = []
    for part in parts_of(folder):
        if (part / ADAPTER).is_file():
            raise VidsimError(
                f"{os.fspath(part / ADAPTER)!r}: an adapter of PEFT lies beside the weights, and libraries add it to "
                "them unasked; merge it into them and save them anew, or take its files away"
            )
        before = len(found)
        for name, shards, _ in FORMS:
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
            raise VidsimError(_no_weights(part))
    if not found:
        raise VidsimError(_no_weights(folder))
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
        If there is neither ``modules.json`` nor ``config.json``, one of them has another form, or a module lies outside
        the folder.
    """
    if not (folder / "modules.json").is_file():
        read_json(folder / "config.json")
        return (folder,)
    parts = [folder / str(module.get("path", "")) for module in read_modules(folder)]
    outside = [part for part in parts if not Path(os.path.normpath(part)).is_relative_to(os.path.normpath(folder))]
    if outside:
        raise VidsimError(f"{os.fspath(folder / 'modules.json')!r} names a module outside its folder: {outside[0]}")
    return tuple(dict.fromkeys(parts))


def read_modules(folder: Path) -> list[dict[str, Any]]:
    """Read the modules of a pipeline of sentence-transformers.

    Parameters
    ----------
    folder : Path
        Folder with ``modules.json``.

    Returns
    -------
    list of dict
        What the file says of each module.

    Raises
    ------
    VidsimError
        If the file is missing, or is no list of objects.
    """
    path = folder / "modules.json"
    modules = read_json(path)
    if not all(isinstance(module, dict) for module in modules):
        raise VidsimError(f"{os.fspath(path)!r} holds more than modules; expected a list of objects; download it again")
    return modules


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

    Raises
    ------
    VidsimError
        If a file is missing, or a pointer of Git LFS stands in its place.
    """
    paths = weights_of(folder)
    for path in paths:
        with path.open("rb") as file:
            if file.read(len(POINTER)) == POINTER:
                raise VidsimError(
                    f"{os.fspath(path)!r} is a Git LFS pointer, not the weights; run git lfs pull in its repository, "
                    "or download the file itself"
                )
    hashes = _hash_files(folder, paths)
    return hashes[0][1] if len(hashes) == 1 else _digest(hashes)


def hash_folder(folder: Path) -> str:
    """Hash all files of a folder.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    str
        SHA-256 of the files' names and hashes.
    """
    return _digest(_hash_files(folder, sorted(path for path in folder.rglob("*") if path.is_file())))


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
        Its content: of ``modules.json`` a list, else a dict.

    Raises
    ------
    VidsimError
        If the file is missing, is not JSON, or holds something else.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise VidsimError(
            f"no {path.name} in {os.fspath(path.parent)!r}; a checkpoint folder holds the files of its hub repository"
        ) from error
    except (ValueError, OSError, RecursionError) as error:
        raise VidsimError(f"{os.fspath(path)!r} cannot be read as JSON: {error}; download it again") from error
    kind, expected = (list, "a list") if path.name == "modules.json" else (dict, "an object")
    if not isinstance(content, kind):
        begins = json.dumps(content)[:30]
        raise VidsimError(f"{os.fspath(path)!r} holds {begins}; expected {expected}; download it again")
    return content


def cache_folder() -> Path:
    """Return the folder of converted checkpoints, moved by ``VIDSIM_CACHE``.

    Returns
    -------
    Path
        ``$VIDSIM_CACHE``, else ``$XDG_CACHE_HOME/vidsim``, else ``~/.cache/vidsim``.

    Raises
    ------
    VidsimError
        If it begins with a home folder that is not known.
    """
    if place := os.environ.get("VIDSIM_CACHE"):
        return expand(place)
    return expand(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "vidsim"


def _config(part: Path) -> Mapping[str, Any]:
    return read_json(part / "config.json") if (part / "config.json").is_file() else {}


def _no_weights(part: Path) -> str:
    for name, _, published in FORMS:
        if shards := sorted(path.name for path in part.glob(published)):
            return (
                f"no {name}.index.json in {os.fspath(part)!r}, which says what {shards[0]!r} and the other shards "
                "hold; download it too"
            )
    return f"no weights in {os.fspath(part)!r}; expected model.safetensors (or pytorch_model.bin)"


def _hash_files(folder: Path, paths: Sequence[Path]) -> list[tuple[str, str]]:
    hashes: list[tuple[str, str]] = []
    for path in paths:
        with path.open("rb") as file:
            hashes.append((path.relative_to(folder).as_posix(), hashlib.file_digest(file, "sha256").hexdigest()))
    return hashes


def _shards(index: Path, pattern: str) -> list[Path]:
    content = read_json(index)
    places = content.get("weight_map")
    if not places or not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise VidsimError(f"{os.fspath(index)!r} has no weight_map from weights to files; download it again")
    # transformers reads safetensors by the index; pickles are read here
    if pattern == "*.safetensors" and not isinstance(content.get("metadata"), dict):
        raise VidsimError(
            f"{os.fspath(index)!r} has no metadata; expected an object, which may be empty, beside weight_map; "
            "add it, or download the file again"
        )
    paths = [index.parent / name for name in sorted(set(places.values()))]
    for path in paths:
        if path.parent != index.parent or not path.match(pattern) or not path.is_file():
            raise VidsimError(f"{os.fspath(index)!r} names {path.name!r}, which is not there; download it again")
    return paths


def _without(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, names) for key, item in value.items() if key not in names}
    if isinstance(value, list):
        return [_without(item, names) for item in value]
    return value


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
