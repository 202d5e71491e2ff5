"""The part of ``vidsim compare`` that shows what two encoders attend to."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidsim.cli.output import check_out, write_out
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from vidsim.encoders.base import EncoderCard
    from vidsim.report.page import Section
    from vidsim.report.rollout import Heat


@dataclass(frozen=True, eq=False)
class Rollout:
    """Hold the figures of clips before they are written.

    Parameters
    ----------
    a, b : str
        What the two encoders are called.
    folder : Path
        Where the figures go.
    drawn : tuple of (Path, Path, bytes)
        Of each clip its file, the file of its figure, and the figure.
    frames : dict of str to list of int
        Which of its frames the figures show, for either encoder, from 1.
    """

    a: str
    b: str
    folder: Path
    drawn: tuple[tuple[Path, Path, bytes], ...]
    frames: dict[str, list[int]]

    @property
    def sections(self) -> "list[Section]":
        """Return the figures as a part of a page."""
        from vidsim.report.rollout import rollout_section

        return [rollout_section([(clip.name, data) for clip, _, data in self.drawn])]

    def write(self, *, force: bool) -> None:
        """Write the figures, making the folder."""
        self.folder.mkdir(exist_ok=True)
        for _, place, data in self.drawn:
            write_out(place, lambda file, data=data: file.write(data), force=force)

    def describe(self) -> list[dict[str, Any]]:
        """Say in JSON-able form what there is."""
        return [
            {"clip": str(clip), "plot": str(place), "a": self.a, "b": self.b, "frames": self.frames}
            for clip, place, _ in self.drawn
        ]


def rollout(
    names: tuple[str, str],
    clips: Sequence[Path],
    folder: Path,
    *,
    checkpoints: tuple[Path | None, Path | None],
    device: str,
    root: str,
    force: bool,
    called: tuple[str, str] = ("A", "B"),
) -> Rollout:
    """Draw what two encoders attend to in clips; nothing is written yet.

    Parameters
    ----------
    names : tuple of str
        Encoders of the catalog, or adapters.
    clips : sequence of Path
        Video files, with different names.
    folder : Path
        Where the figures will go.
    checkpoints : tuple of Path or None
        Folders with the checkpoints of the encoders (of adapters, of their bases), instead of the hub.
    device : str
        As for `vidsim.encoders.catalog.load`.
    root : str
        Artefact root, in which adapters lie.
    force : bool
        Whether figures that are there may be replaced.
    called : tuple of str
        What the verb calls the two, as arguments or options: ``--checkpoint-a`` is the option with A's checkpoint.

    Returns
    -------
    Rollout
        The figures.

    Raises
    ------
    VidsimError
        If an encoder has no attention over patches, both are the same, a clip cannot be used, or a figure is there
        already.
    """
    places = _places(clips, folder, force=force)
    from vidsim.cli.encoders import find_card, resolve
    from vidsim.encoders import catalog
    from vidsim.encoders.attention import refuse_without_attention

    cards = [find_card(name, root) for name in names]
    for card in cards:
        refuse_without_attention(card)
        _refuse_head_alone(card)
    catalog.resolve_device_name(device)
    found = [
        resolve(card, checkpoint=os.fspath(place) if place else None)
        for card, place in zip(cards, checkpoints, strict=True)
    ]
    sides = [one.removeprefix("--") for one in called]
    if found[0].identity == found[1].identity:
        options = " and ".join(f"--checkpoint-{side.lower()}" for side in sides)
        raise VidsimError(
            f"{' and '.join(called)} are both {found[0].card.name} with the same weights; expected two encoders, or "
            f"two checkpoints of one with {options}"
        )
    first, second = _labels([one.card.name for one in found], checkpoints, sides)
    from vidsim.data.video import decoder
    from vidsim.report.rollout import heat, rollout_plot

    heats: list[list[Heat]] = []
    for one in found:
        encoder: Any = catalog.load(one, device=device)
        encoder = getattr(encoder, "base", encoder)  # an adapter attends inside its base; the head comes behind
        heats.append([heat(encoder, clip, decoder()) for clip in clips])
    drawn = tuple(
        (clip, place, rollout_plot(((first, before), (second, after)), f"{clip.name}: frames and attention rollout"))
        for clip, place, before, after in zip(clips, places, *heats, strict=True)
    )
    shown = {label: (row[0].shown() + 1).tolist() for label, row in zip(("a", "b"), heats, strict=True)}
    return Rollout(first, second, folder, drawn, shown)


def _refuse_head_alone(card: "EncoderCard") -> None:
    """Refuse an adapter whose attention is its base's."""
    if "adapter" not in card.options:
        return
    from vidsim.adapt.folder import WEIGHTS
    from vidsim.adapt.manifest import read_manifest

    made = read_manifest(Path(card.options["adapter"]))
    if WEIGHTS not in made.files:
        raise VidsimError(
            f"{card.name} is a head alone, behind the attention of its base, which nothing has changed; name the base: "
            f"{made.base['encoder']}"
        )


def _places(clips: Sequence[Path], folder: Path, *, force: bool) -> list[Path]:
    """Name the figures, and refuse those that cannot be written and clips that are not there."""
    if folder.exists() and not folder.is_dir():
        raise VidsimError(f"--out {str(folder)!r} is a file; expected a folder, which is made where it is missing")
    places = [folder / f"{clip.name}.png" for clip in clips]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice is not None:
        raise VidsimError(f"two clips are called {twice.stem!r}; expected different names, as each names its figure")
    for place in places:
        if folder.is_dir():
            check_out(place, (".png",), force=force)
    if not folder.is_dir() and not folder.parent.is_dir():
        raise VidsimError(f"--out {str(folder)!r}: no folder {str(folder.parent)!r}; make it first")
    missing = next((clip for clip in clips if not clip.exists()), None)
    if missing is not None:
        raise VidsimError(f"no clip {str(missing)!r}; --rollout expects video files")
    return places


def _labels(names: Sequence[str], checkpoints: Sequence[Path | None], sides: Sequence[str]) -> tuple[str, str]:
    """Call encoders by their names, and by their checkpoints where the names are the same."""
    if names[0] == names[1]:
        names = [f"{name} ({place.name if place else 'hub'})" for name, place in zip(names, checkpoints, strict=True)]
    if names[0] == names[1]:
        names = [f"{name}, {side}" for name, side in zip(names, sides, strict=True)]
    return names[0], names[1]
