"""Recipe: how an encoder is fine-tuned, read from a short TOML file."""

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from vidsim.adapt.legal import legal, spell
from vidsim.adapt.sections import REFUSED, Adapter, Batches, Loss, Optimiser, Run, Section, refuse
from vidsim.errors import VidsimError
from vidsim.paths import expand
from vidsim.toml import read_toml

_PLACES = (Path(__file__).parents[1] / "configs/train", Path(__file__).parents[2] / "configs/train")
"""In an installed package, and in a checkout."""

BASE = "base"
"""Key that names the recipe a file is a variant of."""

Value = Callable[[str], Any]
"""Looks a setting up by its dotted key."""


class Unfit(VidsimError):
    """Report a setting that is legal by itself, and does not fit the encoder or the data it is used on.

    Parameters
    ----------
    key : str
        Its dotted key.
    said : str
        What was expected, what came, and what to do; it names the key.
    """

    def __init__(self, key: str, said: str) -> None:
        super().__init__(said)
        self.key = key


class Recipe(Section):
    """Say how an encoder is fine-tuned; `read_recipe` reads one from a file."""

    encoder: str = Field(description="Encoder to fine-tune, by its name in the catalog.", min_length=1)
    adapter: Adapter = Adapter()
    loss: Loss = Loss()
    batches: Batches = Batches()
    optimiser: Optimiser = Optimiser()
    run: Run = Run()

    def resolved(self) -> dict[str, Any]:
        """Return every setting that has an effect, defaults included, ready for JSON.

        Returns
        -------
        dict
            By section; `Recipe.model_validate` makes the same recipe of it.
        """
        facts = self.model_dump(mode="json")
        for key in _idle(self._value):
            section, name = key.split(".")
            del facts[section][name]
        return facts

    def _value(self, key: str) -> Any:
        section, name = key.split(".")
        return getattr(getattr(self, section), name)

    @model_validator(mode="before")
    @classmethod
    def _without_rsa(cls, data: Any) -> Any:
        """Set the RSA steps to none where the loss has no RSA term, so that nobody has to ask twice."""
        if not isinstance(data, Mapping) or _look_up(data, "loss.kind") in ("hybrid", "rsa"):
            return data
        batches = data.get("batches", {})
        if isinstance(batches, Batches):
            batches = batches.model_dump(exclude_unset=True)
        if not isinstance(batches, Mapping) or "rsa_steps" in batches:
            return data
        return {**data, "batches": {**batches, "rsa_steps": 0}}

    @model_validator(mode="after")
    def _agree(self) -> "Recipe":
        for key, why in _idle(self._value).items():
            section, name = key.split(".")
            allowed = key == "batches.rsa_steps" and self.batches.rsa_steps == 0
            if name in getattr(self, section).model_fields_set and not allowed:
                refuse(f"has no effect {why}; leave it out", key)
        if self.batches.rsa_steps == 0 and self.loss.kind in ("hybrid", "rsa") and self.batches.sampler == "trials":
            refuse(f"expected at least 1 with loss.kind = {self.loss.kind!r}, 0 came", "batches.rsa_steps")
        if not self.adapter.rank and not self.adapter.head:
            refuse("expected at least 1 without a head (adapter.head = 0), 0 came: nothing to train", "adapter.rank")
        if not self.optimiser.epochs and self.adapter.head != "linear":
            refuse(
                "expected at least 1 without a fitted head (adapter.head = 'linear'), 0 came: nothing to train",
                "optimiser.epochs",
            )
        if self.batches.rsa_gradients > self.batches.rsa_stimuli:
            most, came = self.batches.rsa_stimuli, self.batches.rsa_gradients
            refuse(f"expected at most batches.rsa_stimuli = {most}, {came} came", "batches.rsa_gradients")
        if self.loss.retention and self.loss.retention_kind == "embeddings" and self.adapter.head:
            refuse(
                f"expected 'similarities' with adapter.head = {self.adapter.head}, whose features are not the "
                "encoder's, 'embeddings' came",
                "loss.retention_kind",
            )
        return self


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


def linear_alone(recipe: Recipe) -> Recipe:
    """Return the recipe that fits a linear transform to the same encoder's embeddings, and trains nothing.

    Parameters
    ----------
    recipe : Recipe
        Names the encoder, the share of stimuli to validate with, and the seeds.

    Returns
    -------
    Recipe
        As ``all-minilm-l6-v2-linear`` for its encoder.

    Examples
    --------
    >>> made = linear_alone(read_recipe("all-minilm-l6-v2-hybrid"))
    >>> made == read_recipe("all-minilm-l6-v2-linear")
    True
    """
    return Recipe(
        encoder=recipe.encoder,
        adapter=Adapter(rank=0, head="linear"),
        loss=Loss(kind="soft"),
        batches=Batches(sampler="stimuli"),
        optimiser=Optimiser(epochs=0),
        run=recipe.run.model_copy(update={"checkpointing": False, "compile": False}),
    )


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
    for key, field in _fields().items():
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
            for key in _idle(lambda key: _look_up(merged, key)):
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
        known = _fields()
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


def _idle(value: Value) -> dict[str, str]:
    """Tell which settings have no effect beside the others, and why."""
    kind, sampler = value("loss.kind"), value("batches.sampler")
    idle: dict[str, str] = {}

    def unless(used: bool, why: str, *keys: str) -> None:
        if not used:
            idle.update((key, why) for key in keys if key not in idle)

    with_kind, with_sampler = f"with loss.kind = {spell(kind)}", f"with batches.sampler = {spell(sampler)}"
    rsa = ("batches.rsa_steps", "batches.rsa_stimuli", "batches.rsa_gradients")
    unless(kind in ("hybrid", "triplet"), with_kind, "loss.margin", "loss.anchors")
    unless(kind == "hybrid", with_kind, "loss.alpha", "loss.beta")
    unless(kind == "soft", with_kind, "loss.temperature")
    unless(kind in ("hybrid", "rsa"), with_kind, *rsa)
    unless(kind != "rsa", with_kind, "batches.trials", "batches.extra_trials")
    unless(sampler == "trials", with_sampler, *rsa, "batches.trials", "batches.extra_trials")
    unless(sampler == "stimuli", with_sampler, "batches.stimuli", "batches.steps")
    unless(value("adapter.head") not in (0, "linear"), "without a head of layers", "adapter.head_dropout")
    low_rank = ("adapter.alpha", "adapter.dropout", "adapter.targets")
    unless(value("adapter.rank") != 0, "without low-rank matrices (adapter.rank = 0)", *low_rank)
    unless(
        value("loss.retention") != 0,
        "without a retention term (loss.retention = 0)",
        "loss.retention_kind",
        "loss.retention_stimuli",
    )
    unless(
        value("run.validation") != 0,
        "without validation (run.validation = 0)",
        "run.select",
        "run.split_seed",
        "optimiser.patience",
    )
    return idle


def _look_up(data: Mapping[str, Any], key: str) -> Any:
    """Find a setting in what TOML gave, which may be of any shape; else its default."""
    section, name = key.split(".")
    inside = data.get(section)
    if isinstance(inside, BaseModel):
        return getattr(inside, name)
    if isinstance(inside, Mapping) and name in inside:
        return inside[name]
    return _fields()[key].default


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


def _fields() -> dict[str, FieldInfo]:
    """List every setting by its dotted key."""
    found: dict[str, FieldInfo] = {}
    for name, field in Recipe.model_fields.items():
        inside = field.annotation
        if isinstance(inside, type) and issubclass(inside, Section):
            found.update((f"{name}.{key}", inner) for key, inner in inside.model_fields.items())
        else:
            found[name] = field
    return found


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
    known = _fields()
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
