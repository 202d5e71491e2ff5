"""Sentence encoders of sentence-transformers: captions in, token means of every block and the pipeline's output out.

A checkpoint without a pipeline (plain RoBERTa, XLM-R) gets the one that the library gives it: the mean over tokens.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from vidsim.encoders.activations import collect, find_modules
from vidsim.encoders.base import EncoderCard, Reduce
from vidsim.encoders.card_rules import PIPELINE
from vidsim.encoders.checkpoint import Resolved, read_json, read_modules
from vidsim.encoders.first_pass import FirstPass
from vidsim.encoders.machine import of_machine
from vidsim.encoders.pickled import safe_folder
from vidsim.encoders.transfer import to_device
from vidsim.encoders.weights import check_fit, load_strictly, quiet_transformers
from vidsim.errors import VidsimError

HEADS = ("cls.", "lm_head.")
"""Prefixes of weights of pretraining heads, which no layer needs."""

WIDTHS = frozenset({"embedding_dimension", "word_embedding_dimension"})
"""Names, new and old, of the width of tokens in a pooling's configuration."""

CAPTIONS_AT_ONCE = 64
"""Captions in a forward pass; sorted by length, so that little of it is padding."""


class SentenceEncoder:
    """Encode captions; the embedding of a stimulus is the mean over its captions.

    Parameters
    ----------
    resolved : Resolved
        Encoder whose files have been found.
    device : str
        Device as torch names it.

    Raises
    ------
    VidsimError
        If sentence-transformers is not installed, or the checkpoint does not fit the card.
    """

    def __init__(self, resolved: Resolved, device: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise VidsimError(
                f"{resolved.card.name} needs sentence-transformers; install it with: pip install 'vidsim[text]'"
            ) from error
        card = resolved.card
        self.card: EncoderCard = card
        self.resolved = resolved
        self.device = device
        folder = safe_folder(resolved)
        transformer = _transformer_folder(folder) if (folder / "modules.json").is_file() else folder
        heads = (*HEADS, *card.options.get("heads", ()))
        # the pipeline does not tell what it could not fill, so its transformer is first loaded strictly
        load_strictly("AutoModel", transformer, heads=heads, optional=("pooler.",))
        try:
            with quiet_transformers():
                model = SentenceTransformer(
                    os.fspath(folder),
                    device=device,
                    local_files_only=True,
                    trust_remote_code=False,
                    model_kwargs={"dtype": torch.float32},
                )
        except Exception as error:  # what its files ask for is built by many modules, which fail in their own ways
            if of_machine(error):
                raise
            said = " ".join(str(error).split()) or type(error).__name__
            raise VidsimError(
                f"{os.fspath(folder)!r} cannot be loaded as a sentence-transformers pipeline: {said}; download it again"
            ) from error
        self.model: Any = model.eval().requires_grad_(requires_grad=False)
        check_fit(
            self.model,
            resolved,
            blocks=(len(card.blocks), self._size("num_hidden_layers")),
            width=(card.width, self._size("hidden_size")),
            width_of_the_embedding=(card.embedding_width, self.model.get_embedding_dimension()),
        )
        find_modules(self.model, card.layers[:-1])
        self.normalises = any(type(module).__name__ == "Normalize" for module in self.model)
        # the pipeline's own encode() puts its default prompt in front of every text
        self.prompt: str | None = self.model.prompts.get(self.model.default_prompt_name) or None
        self._limit_length(transformer)
        self._try_out(folder)

    @property
    def provenance(self) -> Mapping[str, object]:
        """Return what determines the embeddings, and where the weights came from."""
        return self.resolved.provenance

    def prepare(self, stimulus: Sequence[str]) -> Sequence[str]:
        """Return the captions of a stimulus as they are.

        Parameters
        ----------
        stimulus : sequence of str
            Captions.

        Returns
        -------
        sequence of str
            The same.
        """
        return stimulus

    def encode(
        self, batch: Sequence[Sequence[str]], layers: Sequence[str], reduce: Reduce
    ) -> dict[str, Float[ndarray, "b _"]]:
        """Encode every caption, average over the captions of a stimulus, then reduce.

        Blocks are averaged over tokens without padding. Where the pipeline normalises its output, the mean
        of several captions is normalised again.

        Parameters
        ----------
        batch : sequence of sequence of str
            Captions of every stimulus, at least one each.
        layers : sequence of str
            Layers of the card.
        reduce : Reduce
            Takes a layer's name and its features.

        Returns
        -------
        dict of str to array of shape (b, dims)
            float32 embeddings.

        Raises
        ------
        VidsimError
            If there is no stimulus, or one has no caption.
        """
        if not batch:
            raise VidsimError(f"{self.card.name} takes one stimulus or more, none came")
        for captions in batch:
            if isinstance(captions, str) or not captions:
                raise VidsimError(f"{self.card.name} takes a list of captions a stimulus, {captions!r} came")
        flat: list[str] = [caption for captions in batch for caption in captions]
        counts = np.array([len(captions) for captions in batch])
        starts = np.cumsum(counts) - counts
        vectors = self._encode_captions(flat, layers)
        answer: dict[str, ndarray] = {}
        for layer in layers:
            means = torch.from_numpy(np.add.reduceat(vectors[layer], starts) / counts[:, None])
            if layer == PIPELINE and self.normalises:
                means = torch.nn.functional.normalize(means, dim=1)
            answer[layer] = reduce(layer, means.float().to(self.device)).to("cpu", torch.float32).numpy()
        return answer

    def _encode_captions(
        self, captions: list[str], layers: Sequence[str]
    ) -> dict[str, Float[ndarray, "captions width"]]:
        order = np.argsort([len(caption) for caption in captions], kind="stable")
        found: dict[str, ndarray] = {}
        for start in range(0, len(captions), CAPTIONS_AT_ONCE):
            rows = order[start : start + CAPTIONS_AT_ONCE]
            for layer, values in self._forward([captions[row] for row in rows], layers).items():
                found.setdefault(layer, np.zeros((len(captions), values.shape[1]), np.float32))[rows] = values
        return found

    def _forward(self, captions: list[str], layers: Sequence[str]) -> dict[str, Float[ndarray, "captions width"]]:
        tokens = self.tokens(captions)
        mask = tokens["attention_mask"][:, :, None].float()
        output: dict[str, Tensor] = {}

        def means(_layer: str, states: Tensor) -> Tensor:
            if states.shape[:2] != mask.shape[:2]:  # of a module behind the tokens, or not of captions at all
                return (
                    states if states.ndim == 2 and len(states) == len(mask) else mask.new_full((len(mask), 1), np.nan)
                )
            return (states.flatten(2) * mask).sum(1) / mask.sum(1)

        found = collect(
            self.model,
            [layer for layer in layers if layer != PIPELINE],
            lambda: output.update(self.model(tokens)),
            means,
            lambda _, features: features,
            stop=PIPELINE not in layers,
        )
        if PIPELINE in layers:
            found[PIPELINE] = output[PIPELINE].to("cpu", torch.float32).numpy()
        return found

    def tokens(self, captions: Sequence[str]) -> dict[str, Any]:
        """Prepare captions for the pipeline.

        Parameters
        ----------
        captions : sequence of str
            One or more.

        Returns
        -------
        dict of str to object
            What the pipeline takes; tensors are on the encoder's device.
        """
        tokens = self.model.preprocess(list(captions), prompt=self.prompt)
        return {
            name: to_device(value, self.device) if isinstance(value, Tensor) else value
            for name, value in tokens.items()
        }

    def _size(self, name: str) -> int | None:
        # a pipeline may begin with something else than one transformer, such as CLIP
        return getattr(getattr(getattr(self.model[0], "model", None), "config", None), name, None)

    def _limit_length(self, folder: Path) -> None:
        tokenizer = self.model.tokenizer
        longest: Any = tokenizer.model_max_length
        if not isinstance(longest, int | float) or isinstance(longest, bool) or not longest >= 1:
            raise VidsimError(
                f"{os.fspath(folder / 'sentence_bert_config.json')!r} has max_seq_length {longest!r} (or its "
                "tokenizer_config.json that model_max_length); expected a whole number above 0; download it again"
            )
        # old tokenizers name no length, and RoBERTa counts positions from behind its padding's number: a long text
        # would fall off the end of the table
        tables = [module for module in self.model.modules() if hasattr(module, "position_embeddings")]
        first = max((int(getattr(table, "padding_idx", -1)) + 1 for table in tables), default=0)
        if positions := self._size("max_position_embeddings"):  # none, where they are relative
            tokenizer.model_max_length = min(longest, positions - first)

    def _try_out(self, folder: Path) -> None:
        """Run the pipeline on a word: it may be built and yet not run, or end before there is an embedding."""
        with torch.inference_mode(), FirstPass(self.resolved, "its configurations").told():
            found = self.model(self.tokens(["a"]))
        if PIPELINE not in found:
            raise VidsimError(
                f"{os.fspath(folder / 'modules.json')!r} names no module that makes a {PIPELINE}; expected a Pooling "
                "behind the Transformer; download it again"
            )


def _transformer_folder(folder: Path) -> Path:
    modules = read_modules(folder)
    # the type of a module is the path of a class to import: only the library's own are
    types = [str(module.get("type")) for module in modules]
    odd = [name for name in types if not name.startswith("sentence_transformers.")]
    if odd or not types:
        what = odd[0] if odd else "no module"
        raise VidsimError(
            f"{os.fspath(folder / 'modules.json')!r} names {what}; expected those of sentence-transformers"
        )
    for module in modules:
        config = folder / str(module.get("path", "")) / "config.json"
        if str(module["type"]).endswith(".Pooling") and not WIDTHS & read_json(config).keys():
            raise VidsimError(f"{os.fspath(config)!r} has no {min(WIDTHS)}; expected its width; download it again")
        if str(module["type"]).endswith(".Dense"):
            activation = str(read_json(config).get("activation_function", "torch."))
            if not activation.startswith("torch."):  # the library would go on with another one
                raise VidsimError(f"{os.fspath(config)!r} names {activation}; expected an activation of torch.nn")
    return folder / str(modules[0].get("path", ""))
