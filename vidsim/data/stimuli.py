"""Stimuli: what is shown to people and models."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize
from zlib import crc32

from vidsim.errors import VidsimError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Stimulus:
    """Describe one stimulus.

    Parameters
    ----------
    id : str
        Name of the stimulus, distinct within its set.
    path : Path, optional
        Absolute path of its file; None where there are only captions.
    captions : tuple of str
        Captions, in the order of the source.
    ratings : mapping of str to float
        Rated attributes; NaN where a rating is missing.
    split : str, optional
        ``"train"``, ``"test"`` or any other name the source gives.
    tags : mapping of str to str
        What the source says of it in words, such as its setting.
    """

    id: str
    path: Path | None = None
    captions: tuple[str, ...] = ()
    ratings: Mapping[str, float] = field(default_factory=dict)
    split: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StimulusSet:
    """Hold stimuli with distinct ids, in a fixed order.

    Parameters
    ----------
    stimuli : tuple of Stimulus
        The stimuli.
    named : bool
        True where the source gave the ids; False where they were derived from file names.
    unreadable : tuple of (Path, str)
        Folders and files that could not even be listed, each with its reason.
    name : str
        Name of a whole table's set; empty for folders and for parts.
    notes : tuple of str
        What a person should know who keeps a whole table's set.

    Raises
    ------
    VidsimError
        If an id stands twice.
    """

    stimuli: tuple[Stimulus, ...]
    named: bool = True
    unreadable: tuple[tuple[Path, str], ...] = ()
    name: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for stimulus in self.stimuli:
            if stimulus.id in seen:
                raise VidsimError(f"stimulus id {stimulus.id!r} stands more than once; expected every id once")
            seen.add(stimulus.id)

    def __len__(self) -> int:
        return len(self.stimuli)

    def __iter__(self) -> Iterator[Stimulus]:
        return iter(self.stimuli)

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the ids in order."""
        return tuple(s.id for s in self.stimuli)

    @property
    def train(self) -> "StimulusSet":
        """Return the stimuli of the training split."""
        return self._where(lambda s: s.split == "train")

    @property
    def test(self) -> "StimulusSet":
        """Return the stimuli of the test split."""
        return self._where(lambda s: s.split == "test")

    def take(self, ids: Sequence[str]) -> "StimulusSet":
        """Select stimuli by id, in the order asked for.

        Parameters
        ----------
        ids : sequence of str
            Ids to keep.

        Returns
        -------
        StimulusSet
            The stimuli named by ``ids``.

        Raises
        ------
        VidsimError
            If an id is not in the set.
        """
        by_id = {s.id: s for s in self.stimuli}
        missing = [i for i in ids if i not in by_id]
        if missing:
            raise VidsimError(
                f"{len(missing)} of {len(ids)} ids are not among the stimuli, the first is {missing[0]!r}"
            )
        return StimulusSet(tuple(by_id[i] for i in ids), self.named)

    def table(self) -> "pa.Table":
        """Return the set as an Arrow table.

        Returns
        -------
        pyarrow.Table
            Columns ``id``, ``path``, ``captions`` (lists), ``split``, one of float64 per rating, and one of texts per
            tag.
        """
        import pyarrow as pa

        columns = {
            "id": pa.array(self.ids, pa.string()),
            "path": pa.array([None if s.path is None else s.path.as_posix() for s in self.stimuli], pa.string()),
            "captions": pa.array([list(s.captions) for s in self.stimuli], pa.list_(pa.string())),
            "split": pa.array([s.split for s in self.stimuli], pa.string()),
        }
        for name in dict.fromkeys(name for s in self.stimuli for name in s.ratings):
            columns[name] = pa.array([s.ratings.get(name) for s in self.stimuli], pa.float64(), from_pandas=True)
        for name in dict.fromkeys(name for s in self.stimuli for name in s.tags):
            columns[name] = pa.array([s.tags.get(name) for s in self.stimuli], pa.string())
        return pa.table(columns)

    @classmethod
    def from_arrow(cls, table: "pa.Table", name: str = "") -> "StimulusSet":
        """Read back what `table` gives.

        Parameters
        ----------
        table : pyarrow.Table
            Columns ``id``, ``path``, ``captions``, ``split``, ratings and tags.
        name : str
            Name of the set.

        Returns
        -------
        StimulusSet
            The stimuli, in the table's order.
        """
        import pyarrow as pa

        others = [column for column in table.column_names if column not in {"id", "path", "captions", "split"}]
        tags = [column for column in others if pa.types.is_string(table[column].type)]
        ratings = [column for column in others if column not in tags]
        return cls(
            tuple(
                Stimulus(
                    row["id"],
                    Path(row["path"]) if row["path"] else None,
                    tuple(row["captions"] or ()),
                    {rating: number(row[rating]) for rating in ratings},
                    row["split"],
                    {tag: row[tag] for tag in tags if row[tag]},
                )
                for row in table.to_pylist()
            ),
            name=name,
        )

    def located(self, files: "StimulusSet") -> "StimulusSet":
        """Give the stimuli the paths that a folder's files of the same ids have; those without a file go.

        Unicode form does not count, as file names of macOS are often decomposed.

        Parameters
        ----------
        files : StimulusSet
            Stimuli with paths.

        Returns
        -------
        StimulusSet
            The stimuli that have a file.

        Raises
        ------
        VidsimError
            If none has.
        """
        paths = {s.id: s.path for s in files.spelt_as(self.ids)}
        found = tuple(replace(s, path=paths[s.id]) for s in self.stimuli if s.id in paths)
        if not found:
            of = f" of {self.name!r}" if self.name else ""
            raise VidsimError(
                f"none of the {len(self)} stimuli{of} is among the {len(files)} files; ids such as "
                f"{self.ids[0]!r} and names such as {next(iter(paths), '')!r} must be equal"
            )
        return StimulusSet(found, True, files.unreadable)

    def spelt_as(self, ids: Collection[str]) -> "StimulusSet":
        """Give stimuli whose ids differ from others in Unicode form alone the spelling of those.

        Parameters
        ----------
        ids : collection of str
            Ids as they are to be spelt; those that are here already name their stimuli as they do.

        Returns
        -------
        StimulusSet
            The same stimuli, in order.
        """
        exact = set(self.ids) & set(ids)
        spelling = {normalize("NFC", name): name for name in ids if name not in exact}
        return replace(
            self,
            stimuli=tuple(
                s if s.id in exact else replace(s, id=spelling.get(normalize("NFC", s.id), s.id)) for s in self.stimuli
            ),
        )

    def first(self, limit: int) -> "StimulusSet":
        """Return the first ``limit`` stimuli."""
        return StimulusSet(self.stimuli[:limit], self.named, self.unreadable)

    def shard(self, number: int, of: int) -> "StimulusSet":
        """Return the part of the set that belongs to one of several processes.

        Membership depends on the id alone, so every process finds the same parts in any order.

        Parameters
        ----------
        number : int
            Which part, from 1 to ``of``.
        of : int
            How many parts.

        Returns
        -------
        StimulusSet
            The stimuli of that part.

        Raises
        ------
        VidsimError
            If there is no such part.
        """
        if not 1 <= number <= of:
            raise VidsimError(f"shard {number} of {of}: expected i of n with i from 1 to n, such as 2 of 4")
        part = self._where(lambda s: crc32(s.id.encode()) % of == number - 1)
        return StimulusSet(part.stimuli, self.named, self.unreadable if number == 1 else ())

    def _where(self, keep: Callable[[Stimulus], bool]) -> "StimulusSet":
        return StimulusSet(tuple(s for s in self.stimuli if keep(s)), self.named, self.unreadable)


def refuse_twins(ids: Iterable[str], source: str, place: Callable[[str], str] | None = None) -> None:
    """Refuse two ids that look the same and differ in Unicode form alone: they would be two stimuli.

    Parameters
    ----------
    ids : iterable of str
        Distinct ids.
    source : str
        Where they come from; begins the message.
    place : callable, optional
        Says where in the source an id stands.

    Raises
    ------
    VidsimError
        If there are such ids; both are named.
    """
    seen: dict[str, str] = {}
    for name in ids:
        known = seen.setdefault(normalize("NFC", name), name)
        if known != name:
            both = (ascii(one) + (f" in {place(one)}" if place else "") for one in (known, name))
            raise VidsimError(f"{source}: ids {' and '.join(both)} differ in Unicode form alone; write both alike")


def number(value: object) -> float:
    """Return a number as it is, and NaN for what is none, as a missing rating is."""
    return float(value) if isinstance(value, int | float) else float("nan")
