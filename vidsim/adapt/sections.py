"""Sections of a training recipe: each setting once, with its legal values, unit and place in the paper."""

from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from vidsim.adapt.legal import spell

MOST = 1_000_000
"""Beyond what any run takes; larger numbers are slips, which memory or an epoch without end would show too late."""

Positive = Annotated[int, Field(ge=1, le=MOST)]
Count = Annotated[int, Field(ge=0, le=MOST)]
Rank = Annotated[int, Field(ge=0, le=4096)]
"""No layer of the catalog's encoders has a larger rank by itself."""

Width = Annotated[int, Field(ge=0, le=65_536)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""What generators are seeded with beside an epoch's number, in 64 bits together."""

Share = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0, le=MOST)]
"""Products of such weights are far from what overflows in float32."""

Scale = Annotated[float, Field(gt=0, le=MOST)]
"""As weights, and not 0."""

LossKind = Literal["hybrid", "triplet", "rsa", "soft"]


REFUSED = "refused"
"""Type of the errors that `refuse` raises."""


def refuse(why: str, key: str = "") -> NoReturn:
    """Refuse a setting from within a validator, in words of one's own.

    Parameters
    ----------
    why : str
        What was expected and what came.
    key : str
        Dotted key; the validated one by default.

    Raises
    ------
    PydanticCustomError
        Always.
    """
    raise PydanticCustomError(REFUSED, "{why}", {"why": why, "key": key})


class Section(BaseModel):
    """Refuse unknown keys, other types, infinities, and changes; a list of TOML becomes a tuple."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _freeze(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value


class Adapter(Section):
    """Low-rank weights and the head: what is trained."""

    rank: Rank = Field(
        default=16,
        description="Rank of the low-rank matrices (section 3.3; the released code has 8); 0 for none: the head "
        "alone is trained.",
    )
    alpha: Scale = Field(
        default_factory=lambda before: 2.0 * before["rank"],
        description="LoRA scaling: the update is multiplied by alpha / rank. The paper is silent; twice the rank is "
        "what the released code has.",
        json_schema_extra={"default": "2 * rank"},
    )
    dropout: Share = Field(
        default=0.0,
        description="Dropout on the way into the low-rank matrices, a probability (the paper is silent; the released "
        "code has 0.1).",
    )
    targets: Literal["attention", "all-linear"] | tuple[str, ...] = Field(
        default="attention",
        description="Linear layers that get low-rank matrices: those of attention that the encoder's card names "
        "(section 3.3), every one of the blocks (the released code), or the ends of module names.",
    )
    head: Width | Literal["linear"] = Field(
        default=0,
        description="Width of a trained head Linear-LayerNorm-ReLU-Dropout behind the embedding, in features; 0 for "
        "none (the released code has 128). linear: a square matrix, first fitted to the trials on frozen embeddings, "
        "near the identity (as gLocal), then trained with the rest.",
    )
    head_dropout: Share = Field(default=0.3, description="Dropout of the head, a probability (the released code's).")

    @field_validator("targets")
    @classmethod
    def _some(cls, value: Any) -> Any:
        if not value or (isinstance(value, tuple) and not all(value)):
            refuse(f"expected at least one name, and no empty one, {spell(value)} came")
        return value


class Loss(Section):
    """What is minimised."""

    kind: LossKind = Field(
        default="hybrid",
        description="hybrid: triplet and RSA loss together (Eq. 5); triplet (Eq. 3) or rsa (Eq. 4): one alone; soft: "
        "likelihood of the choices under a softmax over the similarities of the three pairs (not in the paper).",
    )
    margin: Weight = Field(
        default=0.2, description="gamma of the triplet loss, in cosine distance, which runs from 0 to 2 (Eq. 3)."
    )
    alpha: Weight = Field(default=0.7, description="Weight of the triplet loss in the hybrid (Eq. 5).")
    beta: tuple[Weight, Weight] = Field(
        default=(0.3, 0.7),
        description="Weight of the RSA loss in the hybrid: in the first and in the last epoch, a straight line between "
        "(Eq. 5).",
    )
    anchors: Literal["first", "both"] = Field(
        default="first",
        description="Anchor of a trial's triplet: the first of the two that stayed together, or each of them in turn "
        "(section 3.3.1 has one).",
    )
    temperature: Annotated[float, Field(ge=1 / MOST, le=MOST)] = Field(
        default=0.1, description="Temperature of the softmax of the soft loss, in cosine similarity (not in the paper)."
    )
    retention: Weight = Field(
        default=0.0,
        description="lambda, weight of a term that keeps the trained model near the frozen one; 0 for none (not in "
        "the paper).",
    )
    retention_kind: Literal["embeddings", "similarities"] = Field(
        default="embeddings", description="What the retention term keeps: embeddings, or similarities between them."
    )
    retention_stimuli: Annotated[int, Field(ge=2, le=MOST)] = Field(
        default=8,
        description="Stimuli a step that the retention term looks at, drawn from those of --unlabelled; without these "
        "it looks at the step's own.",
    )

    @model_validator(mode="after")
    def _weighs(self) -> "Loss":
        if self.kind == "hybrid" and not any((self.alpha, *self.beta, self.retention)):
            refuse(
                f"expected above 0 with loss.beta = {spell(self.beta)}, {spell(self.alpha)} came: nothing to minimise",
                "loss.alpha",
            )
        return self


class Batches(Section):
    """How trials become steps."""

    sampler: Literal["trials", "stimuli"] = Field(
        default="trials",
        description="trials: a step is a few trials, each with its three forward passes (section 3.3.1); stimuli: a "
        "step is some distinct stimuli and every trial and judged pair among them (not in the paper).",
    )
    trials: Positive = Field(
        default=4,
        description="Trials in a step of the trials sampler (section 3.3.1, batch size); the rsa loss has none.",
    )
    rsa_steps: Count = Field(
        default=6,
        description="Steps of an epoch that carry an RSA loss, evenly spaced (section 3.3.1); 0 by itself where the "
        "loss has no RSA term.",
    )
    rsa_stimuli: Annotated[int, Field(ge=3, le=MOST)] = Field(
        default=24, description="K, distinct stimuli of an RSA step of the trials sampler (section 3.3.1)."
    )
    rsa_gradients: Positive = Field(
        default=6,
        description="M, how many of the K carry gradients; pairs without any of them do not count (section 3.3.1).",
    )
    extra_trials: Count = Field(
        default=0,
        description="Trials drawn a second time in an epoch, spread over its steps: 738 match the hybrid's RSA "
        "constraints (section 4, triplet-budget-matched).",
    )
    stimuli: Annotated[int, Field(ge=3, le=MOST)] = Field(
        default=32, description="B, distinct stimuli in a step of the stimuli sampler (not in the paper)."
    )
    steps: Count = Field(default=0, description="Steps of an epoch of the stimuli sampler; 0 leaves it to the sampler.")


class Optimiser(Section):
    """How weights move (AdamW)."""

    learning_rate: Scale = Field(default=1e-4, description="AdamW's learning rate (section 3.3.1).")
    weight_decay: Weight = Field(
        default=0.01,
        description="AdamW's decoupled weight decay (the paper is silent; torch's own, as in the released code).",
    )
    epochs: Count = Field(
        default=50,
        description="Passes over the training trials, at most (section 3.3.1); 0 keeps what was fitted before.",
    )
    clip: Annotated[float, Field(ge=0)] = Field(
        default=1.0,
        description="Largest norm of a gradient, which is scaled down to it; 0 for no limit (the paper's).",
    )
    schedule: Literal["constant", "cosine"] = Field(
        default="constant",
        description="Learning rate behind the warm-up: as it is, or down to 0 along half a cosine (the paper names no "
        "schedule).",
    )
    warmup: Share = Field(
        default=0.0, description="Share of all steps over which the learning rate rises from 0 in a straight line."
    )
    patience: Count = Field(
        default=0,
        description="Epochs without a better validation score after which training stops; 0 for never (the released "
        "code has 5).",
    )


class Run(Section):
    """Everything else that a result depends on."""

    seeds: tuple[Seed, ...] = Field(
        default=(0,), description="One training run a seed: weights, order, dropout, captions."
    )
    validation: Share = Field(
        default=0.2,
        description="Share of the training stimuli, not of the trials, that is held out to choose the epoch (section "
        "3.3.1); 0 for none: the last epoch is kept.",
    )
    split_seed: Seed = Field(
        default=42, description="Seed of that split, the same for all of seeds (the released code's)."
    )
    select: Literal["rho", "rho2", "two_way", "two_way_first", "three_way"] = Field(
        default="rho",
        description="Validation score that chooses the epoch: Spearman's rho (its square, the paper's, forgets the "
        "sign), or an odd-one-out accuracy.",
    )
    captions: Literal["draw", "mean", "first"] = Field(
        default="draw",
        description="Encoders that read, in training: one caption of a stimulus drawn anew each step, the mean of "
        "their embeddings, or the first caption.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Precision of the model's matrix products; auto takes bfloat16 where the hardware has it (section "
        "3.3.1, mixed precision).",
    )
    checkpointing: bool = Field(
        default=False,
        description="Compute activations a second time instead of keeping them: less memory, more time (section 3.3.1, "
        "gradient checkpointing).",
    )
    compile: bool = Field(
        default=False,
        description="Compile the model with torch.compile before it is trained. Where neither run.checkpointing nor "
        "loss.retention is set, one GPU also captures the usual step of a model on frames as CUDA graphs; steps of "
        "other sizes then run uncompiled.",
    )

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or len(set(value)) < len(value):
            refuse(f"expected at least one seed, and each once, {spell(value)} came")
        return value
