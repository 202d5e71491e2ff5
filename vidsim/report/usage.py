"""Usage: how an adapter is loaded, with vidsim and without, as its model card tells it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from vidsim.adapt.folder import HEAD, WEIGHTS
from vidsim.adapt.manifest import Manifest
from vidsim.extract.text import takes_text

if TYPE_CHECKING:
    from vidsim.encoders.base import EncoderCard

SINGLE = frozenset({("CLIPVisionModel", "post_layernorm"), ("SiglipVisionModel", "head")})
"""Architectures, and layers that give one vector a frame whatever the pooling."""


def usage(manifest: Manifest, card: "EncoderCard") -> str:
    """Write how an adapter is used, with vidsim and in plain Python.

    Parameters
    ----------
    manifest : Manifest
        What the adapter's folder says about it.
    card : EncoderCard
        Facts of its base.

    Returns
    -------
    str
        Markdown, with code in fences.
    """
    name = manifest.name
    text = card.modality == "text"
    stimuli = {"text": "captions.csv", "video+text": "stimuli.csv"}.get(card.modality, "VIDEOS")
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
    behind = " The head comes behind that." if manifest.head else ""
    parts.append(f"The embedding is {_pooled(manifest, card)}.{behind}")
    if takes_text(card, manifest.layer) and not manifest.head:
        parts.append(
            "A text's is the `pooler_output` of `get_text_features`, at unit length, which was not trained: "
            f'`vidsim search --encoder {name} --text "two people talk"` finds clips by it.'
        )
    return "\n\n".join(parts)


def _pooled(manifest: Manifest, card: "EncoderCard") -> str:
    """Say what becomes of a layer's output."""
    if takes_text(card, manifest.layer):
        return "the `pooler_output` of `get_video_features`, at unit length"
    if card.modality == "video+text":
        assert card.sampling is not None
        return (
            f"the mean over tokens, from the first frame's on, of `{manifest.layer}`, for a user's turn in the base's "
            f"chat template: {card.sampling.frames} stills, then the caption; of several captions, averaged over these"
        )
    frames = ", averaged over frames" if card.modality == "image" else ""
    if (card.architecture, manifest.layer) in SINGLE:
        return f"the output of `{manifest.layer}`{frames}"
    pooled = {"cls": "the first token", "mean": "the mean over tokens", "flatten": "all tokens in a row"}
    return f"{pooled.get(manifest.base['pooling'], 'the pooled output')} of `{manifest.layer}`{frames}"


def _code(manifest: Manifest, card: "EncoderCard") -> str:
    """Write code that loads the adapter without vidsim."""
    base, text = manifest.base, card.modality == "text"
    checkpoint = base["checkpoint"] if on_hub(manifest) else base["local"] or base["checkpoint"]
    told = json.dumps(checkpoint) + (f", revision={json.dumps(base['revision'])}" if base["revision"] else "")
    library, kind = ("sentence_transformers", "SentenceTransformer") if text else ("transformers", card.architecture)
    imports = [f"from {library} import {kind}"]
    copied = [f"# it was trained on a copy of its own, whose weights have the SHA-256 {base['weights']}"]
    lines = [
        *copied * bool(base["local"]),
        # some checkpoints hold halves, in which transformers would leave them
        f"model = {kind}({told})" if text else f'model = {kind}.from_pretrained({told}, dtype="float32")',
    ]
    if WEIGHTS in manifest.files:
        imports.append("from peft import PeftModel")
        of = "model[0].model" if text else "model"
        lines.append(f'{of} = PeftModel.from_pretrained({of}, ".").eval()')
    if text:
        lines.append('vectors = model.encode(["Two people talk."], convert_to_tensor=True)')
    if manifest.head:
        imports.append("from safetensors.torch import load_file")
        lines.append(f'weights = load_file("{HEAD}")')
        if manifest.recipe["adapter"]["head"] == "linear":
            apply = '(vectors - weights["mean"]) @ weights["weight"]'
        else:
            imports.append("from torch import nn")
            wide = 'weights["0.weight"].shape[1]'
            layers = f"nn.Linear({wide}, {manifest.head}), nn.LayerNorm({manifest.head}), nn.ReLU()"
            # encode returns inference tensors, which nothing that wants gradients takes
            lines += [f"head = nn.Sequential({layers}).requires_grad_(False)", "head.load_state_dict(weights)"]
            apply = "head(vectors)"
        lines.append(f"vectors = {apply}" if text else f"# of its pooled features, vectors: {apply}")
    return "\n".join([*sorted(imports), "", *lines])


def on_hub(manifest: Manifest) -> bool:
    """Tell whether the base of an adapter is a repository of the Hugging Face hub, and no folder."""
    checkpoint = manifest.base["checkpoint"]
    return bool(checkpoint) and not Path(checkpoint).is_absolute() and checkpoint.count("/") <= 1
