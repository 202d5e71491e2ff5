import json

import pytest
from tiny_models import TEMPLATE, write_qwen

from vidsim.encoders.tokens import read_chat_template, read_tokenizer, render
from vidsim.errors import VidsimError


@pytest.fixture
def folder(tmp_path):
    return write_qwen(tmp_path / "qwen").folder


def test_the_tokenizer_is_the_file_beside_the_weights(folder):
    tokenizer = read_tokenizer(folder, 280)
    ids = tokenizer.encode("a dog<|im_end|>", add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == "a dog<|im_end|>"
    assert ids[-1] == tokenizer.token_to_id("<|im_end|>")


def test_a_missing_broken_or_foreign_tokenizer_is_one_line(folder):
    with pytest.raises(
        VidsimError, match=r"has 267 tokens, the model beside it 20; expected the tokenizer of that model"
    ):
        read_tokenizer(folder, 20)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(VidsimError, match="cannot be read as a tokenizer") as told:
        read_tokenizer(folder, 280)
    assert "\n" not in str(told.value)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(VidsimError, match=r"no tokenizer\.json in"):
        read_tokenizer(folder, 280)


def test_templates_stand_in_one_of_three_files(folder):
    assert read_chat_template(folder) == TEMPLATE
    (folder / "chat_template.jinja").write_text("newest")
    assert read_chat_template(folder) == "newest"
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").unlink()
    with pytest.raises(VidsimError, match="no chat template in"):
        read_chat_template(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "oldest"}))
    assert read_chat_template(folder) == "oldest"
    several = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": several}))
    assert read_chat_template(folder) == "plain"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("chat_template.jinja", b"\xff\xfe", r"chat_template\.jinja' cannot be read as UTF-8"),
        ("chat_template.json", b"[]", r"chat_template\.json' holds \[\]; expected an object"),
        ("chat_template.json", b'{"chat_template": ["plain"]}', "no chat template in"),
        ("chat_template.json", b'{"chat_template": [{"name": ["default"]}]}', "no chat template in"),
    ],
)
def test_a_damaged_template_is_one_line(name, content, told, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VidsimError, match=told) as error:
        read_chat_template(tmp_path)
    assert "\n" not in str(error.value)


def test_a_turn_is_rendered_without_an_answer():
    turn = [{"type": "image"}, {"type": "text", "text": "a {{ dog }}"}]
    frame = "<|vision_start|><|image_pad|><|vision_end|>"
    assert render(TEMPLATE, turn) == f"<|im_start|>user\n{frame}a {{{{ dog }}}}<|im_end|>\n"


@pytest.mark.parametrize(
    "template",
    [
        "{% if %}",
        "{{ raise_exception('no pictures') }}",
        "{{ 'user: ' + messages[0].content }}",  # written for text alone
        "{{ messages[0].content | xmlattr }}",
        "{{ 1 / 0 }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    ],
)
def test_a_template_that_fails_is_one_line(template):
    with pytest.raises(VidsimError, match="chat template takes no turn of frames and a caption") as told:
        render(template, [{"type": "image"}])
    assert "\n" not in str(told.value)
