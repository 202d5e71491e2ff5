"""The model card of an adapter: what it is, whose judgments it follows, how well, and how it is used."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vidsim.adapt.evaluation import Evaluation, Measured, drawable, kept_row
from vidsim.adapt.folder import CURVE, WEIGHTS
from vidsim.adapt.manifest import Manifest
from vidsim.encoders import catalog
from vidsim.report.markdown import escape
from vidsim.report.text import counted, number, span
from vidsim.report.usage import on_hub, usage

if TYPE_CHECKING:
    from vidsim.encoders.base import EncoderCard

SHOWN = {"rho": "rho", "rho2": "rho squared", "two_way": "two-way", "three_way": "three-way"}
"""Metrics of the card, and what they are called."""

EPOCH = {"steps": "step", "forwards": "forward pass", "trials": "trial", "pairs": "judged pair"}
"""What an epoch holds, and what one of it is called."""

EMBEDDED = {
    "text": "captions",
    "video": "videos",
    "image": "videos, frame by frame,",
    "video+text": "videos with their captions",
}
"""By modality, what an encoder embeds."""

LICENCES = frozenset(
    {"apache-2.0", "mit", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-sa-4.0", "cc-by-nc-sa-4.0", "cc0-1.0", "bsd-3-clause"}
)
"""Those that a model card names by these words; others are given as their own name."""


def early(manifest: Manifest) -> str:
    """Say why a run ended before its last epoch; nothing where it did not, or where that was not noted yet."""
    why = manifest.data.get("stopped")
    return f"stopped before the end of {counted(manifest.recipe['optimiser']['epochs'], 'epoch')}: {why}" if why else ""


def baselines_of(evaluation: Evaluation) -> list[str]:
    """Name the baselines of an evaluation: the base and what is made of it."""
    return [name for name in evaluation.models if name == evaluation.base or name.startswith(f"{evaluation.base}, ")]


def model_card(manifest: Manifest, evaluation: Evaluation | None = None) -> str:
    """Write the model card of an adapter, in the layout of the Hugging Face hub.

    Parameters
    ----------
    manifest : Manifest
        What the adapter's folder says about it.
    evaluation : Evaluation, optional
        Scores on validation stimuli; the adapter is among the models under its own name.

    Returns
    -------
    str
        Markdown with a YAML head.
    """
    card = catalog.card(manifest.base["encoder"])
    parts = [
        _head(manifest, card, evaluation),
        f"# {manifest.name}",
        _about(manifest, card),
        "## Data and people",
        _data(manifest),
        "## How closely it matches people",
        _scores(manifest, evaluation),
        "## Intended use",
        _uses(card),
        "## Limits",
        _limits(manifest, card),
        "## How to use it",
        usage(manifest, card),
        "## How it was trained",
        _recipe(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def _head(manifest: Manifest, card: "EncoderCard", evaluation: Evaluation | None) -> str:
    """Write the YAML head; strings are written as JSON, which YAML reads."""
    lines = ["library_name: peft"] if WEIGHTS in manifest.files else []
    if on_hub(manifest):
        lines += [f"base_model: {json.dumps(manifest.base['checkpoint'])}", "base_model_relation: adapter"]
    if card.licence.lower() in LICENCES:
        lines.append(f"license: {card.licence.lower()}")
    elif card.licence:
        lines += ["license: other", f"license_name: {json.dumps(card.licence)}"]
    kind = "sentence-similarity" if card.modality == "text" else "feature-extraction"
    lines.append(f"pipeline_tag: {kind}")
    lines += ["tags:", *(f"- {tag}" for tag in ("vidsim", "lora", "human-alignment", "odd-one-out", card.modality))]
    own = _own(manifest, evaluation)
    if own is not None:
        data = json.dumps(str(manifest.data.get("judgments", "judgments")))
        lines += [
            "model-index:",
            f"- name: {json.dumps(manifest.name)}",
            "  results:",
            "  - task:",
            f"      type: {kind}",
            "    dataset:",
            f"      name: {data}",
            f"      type: {data}",
            "      split: validation",
            "    metrics:",
        ]
        for metric, name in SHOWN.items():
            if own.scores[metric] == own.scores[metric]:
                lines += [f"    - type: {metric}", f"      name: {name}", f"      value: {own.scores[metric]:.4f}"]
    return "\n".join(["---", *lines, "---"])


def _about(manifest: Manifest, card: "EncoderCard") -> str:
    base = manifest.base
    where = f"[{card.name}](https://huggingface.co/{base['checkpoint']})" if on_hub(manifest) else card.name
    at = f" at revision `{base['revision']}`" if base["revision"] else ""
    what = [f"LoRA weights (rank {manifest.recipe['adapter']['rank']}) inside"] if WEIGHTS in manifest.files else []
    if manifest.head:
        kind = "linear head" if manifest.recipe["adapter"]["head"] == "linear" else "head"
        what.append(f"a {kind} of {manifest.head} features behind")
    predicted = manifest.data.get("predicted")
    whose, who = ("predicted", "another model finds") if predicted else ("people's", "people find")
    return (
        f"An adapter: {' and '.join(what)} {where}{at}, {manifest.parameters:,} weights, trained on "
        f"{whose} odd-one-out judgments with vidsim, so that cosines between its embeddings follow what {who} "
        f"similar. The layer that was trained is `{manifest.layer}`. SHA-256 of the "
        f"base's weights: `{base['weights']}`."
    )


def _data(manifest: Manifest) -> str:
    data = manifest.data
    name = escape(str(data.get("judgments", "not named")))
    people = f" by {counted(data['people'], 'participant')}" if data.get("people") else ""
    chosen = f", those that `{data['participants']}` names" if data.get("participants") else ""
    stimuli = f" among {data['stimuli']:,} stimuli" if data.get("stimuli") else ""
    lines = [f"- Judgments: {name}; to train on, {counted(data['trials'], 'trial')}{stimuli}{people}{chosen}."]
    if data.get("predicted"):
        lines.append(f"- They were {escape(data['predicted'])}.")
    if data.get("validation_trials"):
        lines.append(
            f"- Validation: {counted(data['validation_trials'], 'trial')}{_checked_by(data)} among "
            f"{data['validation_stimuli']:,} other stimuli, on none of which it was trained"
            + ("; they chose the epoch." if _chosen(manifest) else ".")
        )
    known = "social-ooo" in f"{data.get('source')} {data.get('judgments')}".lower().replace("_", "-").replace(" ", "-")
    who = (
        "adults recruited through a U.S. university's research platform, who took part online"
        if known
        else "the judgments do not say who the participants are"
    ) + "; see the data's own documentation"
    lines += [f"- Population: {who}.", f"- SHA-256 of trials, stimuli, captions and frames: `{data['hash']}`."]
    return "\n".join(lines)


def _scores(manifest: Manifest, evaluation: Evaluation | None) -> str:
    own = _own(manifest, evaluation)
    if evaluation is None or own is None:
        known = "No stimuli were held out, so nothing is known about how it does on others"
        known += "; the last epoch was kept." if _chosen(manifest) else "."
        return f"{known}\n\n![Losses by epoch]({CURVE})" if drawable(manifest.curve) else known
    names = list(dict.fromkeys([*baselines_of(evaluation), *evaluation.models]))
    rows = [("model", *SHOWN.values()), ("---", *("---:",) * len(SHOWN))]
    for name in names:
        shown = f"**{name}**" if name == manifest.name else name
        rows.append((shown, *(_cell(evaluation.models[name], metric) for metric in SHOWN)))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    lines = [
        f"On {evaluation.stimuli} validation stimuli: {counted(evaluation.pairs, 'judged pair')}, "
        f"{counted(evaluation.trials, 'trial')}. "
        "In brackets 95 % intervals by bootstrap over stimuli. Chance is 0.500 two-way and 0.333 three-way.",
        table,
    ]
    if own.differences:
        told = [
            f"{SHOWN[metric]} {number(own.differences[metric][0], sign='+')} "
            f"({span(own.differences[metric][1:], sign='+')})"
            for metric in SHOWN
            if metric in own.differences
        ]
        lines.append(f"Less {evaluation.base}, on the same resamples: {', '.join(told)}.")
    if evaluation.seeds:
        told = [
            f"{SHOWN[metric]} {number(evaluation.seeds[metric][0])} ({span(evaluation.seeds[metric][1:])})"
            for metric in SHOWN
            if metric in evaluation.seeds
        ]
        lines.append(f"Mean over seeds, with its 95 % interval (Student's t): {', '.join(told)}.")
    ceiling = evaluation.ceiling
    if ceiling.spearman_brown == ceiling.spearman_brown:
        within = f" ({span(ceiling.interval)})" if span(ceiling.interval) else ""
        lines.append(
            f"Reliability of people on these stimuli, split-half: {number(ceiling.spearman_brown)}{within}. Rho "
            f"squared is to be compared with it: a perfect model's rho would be {number(ceiling.rho)} on average."
        )
    chosen = ["epoch"] * _chosen(manifest) + ["seed"] * bool(evaluation.seeds)
    if chosen:
        lines.append(
            f"The {' and the '.join(chosen)} {'was' if len(chosen) == 1 else 'were'} chosen on these stimuli, so the "
            "adapter's own scores are somewhat too good; judge it on stimuli that took no part."
        )
    if drawable(manifest.curve):
        lines.append(f"![Losses and validation scores by epoch]({CURVE})")
    return "\n\n".join(lines)


def _cell(own: Measured, metric: str) -> str:
    interval = span(own.intervals[metric])
    return number(own.scores[metric]) + (f" ({interval})" if interval else "")


def _uses(card: "EncoderCard") -> str:
    return (
        f"Research on similarity as people see it: embeddings of {EMBEDDED[card.modality]} for comparison with human "
        "judgments, and search among stimuli of the kind it was trained on. Not for decisions about persons, nor to "
        "infer what single people think or feel."
    )


def _limits(manifest: Manifest, card: "EncoderCard") -> str:
    people = (
        "It follows the chosen participants, and need not hold for anybody else."
        if manifest.data.get("participants")
        else "It follows the average of these participants; single people and other groups may judge otherwise."
        if _people(manifest)
        else "It follows the average of its judgments; single people and other groups may judge otherwise."
    )
    lines = [
        f"- {people}",
        "- Samples that take part in such studies are mostly Western. What they find alike, above all in how people "
        "deal with each other, need not hold in other cultures.",
        "- An adapter takes on the biases of those who judged and, with captions, of those who described, and adds "
        "them to those of its base: about gender, age, ethnicity or status, say. Nothing was done to remove them.",
        "- It was trained on few stimuli of one kind. On others it may be worse than its base; compare both.",
        "- Judgments answer one question, asked in one way. Another question would give other similarities.",
    ]
    if card.licence:
        lines.append(f"- The licence of the base is {escape(card.licence)}; see there what it allows.")
    return "\n".join(lines)


def _recipe(manifest: Manifest) -> str:
    rows = [("setting", "value"), ("---", "---"), ("seed", str(manifest.seed))]
    for section, inside in manifest.recipe.items():
        if isinstance(inside, Mapping):
            rows += [(f"{section}.{key}", _said(value)) for key, value in inside.items()]
        else:
            rows.append((section, _said(inside)))
    kept = kept_row(manifest.curve, manifest.recipe.get("run", {}).get("select"))
    spent = sum(row["seconds"] for row in manifest.curve)
    one = manifest.data.get("epoch", {})
    holds = ", ".join(counted(one[what], name) for what, name in EPOCH.items() if what in one)
    stopped = early(manifest)
    versions = ", ".join(f"{escape(name)} {escape(version)}" for name, version in manifest.versions.items())
    told = ["It was fitted, without training.", stopped and f"It {stopped}."]
    if _chosen(manifest):
        told = [
            f"Epoch {kept['epoch']} of {manifest.curve[-1]['epoch']} was kept; training took {spent:,.0f} s.",
            told[-1],
            holds and f"The first epoch had {holds}.",
            "Every epoch's losses and scores are in `vidsim.json`.",
        ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([table, " ".join(filter(None, told)), f"Versions: {versions}."])


def _said(value: Any) -> str:
    return f"`{value if isinstance(value, str) else json.dumps(value)}`".replace("|", "\\|")


def _chosen(manifest: Manifest) -> bool:
    """Tell whether validation stimuli had epochs to choose among."""
    return len(manifest.curve) > 1


def _checked_by(data: Mapping[str, Any]) -> str:
    """Say who judged the validation trials, where it is known: those who were trained on are no new people."""
    if not data.get("validation_people") or data.get("predicted"):
        return ""
    people, both = data["validation_people"], data["people_of_both"]
    share = {0: "none", people: "all"}.get(both, both)
    return f" by {counted(people, 'participant')} ({share} of whom it was trained on too)"


def _people(manifest: Manifest) -> bool:
    """Tell whether people are known to have judged."""
    return bool(manifest.data.get("people")) and not manifest.data.get("predicted")


def _own(manifest: Manifest, evaluation: Evaluation | None) -> Measured | None:
    return None if evaluation is None else evaluation.models.get(manifest.name)
