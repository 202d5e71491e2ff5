"""Video-text models: clips and texts in one space, so that a text can be looked for among clips.

X-CLIP is trained to score a clip against texts that have first been adapted to that clip: its prompt generator adds to
each text what it finds in the clip's patches. An adapted text is another vector for every clip, so that no index can
hold it. Here ``video_embeds`` and ``encode_text`` are the two vectors before that step, of unit length: their cosine is
X-CLIP's score without the prompt generator, as the embedding benchmark MTEB has it too.

In transformers 5.23 ``get_video_features`` and ``get_text_features`` return model outputs whose ``pooler_output`` is
that vector, not normalised; up to 4.57 they returned the vector itself. The ``text_embeds`` of a forward pass are the
adapted ones.
"""

from collections.abc import Sequence
from functools import cached_property, partial

import torch
from jaxtyping import Float
from numpy import ndarray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import normalize

from vidsim.encoders.activations import find_modules, pool, single
from vidsim.encoders.checkpoint import Resolved
from vidsim.encoders.first_pass import FirstPass
from vidsim.encoders.frame_encoder import FramedEncoder, check_width
from vidsim.encoders.leaves import leaf_vectors
from vidsim.encoders.pickled import safe_folder
from vidsim.encoders.preprocess import Preprocess
from vidsim.encoders.tokens import read_tokenizer
from vidsim.encoders.weights import check_fit, load_strictly, refuse_other_model
from vidsim.errors import VidsimError

JOINT = "video_embeds"
"""Layer that is the clip's place in the space of texts: no module's output, but the model's."""

TEXTS_AT_ONCE = 64
"""Texts in a forward pass."""


class VideoText(FramedEncoder):
    """Encode clips and texts with X-CLIP.

    Parameters
    ----------
    resolved : Resolved
        Encoder whose files have been found.
    device : str
        Device as torch names it.

    Raises
    ------
    VidsimError
        If the checkpoint does not fit the card.
    """

    returned = JOINT

    def __init__(self, resolved: Resolved, device: str) -> None:
        card = resolved.card
        assert card.sampling is not None
        assert card.architecture is not None
        assert resolved.folder is not None
        preprocess = Preprocess.from_config(resolved.preprocess, card.architecture)
        super().__init__(resolved, device, preprocess)
        refuse_other_model(card.architecture, resolved.folder)
        model = load_strictly(card.architecture, safe_folder(resolved))
        # None, and so refused with both values, where a class of the user's choice has no such thing
        said = partial(getattr, getattr(model.config, "vision_config", None))
        check_fit(
            model,
            resolved,
            frames=(card.sampling.frames, said("num_frames", None)),
            image_size=(card.size, said("image_size", None)),
            frames_prepared_at=((card.size, card.size), preprocess.size),
            blocks=(len(card.blocks), said("num_hidden_layers", 0) + said("mit_num_hidden_layers", 0)),
        )
        tower, joint = model.config.vision_config.hidden_size, model.config.projection_dim
        check_width(card, {name: tower if name.startswith("vision_model.") else joint for name in card.layers})
        find_modules(model, [name for name in card.layers if name != JOINT])
        self.model = model.to(device)
        self._first_text = FirstPass(resolved)

    def forward(self, pixels: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b d"]:
        """Run the video tower on normalised clips; return where they are in the space of texts, of any length."""
        return self.model.get_video_features(pixel_values=pixels).pooler_output

    def pooled(self, layer: str, output: Float[Tensor, "rows ..."], clips: int) -> Float[Tensor, "clips features"]:
        """Turn a layer's output into one vector per clip.

        Blocks see each frame's tokens: they are pooled frame by frame, then averaged over the frames (``flatten``: side
        by side). The tokens of the frame integration are the frames themselves: they are averaged, as the model does.

        Parameters
        ----------
        layer : str
            Layer of the card, or any other module.
        output : tensor of shape (rows, ...)
            Its output; of ``video_embeds`` what `forward` returns.
        clips : int
            Clips of the batch.

        Returns
        -------
        tensor of shape (clips, features)
            Gradients are followed.
        """
        card, rule = self.card, self.resolved.pooling
        assert card.sampling is not None
        if layer == JOINT:
            return normalize(single(output), dim=1)
        if layer not in card.layers:
            return leaf_vectors(self.model.get_submodule(layer), output, clips, rule)
        if len(output) == clips:  # a token a frame
            return output.flatten(1) if rule == "flatten" else output.mean(1)
        of_frames = pool(output, rule, int(card.options.get("prefix_tokens", 1)))
        of_frames = of_frames.unflatten(0, (clips, card.sampling.frames))
        return of_frames.flatten(1) if rule == "flatten" else of_frames.mean(1)

    def encode_text(self, texts: Sequence[str]) -> Float[ndarray, "n d"]:
        """Place texts in the space of ``video_embeds``.

        Parameters
        ----------
        texts : sequence of str
            Texts, cut off at the model's longest.

        Returns
        -------
        array of shape (n, d)
            float32 vectors of unit length; their dot product with the unit vectors of clips is a cosine.

        Raises
        ------
        VidsimError
            If there is no text, one is empty, the checkpoint has no tokenizer, or the network cannot run.
        """
        if isinstance(texts, str) or not texts or not all(text.strip() for text in texts):
            raise VidsimError(f"{self.card.name} takes a list of texts with words in them, {texts!r} came")
        rows: list[Tensor] = []
        with torch.inference_mode(), self._first_text.told():
            for start in range(0, len(texts), TEXTS_AT_ONCE):
                encodings = self.tokenizer.encode_batch(list(texts[start : start + TEXTS_AT_ONCE]))
                tokens = self.model.get_text_features(
                    input_ids=torch.tensor([encoding.ids for encoding in encodings], device=self.device),
                    attention_mask=torch.tensor(
                        [encoding.attention_mask for encoding in encodings], device=self.device
                    ),
                )
                rows.append(normalize(single(tokens.pooler_output), dim=1).to("cpu", torch.float32))
        return torch.cat(rows).numpy()

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Return the checkpoint's tokenizer; clips are encoded without it.

        Returns
        -------
        Tokenizer
            It cuts texts off at the model's longest, and pads those that are shorter than others.

        Raises
        ------
        VidsimError
            If the checkpoint has none.
        """
        assert self.resolved.folder is not None
        text = self.model.config.text_config
        tokenizer = read_tokenizer(self.resolved.folder, text.vocab_size)
        tokenizer.enable_truncation(text.max_position_embeddings)
        # the model reads a text at its highest token, the end: nothing behind it counts, if it is lower
        tokenizer.enable_padding(pad_id=0)
        return tokenizer
