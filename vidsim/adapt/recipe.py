"""Recipe: how an encoder is fine-tuned."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, Field, model_validator
from pydantic.fields import FieldInfo

from vidsim.adapt.legal import spell
from vidsim.adapt.sections import Adapter, Batches, Loss, Optimiser, Run, Section, refuse
from vidsim.errors import VidsimError

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
    """Say how an encoder is fine-tuned; `vidsim.adapt.recipe_file.read_recipe` reads one from a file."""

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
        for key in idle(self._value):
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
        if not isinstance(data, Mapping) or look_up(data, "loss.kind") in ("hybrid", "rsa"):
            return data
        batches = data.get("batches", {})
        if isinstance(batches, Batches):
            batches = batches.model_dump(exclude_unset=True)
        if not isinstance(batches, Mapping) or "rsa_steps" in batches:
            return data
        return {**data, "batches": {**batches, "rsa_steps": 0}}

    @model_validator(mode="after")
    def _agree(self) -> "Recipe":
        for key, why in idle(self._value).items():
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


def linear_alone(recipe: Recipe) -> Recipe:
    """Return the recipe that fits a linear transform to the same encoder's embeddings, and trains nothing.

    Parameters
    ----------
    recipe : Recipe
        Names the encoder, the share of stimuli to validate with, and a seed.

    Returns
    -------
    Recipe
        As ``all-minilm-l6-v2-linear`` for its encoder.

    Examples
    --------
    >>> from vidsim.adapt.recipe_file import read_recipe
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
        run=recipe.run.model_copy(update={"seeds": recipe.run.seeds[:1], "checkpointing": False, "compile": False}),
    )


def idle(value: Value) -> dict[str, str]:
    """Tell which settings have no effect beside the others, and why.

    Parameters
    ----------
    value : callable
        Gives a setting by its dotted key.

    Returns
    -------
    dict of str to str
        Why, by dotted key.
    """
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


def look_up(data: Mapping[str, Any], key: str) -> Any:
    """Find a setting in what TOML gave, which may be of any shape; else its default.

    Parameters
    ----------
    data : mapping
        Sections, as far as they are right.
    key : str
        Dotted key.

    Returns
    -------
    object
        Its value, right or wrong.
    """
    section, name = key.split(".")
    inside = data.get(section)
    if isinstance(inside, BaseModel):
        return getattr(inside, name)
    if isinstance(inside, Mapping) and name in inside:
        return inside[name]
    return settings()[key].default


def settings() -> dict[str, FieldInfo]:
    """List every setting.

    Returns
    -------
    dict of str to FieldInfo
        By dotted key.
    """
    found: dict[str, FieldInfo] = {}
    for name, field in Recipe.model_fields.items():
        inside = field.annotation
        if isinstance(inside, type) and issubclass(inside, Section):
            found.update((f"{name}.{key}", inner) for key, inner in inside.model_fields.items())
        else:
            found[name] = field
    return found
