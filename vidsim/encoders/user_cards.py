"""Cards of one's own as TOML files: models of a known family that vidsim does not know.

A file holds one card. It lies in ``~/.config/vidsim/cards``, or in a folder named by ``VIDSIM_CARDS``.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, get_args

from vidsim.encoders.base import EncoderCard, Pooling, Sampling
from vidsim.encoders.card_rules import (
    ADDRESS,
    CHECKS,
    HUB_ID,
    IN_LAYERS,
    IN_PREPARED,
    KEYS,
    MOST_LAYERS,
    NAME,
    OF_LOADING,
    OPTIONS,
    PIPELINE,
    UNEVEN,
    beyond_json,
)
from vidsim.encoders.offer import Offer
from vidsim.errors import VidsimError
from vidsim.paths import expand
from vidsim.toml import read_toml


def read_files(known: Mapping[str, EncoderCard], aliases: Mapping[str, str] = MappingProxyType({})) -> list[Offer]:
    """Read the user's card files; one that is not right keeps no other from being used.

    Parameters
    ----------
    known : mapping of str to EncoderCard
        The built-in cards: their families and options are the legal ones.
    aliases : mapping of str to str
        Further names of theirs.

    Returns
    -------
    list of Offer
        One a file.

    Raises
    ------
    VidsimError
        If ``VIDSIM_CARDS`` names a folder that is not there.
    """
    offers: list[Offer] = []
    for path in card_files():
        place, called = os.fspath(path), path.stem
        try:
            card = read_card(path, known, aliases)
        except VidsimError as error:
            offers.append(Offer(place, called, _name_in(path), reason=str(error)))
        else:
            offers.append(Offer(place, called, card.name, card))
    return offers


def card_folders() -> tuple[Path, ...]:
    """List the folders in which cards may lie.

    Returns
    -------
    tuple of Path
        Those of ``VIDSIM_CARDS`` (several are set apart as in ``PATH``); else ``vidsim/cards`` in
        ``XDG_CONFIG_HOME`` or ``~/.config``.
    """
    if places := os.environ.get("VIDSIM_CARDS"):
        return tuple(expand(place) for place in places.split(os.pathsep) if place)
    return (expand(os.environ.get("XDG_CONFIG_HOME") or "~/.config") / "vidsim" / "cards",)


def card_files() -> list[Path]:
    """List the user's card files.

    Returns
    -------
    list of Path
        ``*.toml``, in the order of folders and names.

    Raises
    ------
    VidsimError
        If ``VIDSIM_CARDS`` names a folder that is not there.
    """
    files: list[Path] = []
    for folder in card_folders():
        if not folder.is_dir():
            if os.environ.get("VIDSIM_CARDS"):
                raise VidsimError(f"VIDSIM_CARDS names {os.fspath(folder)!r}, which is no folder; mend or unset it")
            continue
        files += sorted(folder.glob("*.toml"))
    return files


def read_card(
    path: Path, known: Mapping[str, EncoderCard], aliases: Mapping[str, str] = MappingProxyType({})
) -> EncoderCard:
    """Read one card.

    Parameters
    ----------
    path : Path
        TOML file.
    known : mapping of str to EncoderCard
        The built-in cards.
    aliases : mapping of str to str
        Further names of theirs.

    Returns
    -------
    EncoderCard
        The card; a relative folder is made absolute, from where the file is.

    Raises
    ------
    VidsimError
        If the file cannot be read, or a key is unknown, missing or wrong.
    """
    return Reader(path, read_toml(path, "a card"), known, aliases).card()


def _name_in(path: Path) -> str | None:
    """Find the name of a card in a file that may be no TOML."""
    if not path.is_file():  # a pipe would be waited for
        return None
    try:
        found = re.search(r"""^\s*name\s*=\s*["']([^"'\n]+)["']""", path.read_text("utf-8-sig"), re.MULTILINE)
    except (OSError, ValueError):
        return None
    return found[1] if found else None


class Reader:
    """Turn what a file holds, or what a package's card says, into a card.

    Parameters
    ----------
    path : Path
        The file; of a package's card its place, for messages.
    given : dict
        Values by `KEYS`.
    known : mapping of str to EncoderCard
        The built-in cards.
    aliases : mapping of str to str
        Further names of theirs.
    """

    def __init__(
        self, path: Path, given: dict[str, Any], known: Mapping[str, EncoderCard], aliases: Mapping[str, str]
    ) -> None:
        self.path = path
        self.given = given
        self.known = known
        self.aliases = aliases
        # families whose models have weights; the others cannot be told apart by a card
        self.families = {row.family: row for row in known.values() if row.checkpoint is not None}

    def card(self) -> EncoderCard:
        """Return the card.

        Returns
        -------
        EncoderCard
            It has what the card that it is like says beyond it.

        Raises
        ------
        VidsimError
            If a key is unknown, missing or wrong.
        """
        self._check(self.given, KEYS)
        name = self._given("name", None, "expected the name that the command line will know")
        if not NAME.fullmatch(name):
            self._fail("name", f"expected letters, digits and . _ -, such as my-model, {name!r} came")
        like = self._like()
        family = self._one_of("family", self.families, like.family if like else None)
        if like and family != like.family:
            self._fail("family", f"expected {like.family}, which {like.name} is of, {family!r} came")
        self._refuse_unread(family)
        text = self.families[family].modality == "text"
        checkpoint = self._checkpoint(family)
        layers = self._layers(text, like)
        default = self.given.get("default_layer") or (like.default_layer if like else layers[-1])
        if default not in layers:
            self._fail("default_layer", f"expected one of the layers ({layers[0]} to {layers[-1]}), {default!r} came")
        rules = self._rules(family)
        pooling = self._one_of("pooling", rules, like.pooling if like else rules[0] if len(rules) == 1 else None)
        what = "a network of the zoo" if family == "video_cnn" else "a class of the upstream library"
        return EncoderCard(
            name=name,
            family=family,
            modality=self.families[family].modality,
            layers=layers,
            default_layer=default,
            checkpoint=checkpoint,
            revision=self._revision(checkpoint),
            sampling=None if text else self._sampling(like),
            size=self._size(family, like),
            width=self._width(family, like),
            pooling=pooling,  # pyright: ignore[reportArgumentType]
            parameters=self.given.get("parameters", like.parameters if like else 0),
            licence=self.given.get("licence", ""),
            lora_targets=self._lora_targets(layers, like),
            architecture=self._given(
                "architecture",
                like.architecture if like else self.families[family].architecture if text else None,
                f"expected {what}, such as {self.families[family].architecture}",
            ),
            extra=self.families[family].extra,
            source=self.given.get("source", os.fspath(self.path)),
            options={**self._options(family, like, pooling), **self._file(family, checkpoint)},
        )

    def _check(self, given: Mapping[str, Any], keys: Mapping[str, str], before: str = "") -> None:
        for key, value in given.items():
            if key not in keys:
                self._fail(before + key, f"is not known; expected one of {', '.join(keys)}")
            if not CHECKS[keys[key]](value):
                self._fail(before + key, f"expected {keys[key]}, {value!r} came")

    def _refuse_unread(self, family: str) -> None:
        """Refuse what shapes nothing: frames of an encoder of captions, the size of frames that may have any."""
        row = self.families[family]
        text = row.modality == "text"
        unread = {
            **dict.fromkeys(("frames", "fps", "windows"), text),
            "size": row.size is None,
            "architecture": text and self.given.get("architecture") != row.architecture,
        }
        for key, idle in unread.items():
            if idle and key in self.given:
                self._fail(key, f"has no effect with {family}; leave it out")

    def _like(self) -> EncoderCard | None:
        if "like" not in self.given:
            return None
        rows = {name: row for name, row in self.known.items() if row.checkpoint}
        names = {name.lower(): name for name in rows} | {alias.lower(): name for alias, name in self.aliases.items()}
        name = self.given["like"]
        return rows[self._one_of("like", rows, None, names.get(name.lower(), name))]

    def _layers(self, text: bool, like: EncoderCard | None) -> tuple[str, ...]:
        layers = self.given.get("layers")
        if layers is None:
            if like is None:
                self._fail("layers", 'is missing; expected { pattern = "encoder.layer.{i}", depth = 12 } or a list')
            return like.layers
        if isinstance(layers, dict):
            self._check(layers, IN_LAYERS, "layers.")
            for key in ("pattern", "depth"):
                if key not in layers:
                    self._fail(f"layers.{key}", f"is missing; expected {IN_LAYERS[key]}")
            if "{i}" not in layers["pattern"]:
                self._fail("layers.pattern", f"expected {{i}} where the number stands, {layers['pattern']!r} came")
            if layers["depth"] > MOST_LAYERS:
                self._fail("layers.depth", f"expected at most {MOST_LAYERS:,} layers, {layers['depth']} came")
            found = tuple(layers["pattern"].replace("{i}", str(i)) for i in range(layers["depth"]))
            found = (*found, *layers.get("last", ()))
        else:
            found = tuple(layers)
        found = (*found, PIPELINE) if text and PIPELINE not in found else found
        if len(set(found)) != len(found):
            self._fail("layers", "names a layer twice; expected each once")
        return found

    def _lora_targets(self, layers: tuple[str, ...], like: EncoderCard | None) -> tuple[str, ...]:
        if "lora_targets" in self.given or like is None:
            return tuple(self.given.get("lora_targets", ()))
        gone = tuple(f"{block}." for block in like.blocks if block not in layers)
        return tuple(target for target in like.lora_targets if not target.startswith(gone))

    def _sampling(self, like: EncoderCard | None) -> Sampling:
        usual = like.sampling if like else None
        frames = self._given("frames", usual.frames if usual else None, "expected the frames that the model takes")
        windows = self.given.get("windows", usual.windows if usual else 1)
        fps = self.given.get("fps", usual.fps if usual else None)
        if frames % windows:
            self._fail("windows", f"expected a divisor of {frames} frames, {windows} came")
        if windows > 1 and fps is None:
            self._fail("windows", f"{windows} came without fps, the frames per second inside a window; expected both")
        return Sampling(frames=frames, fps=None if fps is None else float(fps), windows=windows)

    def _size(self, family: str, like: EncoderCard | None) -> int | None:
        if self.families[family].size is None:  # captions, or frames of any size
            return None
        return self._given("size", like.size if like else None, "expected the height and width of a frame in pixels")

    def _width(self, family: str, like: EncoderCard | None) -> int:
        width = self._given(
            "width", like.width if like else 0 if family in UNEVEN else None, "expected the features of a token"
        )
        if width == 0 and family not in UNEVEN:
            self._fail("width", "expected the features of a token, above 0; 0 came")
        return width

    def _rules(self, family: str) -> list[str]:
        """List the poolings that a family knows; of those that read, only the mean over tokens."""
        if "text" in self.families[family].modality:
            return ["mean"]
        return ["mean", "flatten"] if family == "video_cnn" else [rule for rule in get_args(Pooling) if rule != "none"]

    def _revision(self, checkpoint: str) -> str | None:
        revision = self.given.get("revision")
        if revision is not None and (Path(checkpoint).is_absolute() or "://" in checkpoint):
            self._fail("revision", f"is a commit of the hub, and {checkpoint!r} is not there; leave it out")
        return revision

    def _checkpoint(self, family: str) -> str:
        one_file = "file" in self.families[family].options
        expected = "an address (https://) of one file" if one_file else "org/name of the hub"
        checkpoint = self._given("checkpoint", None, f"expected {expected}, or a folder such as ./weights")
        if checkpoint.startswith((".", "~", "/")) or Path(checkpoint).is_absolute():
            try:
                return os.fspath((self.path.parent / expand(checkpoint)).resolve())
            except (VidsimError, RuntimeError, OSError, ValueError) as error:  # nobody's home, links in a ring, a NUL
                self._fail("checkpoint", f"expected a path that can be followed, {checkpoint!r} came ({error})")
        right = ADDRESS.fullmatch(checkpoint) if one_file else HUB_ID.fullmatch(checkpoint)
        if not right or (not one_file and re.search(r"--|\.\.", checkpoint)):  # the hub has no such names
            self._fail("checkpoint", f"expected {expected}, or a folder such as ./weights; {checkpoint!r} came")
        return checkpoint

    def _file(self, family: str, checkpoint: str) -> dict[str, str]:
        # a card that is like another would else take the other's file for its own, where torch.hub has fetched it
        if "file" not in self.families[family].options:
            return {}
        name = self.given.get("options", {}).get("file") or Path(checkpoint).name
        if name in {"", ".."} or Path(name).name != name:
            self._fail("options.file", f"expected the name of the file that {checkpoint!r} is or holds, {name!r} came")
        return {"file": name}

    def _options(self, family: str, like: EncoderCard | None, pooling: str) -> dict[str, Any]:
        found = {key: value for key, value in (like.options if like else {}).items() if key != "package"}
        legal = {key: kind for key, (kind, families) in OPTIONS.items() if family in families}
        for key, value in self.given.get("options", {}).items():
            if key not in legal:
                self._fail(f"options.{key}", f"is not known to {family}; expected one of {', '.join(legal)}")
            if not CHECKS[legal[key]](value):
                self._fail(f"options.{key}", f"expected {legal[key]}, {value!r} came")
            found[key] = tuple(value) if isinstance(value, list) else value
        self._check(self.given.get("options", {}).get("prepared", {}), IN_PREPARED, "options.prepared.")
        if wrong := beyond_json(self.given.get("options", {}), "options"):
            self._fail(*wrong)
        for key in found.get("init", {}):
            if key in OF_LOADING:
                self._fail(f"options.init.{key}", "is not for the class of the model; expected an argument of that")
        for key in ("mean", "std"):  # elsewhere the checkpoint's processor says them
            if key in legal and key not in found:
                self._fail(f"options.{key}", f"is missing; expected {legal[key]}")
        if pooling == "cls" and not found.get("prefix_tokens", family == "video_text"):
            self._fail("pooling", "'cls' takes a token in front of the patches; expected options.prefix_tokens above 0")
        return found

    def _one_of(self, key: str, legal: Iterable[str], usual: str | None, given: str | None = None) -> str:
        value = given or self.given.get(key, usual)
        if value is None:
            self._fail(key, f"is missing; expected one of {', '.join(legal)} (or like = an encoder to follow)")
        if value not in legal:
            self._fail(key, f"expected one of {', '.join(legal)}, {value!r} came")
        return value

    def _given(self, key: str, usual: Any, expected: str) -> Any:
        value = self.given.get(key, usual)
        if value is None:
            self._fail(key, f"is missing; {expected}")
        return value

    def _fail(self, key: str, what: str) -> NoReturn:
        raise VidsimError(f"{os.fspath(self.path)}: {key} {what}")
