"""Recipe files: recipes as short TOML files, one's own and those that come with the package."""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from vidsim.adapt.legal import legal, spell
from vidsim.adapt.recipe import Recipe, Unfit, idle, look_up, settings
from vidsim.adapt.sections import REFUSED
from vidsim.errors import VidsimError
from vidsim.paths import expand
from vidsim.toml import read_toml

_PLACES = (Path(__file__).parents[1] / "configs/train", Path(__file__).parents[2] / "configs/train")
"""In an installed package, and in a checkout."""

BASE = "base"
"""Key that names the recipe a file is a variant of."""


def read_recipe(source: str | Path) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    source : str or Path
        A TOML file, or the name of a recipe that comes with the package.

    Returns
    -------
    Recipe
        The recipe, what it inherits through ``base`` included.

    Raises
    ------
    VidsimError
        If there is no such file or recipe, or a key is unknown or wrong: the file, the key, and what is legal.

    Examples
    --------
    >>> read_recipe("timesformer-base-hybrid").loss.beta
    (0.3, 0.7)
    """
    return _Reader(_find(source)).recipe()


@contextmanager
def naming(source: str | Path) -> Generator[None]:
    """Name the file of a recipe in the error of a setting that turns out not to fit.

    Parameters
    ----------
    source : str or Path
        As `read_recipe` takes it.

    Yields
    ------
    None
        Use the recipe here.

    Raises
    ------
    VidsimError
        In place of `Unfit`, with the file that set the key, or the recipe's own where none did or one that comes along.
    """
    try:
        yield
    except Unfit as error:
        given = _find(source)
        setting = _Reader(given).file(error.key)
        # what comes along is not for the user to mend: their own recipe can set the key anew
        where = given if setting in recipes().values() else setting
        raise VidsimError(f"{os.fspath(where)}: {error}") from error


def recipes() -> dict[str, Path]:
    """List the recipes that come with the package.

    Returns
    -------
    dict of str to Path
        By name, in alphabetical order.
    """
    folder = next((place for place in _PLACES if place.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.toml"), key=lambda path: path.stem)} if folder else {}


def describe() -> str:
    """Write the settings of a recipe down, for the documentation.

    Returns
    -------
    str
        A Markdown table: key, legal values, default, meaning.
    """
    rows = [
        ("Key", "Takes", "Default", "Meaning"),
        ("---",) * 4,
        (f"`{BASE}`", "a name", "", "Recipe that this one is a variant of: a file beside it, or one that comes along."),
    ]
    for key, field in settings().items():
        rows.append((f"`{key}`", _legal(field), _default(field), field.description or ""))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


class _Reader:
    """Read a file and those it is a variant of, and remember which said what."""

    def __init__(self, path: Path) -> None:
        chain = [(path, read_toml(path, "a recipe"))]
        while BASE in chain[0][1]:
            place = _base(*chain[0])
            if place in [file for file, _ in chain]:
                round_trip = " -> ".join([*(file.stem for file, _ in reversed(chain)), place.stem])
                raise VidsimError(
                    f"{os.fspath(chain[0][0])}: {BASE} leads back to {place.stem!r} ({round_trip}); expected an end"
                )
            chain.insert(0, (place, read_toml(place, "a recipe")))
        self.chain = chain

    def recipe(self) -> Recipe:
        merged = self._merged()
        try:
            return Recipe.model_validate(merged)
        except ValidationError as error:
            mistakes: dict[str, str] = {}
            found = error.errors(include_url=False)
            for one in sorted(found, key=lambda e: e["type"] != "extra_forbidden"):
                key = cast("Mapping[str, str]", one.get("ctx", {})).get("key") or ".".join(map(str, one["loc"][:2]))
                if one["type"] != "default_factory_not_called":
                    mistakes.setdefault(key, self._say(key, one["type"], one["msg"], merged))
        (key, said), *others = mistakes.items()
        more = f" (and {len(others)} more mistake{'s' * (len(others) > 1)})" if others else ""
        raise VidsimError(f"{os.fspath(self.file(key))}: {said}{more}")

    def file(self, key: str) -> Path:
        return self.chain[self._origin(key)][0]

    def _merged(self) -> dict[str, Any]:
        """Lay the files over each other; what a variant makes idle does not come along from those it is based on."""
        merged: dict[str, Any] = {}
        for number, (_, data) in enumerate(self.chain):
            for section, value in data.items():
                if isinstance(value, dict) and isinstance(merged.get(section), dict):
                    merged[section] = merged[section] | value
                elif section != BASE:
                    merged[section] = value
            for key in idle(lambda key: look_up(merged, key)):
                section, name = key.split(".")
                inside = merged.get(section)
                if isinstance(inside, dict) and name in inside and self._origin(key, number) < number:
                    merged[section] = {k: v for k, v in inside.items() if k != name}
        return merged

    def _origin(self, key: str, last: int | None = None) -> int:
        """Find the file that set a key last."""
        section, _, name = key.partition(".")
        last = len(self.chain) - 1 if last is None else last
        for number in range(last, -1, -1):
            value = self.chain[number][1].get(section)
            if section in self.chain[number][1] and (not name or not isinstance(value, dict) or name in value):
                return number
        return last

    def _say(self, key: str, kind: str, message: str, merged: Mapping[str, Any]) -> str:
        if kind == REFUSED:
            return f"{key} {message}"
        known = settings()
        if kind == "extra_forbidden":
            return f"{key} is not known; {_nearest_key(key)}"
        if key not in known:
            return f"{key} expected a table [{key}], {spell(merged.get(key))} came"
        if kind == "missing" and "." not in key:  # inside a list it is the list that is wrong; sections have defaults
            return f"{key} is missing; expected {_legal(known[key])}"
        section, _, name = key.partition(".")
        came = merged[section][name] if name else merged[section]
        literals = _literals(known[key].annotation)
        near = get_close_matches(came, literals, 1, 0.5) if isinstance(came, str) else []
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{key} expected {_legal(known[key])}, {spell(came)} came{hint}"


def _find(source: str | Path) -> Path:
    known = recipes()
    by_name = {name.lower(): path for name, path in known.items()}
    path = expand(source)
    if path.suffix.lower() == ".toml" or path.is_file() or len(path.parts) > 1:
        if not path.exists() and path.stem.lower() in by_name:
            raise VidsimError(
                f"no file {os.fspath(path)!r}; the recipe that comes along is named {path.stem.lower()!r}"
            )
        return path
    name = os.fspath(source)
    if name.lower() in by_name:
        return by_name[name.lower()]
    if path.with_suffix(".toml").is_file():
        raise VidsimError(f"no recipe named {name!r} comes along; did you mean the file '{name}.toml'?")
    near = get_close_matches(name.lower(), by_name, 1, 0.5)
    hint = f"did you mean {by_name[near[0]].stem!r}?" if near else f"there are {', '.join(known) or 'none'}"
    raise VidsimError(f"no recipe named {name!r}, nor a file; {hint}")


def _base(path: Path, data: Mapping[str, Any]) -> Path:
    name = data[BASE]
    if not isinstance(name, str) or not name:
        raise VidsimError(f"{os.fspath(path)}: {BASE} expected a recipe's name, {spell(name)} came")
    if name != Path(name).name:
        raise VidsimError(f"{os.fspath(path)}: {BASE} expected the name of a recipe beside it, {spell(name)} came")
    name = name.removesuffix(".toml")
    beside = {file.stem: file for file in path.parent.glob("*.toml")}
    legal_names = {**recipes(), **beside}
    if name not in legal_names:
        near = get_close_matches(name, legal_names, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(legal_names)}"
        raise VidsimError(f"{os.fspath(path)}: {BASE} names {name!r}, which is no recipe; {hint}")
    return legal_names[name]


def _legal(field: FieldInfo) -> str:
    return legal(field.annotation, field.metadata)


def _default(field: FieldInfo) -> str:
    if isinstance(field.json_schema_extra, dict):
        return f"`{field.json_schema_extra['default']}`"
    return "" if field.is_required() else f"`{spell(field.default)}`".replace("'", '"')


def _literals(annotation: Any) -> list[str]:
    """Collect the words among a type's legal values."""
    parts = get_args(annotation)
    return [p for p in parts if isinstance(p, str)] + [word for p in parts if get_args(p) for word in _literals(p)]


def _nearest_key(key: str) -> str:
    known = settings()
    section, _, name = key.partition(".")
    sections = list(dict.fromkeys(k.partition(".")[0] for k in known))
    if not name:
        inner = [k for k in known if k.endswith(f".{section}")]
        near = inner or get_close_matches(section, [BASE, *sections], 1, 0.5)
        return f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join([BASE, *sections])}"
    siblings = [k.partition(".")[2] for k in known if k.startswith(f"{section}.")]
    elsewhere = [k for k in known if k.endswith(f".{name}")]
    near = [f"{section}.{k}" for k in get_close_matches(name, siblings, 1, 0.6)] or elsewhere
    return f"did you mean {near[0]!r}?" if near else f"[{section}] has {', '.join(siblings)}"
