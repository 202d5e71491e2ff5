"""Training: the plot of a run, and the model card of an adapter."""

import json
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vidsim.adapt.evaluation import Evaluation, Measured, kept_row
from vidsim.adapt.manifest import CURVE, HEAD, WEIGHTS, Manifest
from vidsim.encoders import catalog
from vidsim.report.figures import COLOURS, GREY, plot, png, svg
from vidsim.report.markdown import escape
from vidsim.report.text import number, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from vidsim.encoders.base import EncoderCard

SHOWN = {"rho": "rho", "rho2": "rho squared", "two_way": "two-way", "three_way": "three-way"}
"""Metrics of the card, and what they are called."""

ACCURACIES = {"two_way": ("two-way", 1 / 2), "three_way": ("three-way", 1 / 3)}
"""Odd-one-out accuracies of the plot, what they are called, and chance."""

EPOCH = {"steps": "steps", "forwards": "forward passes", "trials": "trials", "pairs": "judged pairs"}
"""What an epoch holds, and what it is called."""

LICENCES = frozenset(
    {"apache-2.0", "mit", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-sa-4.0", "cc-by-nc-sa-4.0", "cc0-1.0", "bsd-3-clause"}
)
"""Those that a model card names by these words; others are given as their own name."""


def curve_plot(
    curves: Sequence[Sequence[Mapping[str, Any]]],
    select: str | None,
    *,
    evaluation: Evaluation | None = None,
    form: Literal["png", "svg"] = "png",
) -> bytes:
    """Draw how runs went: each loss by itself, and validation scores from epoch 0 on, before training.

    Dotted upright lines are the epochs kept. Beside rho stand the baselines, and the rho that a perfect model would
    have, the square root of people's reliability, with its 95 % interval as a band.

    Parameters
    ----------
    curves : sequence of sequence of mapping
        What was measured after each epoch, a run a seed.
    select : str or None
        The metric that chose the epoch.
    evaluation : Evaluation, optional
        Baselines, and people's reliability.
    form : {"png", "svg"}
        Kind of file.

    Returns
    -------
    bytes
        The file.
    """
    losses = list(dict.fromkeys(name for curve in curves for row in curve for name in row["losses"]))
    validated = [name for name in ("rho", *ACCURACIES) if any(row.get(name) is not None for c in curves for row in c)]
    columns = 2 if len(losses) > 1 or validated else 1
    above = -(-len(losses) // columns)
    rows = max(above + bool(validated), 1)
    last = max(row["epoch"] for curve in curves for row in curve)
    kept = {kept_row(curve, select)["epoch"] for curve in curves}
    with plot(4.6 * columns, 0.2 + 3.1 * above + 4.1 * bool(validated)) as (drawing, whole):
        whole.remove()
        heights = [*(1,) * above, *(1.3,) * bool(validated)] or [1]
        grid = drawing.subplots(rows, columns, squeeze=False, height_ratios=heights)
        for panel, name in zip_longest(grid[:above].ravel(), losses):
            panel.set_axis_off() if name is None else _loss(panel, name, curves)
        if validated:
            _rho(grid[-1, 0], curves, evaluation)
            _accuracies(grid[-1, 1], curves)
        for panel in [*grid[:above].ravel()[: len(losses)], *grid[above:].ravel()]:
            for epoch in kept:
                panel.axvline(epoch, color=GREY, linestyle=":", linewidth=1.2, zorder=0)
            panel.set_xlim(-0.02 * max(last, 1), max(last, 1) * 1.02)
            panel.xaxis.get_major_locator().set_params(integer=True)
            panel.set_xlabel("epoch")
        return png(drawing) if form == "png" else svg(drawing).encode()


def _line(axes: "Axes", curves: Sequence[Sequence[Mapping[str, Any]]], name: str, colour: str, label: str = "") -> None:
    """Draw one number of every run; several runs are drawn thin."""
    for place, curve in enumerate(curves):
        of = [row["losses"] for row in curve] if any(name in row["losses"] for row in curve) else curve
        known = [(row["epoch"], own[name]) for row, own in zip(curve, of, strict=True) if own.get(name) is not None]
        axes.plot(
            [epoch for epoch, _ in known],
            [value for _, value in known],
            color=colour,
            linewidth=2 if len(curves) == 1 else 1.2,
            marker="o" if len(known) <= 12 else None,
            markersize=4,
            label=label if label and not place else None,
        )


def _loss(axes: "Axes", name: str, curves: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    _line(axes, curves, name, COLOURS[5])
    axes.set_title(f"{'RSA' if name == 'rsa' else name} loss, training")
    axes.set_ylabel("mean of an epoch")


def _rho(axes: "Axes", curves: Sequence[Sequence[Mapping[str, Any]]], evaluation: Evaluation | None) -> None:
    _line(axes, curves, "rho", COLOURS[0], "adapter")
    axes.set_title("rho, validation")
    axes.set_ylabel("Spearman's rho")
    if evaluation is None:
        return
    ceiling = evaluation.ceiling
    low, high = axes.get_ylim()
    marks = {name: one.scores["rho"] for name, one in evaluation.models.items() if name in baselines_of(evaluation)}
    known = [value for value in (*marks.values(), ceiling.rho, *ceiling.rho_interval) if value == value]
    low, high = min([low, *known]), max([high, *known])
    axes.set_ylim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    if ceiling.rho == ceiling.rho:
        axes.axhline(ceiling.rho, color="black", linestyle="--", linewidth=1.5, label="perfect model, 95 %")
        if ceiling.rho_interval[0] == ceiling.rho_interval[0]:
            axes.axhspan(*ceiling.rho_interval, color=GREY, alpha=0.18, linewidth=0, zorder=0)
    styles = zip(COLOURS[1:4], ("-", (0, (4, 2)), (0, (1, 1))), strict=True)
    for (name, value), (colour, style) in zip(marks.items(), styles, strict=False):
        label = name.rpartition(", ")[2] if ", " in name else "base"
        if value == value:
            axes.axhline(value, color=colour, linestyle=style, linewidth=1.6, label=label)
    if marks or known:
        _legend(axes)


def _accuracies(axes: "Axes", curves: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    for (name, (label, chance)), colour in zip(ACCURACIES.items(), (COLOURS[0], COLOURS[2]), strict=True):
        _line(axes, curves, name, colour, label)
        axes.axhline(chance, color=colour, linestyle="--", linewidth=1.2, label=f"chance, {label}")
    axes.set_title("odd-one-out, validation")
    axes.set_ylabel("share of trials right")
    _legend(axes)


def _legend(axes: "Axes") -> None:
    """Lay the legend out between the panel and its title."""
    rows = -(-len(axes.get_legend_handles_labels()[0]) // 2)
    axes.set_title(axes.get_title(loc="left"), pad=10 + 20 * rows)
    axes.legend(fontsize=10.5, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0.2, handlelength=1.4,
                columnspacing=1.0, handletextpad=0.5)  # fmt: skip


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
        _how(manifest, card),
        "## How it was trained",
        _recipe(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def _head(manifest: Manifest, card: "EncoderCard", evaluation: Evaluation | None) -> str:
    """Write the YAML head; strings are written as JSON, which YAML reads."""
    lines = ["library_name: peft"] if WEIGHTS in manifest.files else []
    if _on_hub(manifest):
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
    where = f"[{card.name}](https://huggingface.co/{base['checkpoint']})" if _on_hub(manifest) else card.name
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
    people = f" by {data['people']:,} participants" if data.get("people") else ""
    chosen = f", those that `{data['participants']}` names" if data.get("participants") else ""
    stimuli = f" among {data['stimuli']:,} stimuli" if data.get("stimuli") else ""
    lines = [f"- Judgments: {name}. Trained on {data['trials']:,} trials{stimuli}{people}{chosen}."]
    if data.get("predicted"):
        lines.append(f"- They were {escape(data['predicted'])}.")
    if data.get("validation_trials"):
        lines.append(
            f"- Validation: {data['validation_trials']:,} trials among {data['validation_stimuli']:,} other stimuli, "
            "on none of which it was trained"
            + ("; they chose the epoch." if _chosen(manifest) else ".")
            + (" The same people judged both." if _people(manifest) else "")
        )
    known = "social-ooo" in f"{data.get('source')} {data.get('judgments')}".lower().replace("_", "-").replace(" ", "-")
    who = "a sample of online participants; see the data's own documentation" if known else (
        "the judgments do not say who the participants are; see the data's own documentation"
    )  # fmt: skip
    lines += [f"- Population: {who}.", f"- SHA-256 of trials, stimuli and captions: `{data['hash']}`."]
    return "\n".join(lines)


def _scores(manifest: Manifest, evaluation: Evaluation | None) -> str:
    own = _own(manifest, evaluation)
    if evaluation is None or own is None:
        return (
            "No stimuli were held out, so nothing is known about how it does on others; the last epoch was kept.\n\n"
            f"![Losses by epoch]({CURVE})"
        )
    names = list(dict.fromkeys([*baselines_of(evaluation), *evaluation.models]))
    rows = [("model", *SHOWN.values()), ("---", *("---:",) * len(SHOWN))]
    for name in names:
        shown = f"**{name}**" if name == manifest.name else name
        rows.append((shown, *(_cell(evaluation.models[name], metric) for metric in SHOWN)))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    lines = [
        f"On {evaluation.stimuli} validation stimuli: {evaluation.pairs:,} judged pairs, {evaluation.trials:,} trials. "
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
    lines.append(f"![Losses and validation scores by epoch]({CURVE})")
    return "\n\n".join(lines)


def _cell(own: Measured, metric: str) -> str:
    interval = span(own.intervals[metric])
    return number(own.scores[metric]) + (f" ({interval})" if interval else "")


def _uses(card: "EncoderCard") -> str:
    what = "captions" if card.modality == "text" else "videos" if card.modality == "video" else "videos, frame by frame"
    return (
        f"Research on similarity as people see it: embeddings of {what} for comparison with human judgments, and "
        "search among stimuli of the kind it was trained on. Not for decisions about persons, nor to infer what single "
        "people think or feel."
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


def _how(manifest: Manifest, card: "EncoderCard") -> str:
    name, base = manifest.name, manifest.base
    text = card.modality == "text"
    stimuli = "captions.csv" if text else "VIDEOS"
    parts = [
        f"With vidsim, which checks base, preprocessing and weights: put this folder into `adapters/{name}` of the "
        "artefact root (`indexes`, or what `--root` or `VIDSIM_ROOT` names). Its name is then an encoder's.",
        f"```sh\nvidsim index {stimuli} --encoder {name}\nvidsim models {name}\n```",
    ]
    parts += ["In plain Python, in this folder:", f"```python\n{_code(manifest, card)}\n```"]
    if text:
        if manifest.head:
            parts.append("The features of several captions of a stimulus are averaged before the head.")
        return "\n\n".join(parts)
    pooled = {"cls": "the first token", "mean": "the mean over tokens", "flatten": "all tokens in a row"}
    how = pooled.get(base["pooling"], "the pooled output")
    frames = ", averaged over frames" if card.modality == "image" else ""
    behind = " The head comes behind that." if manifest.head else ""
    parts.append(f"The embedding is {how} of `{manifest.layer}`{frames}.{behind}")
    return "\n\n".join(parts)


def _code(manifest: Manifest, card: "EncoderCard") -> str:
    """Write code that loads the adapter without vidsim."""
    base, text = manifest.base, card.modality == "text"
    checkpoint = base["checkpoint"] if _on_hub(manifest) else base["local"] or base["checkpoint"]
    told = json.dumps(checkpoint) + (f", revision={json.dumps(base['revision'])}" if base["revision"] else "")
    library, kind = ("sentence_transformers", "SentenceTransformer") if text else ("transformers", card.architecture)
    imports = [f"from {library} import {kind}"]
    copied = [f"# it was trained on a copy of its own, whose weights have the SHA-256 {base['weights']}"]
    lines = [
        *copied * bool(base["local"]),
        f"model = {kind}({told})" if text else f"model = {kind}.from_pretrained({told})",
    ]
    if WEIGHTS in manifest.files:
        imports.append("from peft import PeftModel")
        of = "model[0].model" if text else "model"
        lines.append(f'{of} = PeftModel.from_pretrained({of}, ".").eval()')
    if text:
        lines.append('vectors = model.encode(["Two people talk."], convert_to_tensor=True)')
    if manifest.head:
        imports.append("from safetensors.torch import load_file")
        loaded = f'load_file("{HEAD}")'
        if manifest.recipe["adapter"]["head"] == "linear":
            lines.append(f"weights = {loaded}")
            apply = '(vectors - weights["mean"]) @ weights["weight"]'
        else:
            imports.append("from torch import nn")
            width = int(card.options.get("embedding_width", card.width))
            layers = f"nn.Linear({width}, {manifest.head}), nn.LayerNorm({manifest.head}), nn.ReLU()"
            lines += [f"head = nn.Sequential({layers})", f"head.load_state_dict({loaded})"]
            apply = "head(vectors)"
        lines.append(f"vectors = {apply}" if text else f"# of its pooled features, vectors: {apply}")
    return "\n".join([*sorted(imports), "", *lines])


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
    holds = ", ".join(f"{one[what]:,} {name}" for what, name in EPOCH.items() if what in one)
    versions = ", ".join(f"{escape(name)} {escape(version)}" for name, version in manifest.versions.items())
    return "\n\n".join(
        [
            "\n".join(f"| {' | '.join(row)} |" for row in rows),
            f"Epoch {kept['epoch']} of {manifest.curve[-1]['epoch']} was kept; training took {spent:,.0f} s. "
            + (f"An epoch has {holds}. " if holds and _chosen(manifest) else "")
            + "Every epoch's losses and scores are in `vidsim.json`.",
            f"Versions: {versions}.",
        ]
    )


def _said(value: Any) -> str:
    return f"`{value if isinstance(value, str) else json.dumps(value)}`".replace("|", "\\|")


def _chosen(manifest: Manifest) -> bool:
    """Tell whether validation stimuli had epochs to choose among."""
    return len(manifest.curve) > 1


def _people(manifest: Manifest) -> bool:
    """Tell whether people are known to have judged."""
    return bool(manifest.data.get("people")) and not manifest.data.get("predicted")


def _own(manifest: Manifest, evaluation: Evaluation | None) -> Measured | None:
    return None if evaluation is None else evaluation.models.get(manifest.name)


def _on_hub(manifest: Manifest) -> bool:
    checkpoint = manifest.base["checkpoint"]
    return bool(checkpoint) and not Path(checkpoint).is_absolute() and checkpoint.count("/") <= 1
