"""Tokens: what a checkpoint's own tokenizer and chat template make of text."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from vidsim.encoders.checkpoint import read_json
from vidsim.errors import VidsimError


def read_tokenizer(folder: Path, vocabulary: int) -> Tokenizer:
    """Read the tokenizer that a checkpoint was published with.

    Parameters
    ----------
    folder : Path
        Folder of the checkpoint, with ``tokenizer.json``.
    vocabulary : int
        Tokens that the model has embeddings for.

    Returns
    -------
    Tokenizer
        The tokenizer.

    Raises
    ------
    VidsimError
        If there is none, it cannot be read, or it has tokens that the model does not know.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise VidsimError(
            f"no tokenizer.json in {os.fspath(folder)!r}; a checkpoint folder holds the files of its hub repository"
        )
    try:
        tokenizer = Tokenizer.from_file(os.fspath(path))
    except Exception as error:  # the library raises no other class
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise VidsimError(f"{os.fspath(path)!r} cannot be read as a tokenizer: {line}; download it again") from error
    if tokenizer.get_vocab_size() > vocabulary:
        raise VidsimError(
            f"{os.fspath(path)!r} has {tokenizer.get_vocab_size()} tokens, the model beside it {vocabulary}; "
            "expected the tokenizer of that model"
        )
    return tokenizer


def read_chat_template(folder: Path) -> str:
    """Read the template that a checkpoint was trained to be spoken to in.

    Parameters
    ----------
    folder : Path
        Folder with ``chat_template.jinja``, ``chat_template.json``, or a template in ``tokenizer_config.json``.

    Returns
    -------
    str
        A Jinja template.

    Raises
    ------
    VidsimError
        If there is none, or it cannot be read.
    """
    plain = folder / "chat_template.jinja"
    if plain.is_file():
        try:
            return plain.read_text("utf-8")
        except (OSError, ValueError) as error:
            raise VidsimError(f"{os.fspath(plain)!r} cannot be read as UTF-8: {error}; download it again") from error
    for name in ("chat_template.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            template = read_json(folder / name).get("chat_template")
            if isinstance(template, list):  # several, by name
                entries = [entry for entry in template if isinstance(entry, dict) and entry.get("name") == "default"]
                template = entries[0].get("template") if entries else None
            if isinstance(template, str):
                return template
    raise VidsimError(
        f"no chat template in {os.fspath(folder)!r}; expected chat_template.json, or one in tokenizer_config.json"
    )


def render(template: str, content: Sequence[Mapping[str, Any]]) -> str:
    """Say what one turn of a user looks like to the model; no answer is begun.

    Parameters
    ----------
    template : str
        A Jinja template; it is run in a sandbox.
    content : sequence of mapping
        Parts of the turn: ``{"type": "image"}``, or ``{"type": "text", "text": ...}``.

    Returns
    -------
    str
        The prompt.

    Raises
    ------
    VidsimError
        If the template does not take them.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    turn = [{"role": "user", "content": [dict(part) for part in content]}]
    try:
        prompts, _ = render_jinja_template([turn], chat_template=template, add_generation_prompt=False)
    except Exception as error:  # a template is a program, and fails in any way
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise VidsimError(f"the checkpoint's chat template takes no turn of frames and a caption: {line}") from error
    return prompts[0]
