"""Cards of sentence encoders against their architectures at full size, without memory for the weights."""

import tomllib
from pathlib import Path

import pytest
import torch
import transformers

from vidsim.encoders import catalog
from vidsim.encoders.cards.sentence import ROWS
from vidsim.report.paper import published, table2

BERT = transformers.BertConfig
ROBERTA = {"vocab_size": 50_265, "max_position_embeddings": 514, "type_vocab_size": 1}
XLM_R = {**ROBERTA, "vocab_size": 250_002}
SMALL = {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536}
LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
DISTILLED = transformers.DistilBertConfig(vocab_size=119_547)

CONFIGS = {
    # the fields of each repository's config.json that set its size
    "paraphrase-multilingual-mpnet-base-v2": transformers.XLMRobertaConfig(**XLM_R),
    "mxbai-embed-2d-large-v1": BERT(**LARGE),
    "paraphrase-multilingual-MiniLM-L12-v2": BERT(**SMALL, num_hidden_layers=12, vocab_size=250_037),
    "distiluse-base-multilingual-cased-v1": DISTILLED,
    "paraphrase-MiniLM-L6-v2": BERT(**SMALL, num_hidden_layers=6),
    "all-distilroberta-v1": transformers.RobertaConfig(**ROBERTA, num_hidden_layers=6),
    "stsb-distilroberta-base-v2": transformers.RobertaConfig(**ROBERTA, num_hidden_layers=6),
    "mxbai-embed-large-v1": BERT(**LARGE),
    "all-roberta-large-v1": transformers.RobertaConfig(**ROBERTA, **LARGE),
    "all-mpnet-base-v1": transformers.MPNetConfig(vocab_size=30_527, max_position_embeddings=514),
    "all-mpnet-base-v2": transformers.MPNetConfig(vocab_size=30_527, max_position_embeddings=514),
    "all-MiniLM-L6-v1": BERT(**SMALL, num_hidden_layers=6),
    "all-MiniLM-L6-v2": BERT(**SMALL, num_hidden_layers=6),
    "multi-qa-MiniLM-L6-cos-v1": BERT(**SMALL, num_hidden_layers=6),
    "all-MiniLM-L12-v2": BERT(**SMALL, num_hidden_layers=12),
    "LaBSE": BERT(vocab_size=501_153),
    "clip-ViT-B-32-multilingual-v1": DISTILLED,
    "roberta-base": transformers.RobertaConfig(**ROBERTA),
    "xlm-roberta-base": transformers.XLMRobertaConfig(**XLM_R),
    "roberta-large-mnli": transformers.RobertaConfig(**ROBERTA, **LARGE),
    "xlm-roberta-large": transformers.XLMRobertaConfig(**XLM_R, **LARGE),
}

PROJECTIONS = {
    # layers behind the pooling: 2_Dense/config.json
    "distiluse-base-multilingual-cased-v1": 768 * 512 + 512,
    "LaBSE": 768 * 768 + 768,
    "clip-ViT-B-32-multilingual-v1": 768 * 512,
}

PUBLISHED = {
    # elements in model.safetensors as the hub counts them; they hold one position id a position, which is no weight
    "all-MiniLM-L6-v2": 22_713_728 - 512,
    "all-MiniLM-L12-v2": 33_360_512 - 512,
    "all-mpnet-base-v2": 109_486_978 - 514,
    "LaBSE": 470_927_360 - 512 + 768 * 768 + 768,
    "paraphrase-multilingual-MiniLM-L12-v2": 117_654_272 - 512,
    "paraphrase-multilingual-mpnet-base-v2": 278_044_162 - 514,
    # DistilmBERT in Keras Hub, and the distiluse v2 file on the hub
    "distiluse-base-multilingual-cased-v1": 134_734_080 + 768 * 512 + 512,
    "clip-ViT-B-32-multilingual-v1": 134_734_080 + 768 * 512,
    # n_parameters of the models in MTEB
    "xlm-roberta-base": 278_043_648,
    "xlm-roberta-large": 559_890_432,
    # BERT large in Keras Hub, which says 335 M parameters of both in MTEB
    "mxbai-embed-large-v1": 335_141_888,
    "mxbai-embed-2d-large-v1": 335_141_888,
}

ROUNDED = {
    # in millions, from the model cards on the hub
    "roberta-base": 125,
    "all-roberta-large-v1": 355,
    "roberta-large-mnli": 355,
    "all-distilroberta-v1": 82,
    "stsb-distilroberta-base-v2": 82,
}


@pytest.fixture(scope="module")
def full_size():
    with torch.device("meta"):
        return {name: transformers.AutoModel.from_config(config) for name, config in CONFIGS.items()}


def test_every_language_model_of_table_2_has_its_row():
    configs = Path(__file__).resolve().parents[3] / "configs"
    language = tomllib.loads((configs / "paper.toml").read_text())["table2"]["language"]
    assert len(language) == 21
    assert {uid.rpartition("/")[2] for uid in language} == {row.name for row in ROWS} == set(CONFIGS)
    for uid, numbers in language.items():
        assert published(uid.rpartition("/")[2]) == numbers == table2()[uid]


@pytest.mark.parametrize("name", CONFIGS)
def test_cards_count_the_real_architectures_parameters(name, full_size):
    counted = sum(weight.numel() for weight in full_size[name].parameters()) + PROJECTIONS.get(name, 0)
    assert catalog.card(name).parameters == counted
    assert PUBLISHED.get(name, counted) == counted
    assert round(counted / 1e6) == ROUNDED.get(name, round(counted / 1e6))


@pytest.mark.parametrize("name", CONFIGS)
def test_layers_are_every_block(name, full_size):
    card, model = catalog.card(name), full_size[name]
    modules = dict(model.named_modules())
    [blocks] = [path for path, module in modules.items() if isinstance(module, torch.nn.ModuleList)]
    # the pipeline names its transformer 0.model
    expected = [f"0.model.{blocks}.{i}" for i in range(len(modules[blocks]))]
    assert list(card.layers) == [*expected, "sentence_embedding"]
    assert card.width == model.config.hidden_size


@pytest.mark.parametrize("name", CONFIGS)
def test_lora_targets_are_the_attention_of_every_block(name, full_size):
    card, modules = catalog.card(name), dict(full_size[name].named_modules())
    hit = [path for path in modules if any(path.endswith(f".{target}") for target in card.lora_targets)]  # as peft does
    blocks = len(card.layers) - 1
    assert len(card.lora_targets) == 4
    assert len(hit) == 4 * blocks
    for target in card.lora_targets:
        assert sum(path.endswith(f".{target}") for path in hit) == blocks
    shapes = {(modules[path].in_features, modules[path].out_features) for path in hit}
    assert shapes == {(card.width, card.width)}
    assert all(isinstance(modules[path], torch.nn.Linear) for path in hit)
