"""The dataset card of predicted labels: what they are, whom they stand for, and what they must not be taken for."""

import json
from collections.abc import Mapping
from typing import Any

from vidsim.report.markdown import escape
from vidsim.report.text import number

SIZES = {
    1_000: "n<1K",
    10_000: "1K<n<10K",
    100_000: "10K<n<100K",
    1_000_000: "100K<n<1M",
    10_000_000: "1M<n<10M",
    100_000_000: "10M<n<100M",
}
"""Words that dataset hubs have for sizes, by the number of rows below which they apply."""

DESIGNS = {
    "random": "a simple random sample, without replacement, of all triplets of the clips, in random order: its first "
    "rows are a smaller sample of the same kind",
    "covering": "the fewest triplets that hold every pair of the clips at least once, in random order",
    "uncertain": "of a simple random sample of {pool:,} triplets those whose choice has the highest entropy, the most "
    "uncertain first. They are **no random sample**: means over them say nothing about other triplets",
}

COLUMNS = {
    "triplets": (
        ("a, b", "ids of the two clips that stay together, as dictionary-encoded text"),
        ("odd", "id of the clip that is predicted to be the odd one"),
        ("probability", "of that choice, 1/3 to 1"),
        ("entropy", "of the choice among the three, in nats, 0 to ln 3 = 1.0986"),
    ),
    "similarities": (
        ("id", "the clip of the row"),
        ("similarity", "cosine similarity, -1 to 1, to every clip in the order of the rows, float32"),
    ),
}


def label_card(facts: Mapping[str, Any]) -> str:
    """Write the card, in Markdown with the metadata that dataset hubs read.

    Parameters
    ----------
    facts : mapping
        What ``provenance.json`` holds.

    Returns
    -------
    str
        The file's content; everything that came from data is escaped.
    """
    triplets = facts["kind"] == "triplets"
    what = "odd-one-out choices" if triplets else "similarities"
    whose = f"{facts['encoder']}:{facts['layer']}"
    sections = {
        "What it holds": _holds(facts),
        "How it was made": _made(facts),
        "Whom it stands for": _population(facts),
        "Limits": _limits(facts),
        "How to use it": _use(facts),
    }
    parts = [
        _front(facts),
        f"# Predicted {what} of {escape(whose)}",
        f"**Predicted by a model; no person judged any of it.** {escape(whose)} predicts what people would "
        f"{'choose as the odd one of three clips' if triplets else 'find similar'}. Use it to train or to plan, never "
        "as evidence about people.",
        *(f"## {title}\n\n{text}" for title, text in sections.items()),
    ]
    return "\n\n".join(parts) + "\n"


def calibrated_on(calibration: Mapping[str, Any]) -> str:
    """Name the judgments that a temperature was fitted to.

    Parameters
    ----------
    calibration : mapping
        ``judgments`` and ``split``, as `vidsim.retrieval.calibration.Calibration.summary` has them.

    Returns
    -------
    str
        Their name, and the split if there is one.

    Examples
    --------
    >>> calibrated_on({"judgments": "social", "split": "val"})
    'social, split val'
    """
    split = calibration["split"]
    return calibration["judgments"] + (f", split {split}" if split else "")


def _front(facts: Mapping[str, Any]) -> str:
    rows = facts.get("triplets", facts["clips"])
    size = next((name for most, name in SIZES.items() if rows < most), "n>100M")
    name = f"Predicted {facts['kind']} of {facts['encoder']}:{facts['layer']}"
    lines = [
        f"pretty_name: {json.dumps(name)}",
        f"size_categories:\n- {size}",
        "annotations_creators:\n- machine-generated",
        "tags:\n- vidsim\n- synthetic\n- odd-one-out\n- similarity",
        f"configs:\n- config_name: default\n  data_files: {facts['file']['name']}",
    ]
    return "\n".join(["---", *lines, "---"])


def _holds(facts: Mapping[str, Any]) -> str:
    rows = "\n".join(f"| {name} | {meaning} |" for name, meaning in COLUMNS[facts["kind"]])
    table = f"| column | meaning |\n| --- | --- |\n{rows}"
    name = facts["file"]["name"]
    if facts["kind"] == "similarities":
        return f"`{name}`: {facts['pairs']:,} pairs of {facts['clips']:,} clips, one row a clip.\n\n{table}"
    low, middle, high = facts["quantiles"].values()
    fewest, most = facts["occurrences"]
    design = DESIGNS[facts["design"]].format(pool=facts.get("pool", 0))
    often = f"{fewest:,}{f' to {most:,}' if most > fewest else ''}"
    return (
        f"`{name}`: {facts['triplets']:,} triplets of {facts['clips']:,} clips, one a row.\n\n{table}\n\n"
        f"Triplets: {design}. None comes twice. Each clip is in {often} of them. Probability of the odd one: mean "
        f"{number(facts['probability'])}, 5 % below {number(low)}, half below {number(middle)}, 5 % above "
        f"{number(high)}; chance is 0.333. Entropy: mean {number(facts['entropy'])} nats."
    )


def _made(facts: Mapping[str, Any]) -> str:
    table = facts["table"]
    rows = [
        ("encoder and layer", f"{facts['encoder']}:{facts['layer']}"),
        ("revision of its checkpoint", facts["revision"] or "not known"),
        ("SHA-256 of its weights", facts["identity"].get("weights") or "not known"),
        ("adapter", facts["adapter"]["name"] if facts["adapter"] else "none"),
        ("table of the store", f"{table['name']}, version {table['version']}"),
        ("index", f"of version {facts['index']['version']}" if facts["index"] else "none"),
        ("similarity", facts["similarity"]),
    ]
    if facts["kind"] == "triplets":
        calibration = facts["calibration"]
        rows += [
            ("choice", "softmax over the similarities of the three pairs; the odd one is outside the likeliest pair"),
            ("temperature", f"{facts['temperature']:.6g}"),
            ("judgments it was calibrated on", calibrated_on(calibration) if calibration else "none: it was given"),
            ("design, seed", f"{facts['design']}, {facts['seed']}"),
        ]
    rows += [
        ("made", facts["created"]),
        ("versions", ", ".join(f"{name} {version}" for name, version in facts["versions"].items())),
        ("SHA-256 of the file", facts["file"]["sha256"]),
    ]
    table_rows = "\n".join(f"| {what} | {escape(str(value))} |" for what, value in rows)
    return f"| what | value |\n| --- | --- |\n{table_rows}\n\n`provenance.json` has all of it for machines."


def _population(facts: Mapping[str, Any]) -> str:
    clips = f"The {facts['clips']:,} clips are "
    if facts["stimuli"]:
        clips += f"the stimuli {escape(facts['stimuli'])}" + (
            f", split {escape(facts['split'])}." if facts["split"] else "."
        )
    else:
        clips += "what was extracted with this encoder, or a part of it; they are no sample of any population."
    if facts["kind"] == "similarities":
        return f"{clips} Nobody's judgments entered, but those that the encoder, or its adapter, was trained on."
    calibration = facts["calibration"]
    if calibration is None:
        return f"{clips} The temperature was given by hand, so the probabilities stand for nobody's choices."
    return (
        f"{clips} The probabilities were fitted to {calibration['trials']:,} choices of those who judged "
        f"{escape(calibrated_on(calibration))}; they stand at best for the average of these people, on clips like "
        "those that they saw."
    )


def _limits(facts: Mapping[str, Any]) -> str:
    lines = [
        "It repeats what the model sees and misses. Agreement with it is agreement with the model; reliability, "
        "noise ceilings and agreement between people cannot be computed from it.",
        "What the model was trained on may include these clips or judgments of them; do not score people's judgments "
        "of the same clips with a student of it.",
        "Biases of the model, of its training data and of those who judged (about gender, age, ethnicity or culture) "
        "are in the labels; nothing was done to remove them.",
        "Choices in triplets of one model hang together through its embeddings: they carry far less information than "
        "as many independent judgments, and errors of a count of rows would be far too small.",
        "Copies of a clip are most similar to each other and make their third the odd one; look for them first.",
    ]
    if facts["kind"] == "triplets" and facts["calibration"]:
        calibration = facts["calibration"]
        lines.insert(
            0,
            f"Calibration was tested on stimuli that took no part: negative log-likelihood "
            f"{number(calibration['nll'])} nats (chance 1.099), expected calibration error "
            f"{number(calibration['ece'])}. On clips of another kind it is unknown.",
        )
    elif facts["kind"] == "triplets":
        lines.insert(0, "The probabilities are **not calibrated**: their order means something, their size does not.")
    else:
        lines.insert(0, "Cosines are the model's scale, not people's: they rank pairs, and are no shares of choices.")
    return "\n".join(f"- {line}" for line in lines)


def _use(facts: Mapping[str, Any]) -> str:
    name = facts["file"]["name"]
    code = (
        "import numpy as np\nimport pyarrow.parquet as parquet\n\n"
        f'table = parquet.read_table("{name}")\n'
        'ids = table["id"].to_pylist()\n'
        'similarities = np.stack(table["similarity"].to_numpy())'
        if facts["kind"] == "similarities"
        else f'import pandas\n\nlabels = pandas.read_parquet("{name}")\nsure = labels[labels.probability > 0.8]'
    )
    return (
        f"```python\n{code}\n```\n\nWith vidsim, which keeps known that no person judged:\n\n"
        f"```sh\nvidsim judgments import {name} --name predicted\n```"
    )
