"""Vision-language models: frames and a caption in, states of the language stack out.

A clip is one turn of a user, in the checkpoint's own chat template: its frames as stills, then its caption; no answer
is begun. A clip without a caption is its frames alone. A layer's embedding is the mean over the tokens from the first
frame on. Those before it (the role) do not see the clip, so they would add the same vector to every clip, and a large
one: language models keep huge constants in the state of their first token (Sun et al. 2024, arXiv:2402.17762).

The layers are the blocks' own outputs. Behind the first blocks the model adds features of its vision tower to the
states of the frames' tokens (DeepStack), on the way to the next block.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from tokenizers import Tokenizer
from torch import Tensor

from vidsim.encoders.activations import collect, find_modules
from vidsim.encoders.base import EncoderCard, Reduce
from vidsim.encoders.checkpoint import Resolved
from vidsim.encoders.first_pass import FirstPass
from vidsim.encoders.leaves import leaf_vectors
from vidsim.encoders.patches import Patches
from vidsim.encoders.pickled import safe_folder
from vidsim.encoders.tokens import read_chat_template, read_tokenizer, render
from vidsim.encoders.weights import check_fit, load_strictly, refuse_other_model
from vidsim.errors import VidsimError

CAPTION = "\ue000"
"""Stands for the caption while the template is filled in; a character that no template has."""

TOWER = "model.visual"
"""Module that sees the frames, once a clip."""

Pair = tuple[UInt8[Tensor, "_ 3 _ _"], Sequence[str]]
"""Prepared frames of a clip, and its captions."""


@dataclass(frozen=True, eq=False)
class Turn:
    """What a user says in a turn: the frames of a clip and, maybe, a caption.

    Parameters
    ----------
    run : callable
        Runs the model on it.
    tokens : int
        Tokens of the turn.
    first : int
        Place of the first frame's first token.
    """

    run: Callable[[], None]
    tokens: int
    first: int


class VisionLanguage:
    """Encode clips with their captions with Qwen3-VL and its like; each clip on its own, at its own size.

    Parameters
    ----------
    resolved : Resolved
        Encoder whose files have been found.
    device : str
        Device as torch names it.

    Raises
    ------
    VidsimError
        If the checkpoint does not fit the card, or has no tokenizer or chat template.
    """

    def __init__(self, resolved: Resolved, device: str) -> None:
        card, folder = resolved.card, resolved.folder
        assert card.architecture is not None
        assert card.sampling is not None
        assert folder is not None
        self.card: EncoderCard = card
        self.resolved = resolved
        self.device = device
        self.preprocess = Patches.from_config(resolved.preprocess)
        refuse_other_model(card.architecture, folder)
        model = load_strictly(card.architecture, safe_folder(resolved))
        text, vision = model.config.text_config, model.config.vision_config
        cut = tuple(card.options.get("patches", (16, 2, 2)))
        check_fit(
            model,
            resolved,
            width=(card.width, text.hidden_size),
            blocks=(len(card.blocks), text.num_hidden_layers),
            patches=(cut, (vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size)),
            patches_prepared=(cut, (self.preprocess.patch, self.preprocess.merge, self.preprocess.temporal)),
        )
        find_modules(model, card.layers)
        self.tokenizer = read_tokenizer(folder, text.vocab_size)
        self.frame_token: int = model.config.image_token_id
        self._prompts = {captioned: self._prompt(read_chat_template(folder), captioned) for captioned in (False, True)}
        self._words: Tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        self._words.encode_special_tokens = True  # a caption that spells a control token does not become one
        self.model = model.to(device)
        self.first_pass = FirstPass(resolved)

    @property
    def provenance(self) -> Mapping[str, object]:
        """Return what determines the embeddings, and where the weights came from."""
        return self.resolved.provenance

    def prepare(self, stimulus: UInt8[ndarray, "h w 3"]) -> UInt8[Tensor, "3 height width"]:
        """Resize one decoded frame to whole patches.

        Parameters
        ----------
        stimulus : array of shape (h, w, 3)
            RGB frame.

        Returns
        -------
        tensor of shape (3, height, width)
            About the frame's own size and shape.
        """
        return self.preprocess.frame(stimulus)

    def encode(self, batch: Sequence[Pair], layers: Sequence[str], reduce: Reduce) -> dict[str, Float[ndarray, "b _"]]:
        """Encode every clip with each of its captions, average over its captions, then reduce.

        Parameters
        ----------
        batch : sequence of pairs
            Prepared frames of shape (t, 3, height, width), and captions; there may be none.
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
            If there is no clip, one has another number of frames than the card says, or captions are no list; or if the
            network cannot run as its checkpoint and its card have it.
        """
        if not batch:
            raise VidsimError(f"{self.card.name} takes one stimulus or more, none came")
        with self.first_pass.told():
            clips = [self._encode_clip(frames, captions, layers) for frames, captions in batch]
        answer: dict[str, ndarray] = {}
        for layer in layers:
            features = torch.stack([clip[layer] for clip in clips]).to(self.device)
            answer[layer] = reduce(layer, features).to("cpu", torch.float32).numpy()
        return answer

    def prompt(self, frames: UInt8[Tensor, "t 3 h w"], caption: str | None) -> Int[Tensor, "1 n"]:
        """Spell out what the model reads for a clip.

        Parameters
        ----------
        frames : tensor of shape (t, 3, h, w)
            Prepared frames.
        caption : str, optional
            Caption.

        Returns
        -------
        tensor of shape (1, n)
            Tokens; a frame's own stands once for each of its parts.
        """
        before, after = self._prompts[caption is not None]
        each = self.preprocess.tokens(frames.shape[2], frames.shape[3])
        ids = [token for token in before for _ in range(each if token == self.frame_token else 1)]
        if caption is not None:
            ids += self._words.encode(caption, add_special_tokens=False).ids
        return torch.tensor([ids + after], device=self.device)

    def turns(self, frames: UInt8[Tensor, "t 3 h w"], captions: Sequence[str]) -> Iterator[Turn]:
        """Yield a turn for each caption of a clip, or one without any; all of them share its frames.

        Parameters
        ----------
        frames : tensor of shape (t, 3, h, w)
            Prepared frames.
        captions : sequence of str
            Captions; there may be none.

        Yields
        ------
        Turn
            To be run before the next one is asked for. Gradients are followed.

        Raises
        ------
        VidsimError
            If the clip has another number of frames than the card says, or captions are no list.
        """
        card = self.card
        assert card.sampling is not None
        if len(frames) != card.sampling.frames:
            raise VidsimError(f"{card.name} takes {card.sampling.frames} frames a clip, {len(frames)} came")
        if isinstance(captions, str):
            raise VidsimError(f"{card.name} takes a list of captions a clip, {captions!r} came")
        pixels, grid = self.preprocess.cut(frames.to(self.device))
        shared: dict[str, Any] = {}
        for caption in captions or (None,):
            ids = self.prompt(frames, caption)
            of_frames = ids == self.frame_token

            def run(ids: Tensor = ids, of_frames: Tensor = of_frames) -> None:
                if not shared:
                    shared["image"] = self.model.model.get_image_features(pixels, grid, return_dict=True)
                self.model.model(
                    input_ids=ids,
                    image_grid_thw=grid,
                    mm_token_type_ids=of_frames.int(),
                    mm_encoder_outputs=shared,
                    use_cache=False,
                )

            yield Turn(run, ids.shape[1], int(of_frames[0].nonzero()[0]))

    def pooled(self, layer: str, output: Float[Tensor, "rows ..."], turn: Turn) -> Float[Tensor, "1 features"]:
        """Turn a layer's output into a vector: the mean over the tokens from the first frame on.

        Parameters
        ----------
        layer : str
            Layer of the card, or any other module.
        output : tensor of shape (1, tokens, ...)
            Its output; of what is no part of the language stack, of any shape.
        turn : Turn
            What was read.

        Returns
        -------
        tensor of shape (1, features)
            Gradients are followed.
        """
        if output.shape[:2] != (1, turn.tokens):
            return leaf_vectors(self.model.get_submodule(layer), output, 1, "mean")
        return output.flatten(2)[:, turn.first :].mean(1)

    def _encode_clip(
        self, frames: UInt8[Tensor, "t 3 h w"], captions: Sequence[str], layers: Sequence[str]
    ) -> dict[str, Float[Tensor, " width"]]:
        states: dict[str, list[Tensor]] = {layer: [] for layer in layers}
        reading = [layer for layer in layers if not f"{layer}.".startswith(f"{TOWER}.")]
        wanted = layers
        for turn in self.turns(frames, captions):

            def pooled(layer: str, output: Tensor, turn: Turn = turn) -> Tensor:
                return self.pooled(layer, output, turn)

            found = collect(self.model, wanted, turn.run, pooled, lambda _, vector: vector)
            for layer, vector in found.items():
                states[layer].append(torch.from_numpy(vector[0]))
            wanted = reading  # the frames have been seen
            if not wanted:
                break
        return {layer: torch.stack(vectors).mean(0) for layer, vectors in states.items()}

    def _prompt(self, template: str, captioned: bool) -> tuple[list[int], list[int]]:
        """Return the tokens of a turn in front of its caption, with one for each frame, and those behind it."""
        card = self.card
        assert card.sampling is not None
        content = [{"type": "image"}] * card.sampling.frames + [{"type": "text", "text": CAPTION}] * captioned
        before, *rest = render(template, content).split(CAPTION)
        parts = [self.tokenizer.encode(part, add_special_tokens=False).ids for part in (before, *rest)]
        if len(rest) != captioned or parts[0].count(self.frame_token) != card.sampling.frames:
            raise VidsimError(
                f"the chat template beside {card.name} does not show {card.sampling.frames} frames, each as token "
                f"{self.frame_token}, and then a caption; is it {card.checkpoint}?"
            )
        return parts[0], parts[1] if captioned else []
