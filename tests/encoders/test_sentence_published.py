"""Tiny sentence encoders in the files and keys in which the real ones are published, one of each shape."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from published import clip as tiny_clip
from safetensors.torch import load_file, save_file

from vidsim.encoders import catalog
from vidsim.encoders.base import EncoderCard
from vidsim.errors import VidsimError

pytest.importorskip("sentence_transformers")

WORDS = ("a", "along", "bikes", "dog", "fast", "man", "people", "ride", "river", "runs", "the", "two", "very", "walks")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
CAPTIONS = [
    ["a man walks"],
    ["two people ride bikes along the river", "very fast bikes", "river"],
    ["a dog runs very very very fast along the river", "dog"],
    ["zebra", "the dog walks the man"],
]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
ROBERTA = {**SIZES, "max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 1}


def pieces(*special):
    names = [*special, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    return {name: number for number, name in enumerate(dict.fromkeys(names))}


def bert_tokenizer(**told):
    return transformers.BertTokenizer(vocab=pieces("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), **told)


def mpnet_tokenizer(**told):
    return transformers.MPNetTokenizer(vocab=pieces("<s>", "<pad>", "</s>", "[UNK]", "<mask>"), **told)


def roberta_tokenizer(**told):
    from tokenizers.pre_tokenizers import ByteLevel

    names = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet()), "<mask>"]
    return transformers.RobertaTokenizer(vocab={name: number for number, name in enumerate(names)}, merges=[], **told)


def xlm_r_tokenizer(**told):
    scored = [(name, 0.0) for name in ("<s>", "<pad>", "</s>", "<unk>")]
    scored += [*((f"▁{word}", -2.0) for word in WORDS), *((letter, -5.0) for letter in f"▁{LETTERS}"), ("<mask>", 0.0)]
    return transformers.XLMRobertaTokenizer(vocab=scored, **told)


@dataclass(frozen=True)
class Shape:
    """What is published: the class that was saved, its tokenizer, and the modules behind the transformer."""

    row: str
    saved: type
    config: type
    tokenizer: object
    sizes: dict
    pooling: str = "mean"
    dense: tuple[str, bool] | None = None
    normalise: bool = False
    plain: bool = False
    labels: int | None = None


SHAPES = {
    "bert, mean, normalised": Shape(
        "all-MiniLM-L12-v2", transformers.BertModel, transformers.BertConfig, bert_tokenizer, SIZES, normalise=True
    ),
    "bert, cls": Shape(
        "mxbai-embed-large-v1", transformers.BertModel, transformers.BertConfig, bert_tokenizer, SIZES, pooling="cls"
    ),
    "bert, cls, dense, normalised": Shape(
        *("LaBSE", transformers.BertModel, transformers.BertConfig, bert_tokenizer, SIZES),
        pooling="cls",
        dense=("torch.nn.modules.activation.Tanh", True),
        normalise=True,
    ),
    "mpnet": Shape(
        *("all-mpnet-base-v2", transformers.MPNetModel, transformers.MPNetConfig, mpnet_tokenizer),
        {**SIZES, "max_position_embeddings": 66, "pad_token_id": 1},
        normalise=True,
    ),
    "distilbert, dense": Shape(
        *("distiluse-base-multilingual-cased-v1", transformers.DistilBertModel, transformers.DistilBertConfig),
        *(bert_tokenizer, {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}),
        dense=("torch.nn.modules.activation.Tanh", True),
    ),
    "distilbert, linear": Shape(
        *("clip-ViT-B-32-multilingual-v1", transformers.DistilBertModel, transformers.DistilBertConfig),
        *(bert_tokenizer, {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}),
        dense=("torch.nn.modules.linear.Identity", False),
    ),
    "roberta": Shape(
        *("all-distilroberta-v1", transformers.RobertaModel, transformers.RobertaConfig, roberta_tokenizer, ROBERTA),
        normalise=True,
    ),
    "xlm-r": Shape(
        "paraphrase-multilingual-mpnet-base-v2",
        *(transformers.XLMRobertaModel, transformers.XLMRobertaConfig, xlm_r_tokenizer, ROBERTA),
    ),
    "plain roberta": Shape(
        *("roberta-base", transformers.RobertaForMaskedLM, transformers.RobertaConfig, roberta_tokenizer, ROBERTA),
        plain=True,
    ),
    "plain xlm-r": Shape(
        *("xlm-roberta-base", transformers.XLMRobertaForMaskedLM, transformers.XLMRobertaConfig, xlm_r_tokenizer),
        *(ROBERTA,),
        plain=True,
    ),
    "roberta with a classifier": Shape(
        *("roberta-large-mnli", transformers.RobertaForSequenceClassification, transformers.RobertaConfig),
        *(roberta_tokenizer, ROBERTA),
        plain=True,
        labels=3,
    ),
}


@dataclass(frozen=True)
class Published:
    card: EncoderCard
    folder: Path
    shape: Shape
    transformer: torch.nn.Module
    dense: torch.nn.Linear | None
    tokenizer: object

    def load(self):
        return catalog.load(catalog.resolve(self.card, checkpoint=str(self.folder)), device="cpu")


@pytest.fixture
def publish(tmp_path):
    def make(kind, **told):
        shape = SHAPES[kind]
        tokenizer = shape.tokenizer(**{"model_max_length": 64, **told})
        extra = {"num_labels": shape.labels} if shape.labels else {}
        torch.manual_seed(3)
        model = shape.saved(shape.config(**shape.sizes, vocab_size=len(tokenizer), **extra)).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.copy_(torch.randn(weight.shape) * 0.2)
        folder = tmp_path / "published"
        folder.mkdir()
        tokenizer.save_pretrained(folder)
        config = {**model.config.to_dict(), "architectures": [shape.saved.__name__]}
        (folder / "config.json").write_text(json.dumps(config, default=str))
        state = {name: value.clone() for name, value in model.state_dict().items()}
        prefix = "roberta." if shape.plain else ""
        if "distil" not in kind:  # files of that time hold the numbers of the positions
            positions = state[f"{prefix}embeddings.position_embeddings.weight"].shape[0]
            state[f"{prefix}embeddings.position_ids"] = torch.arange(positions)[None]
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        dense = None if shape.plain else write_pipeline(folder, shape)
        card = catalog.card(shape.row)
        transformer = model.roberta if shape.plain else model
        counted = sum(weight.numel() for part in (transformer, dense) if part for weight in part.parameters())
        if shape.plain:  # the pipeline's transformer has a pooler, which nothing reads
            counted += 32 * 32 + 32
        tiny = replace(
            card,
            layers=(*card.layers[:2], card.layers[-1]),
            width=32,
            parameters=counted,
            options={**card.options, **({"embedding_width": 20} if dense else {})},
        )
        return Published(tiny, folder, shape, transformer, dense, tokenizer)

    return make


def write_pipeline(folder, shape):
    names = ["Transformer", "Pooling", *(["Dense"] if shape.dense else []), *(["Normalize"] if shape.normalise else [])]
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{name}" if i else "", "type": f"sentence_transformers.models.{name}"}
        for i, name in enumerate(names)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 64, "do_lower_case": False}))
    (folder / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{mode}": False for mode in ("cls_token", "mean_tokens", "max_tokens")}
    modes["pooling_mode_cls_token" if shape.pooling == "cls" else "pooling_mode_mean_tokens"] = True
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))
    if not shape.dense:
        return None
    activation, bias = shape.dense
    dense = torch.nn.Linear(32, 20, bias=bias)
    (folder / "2_Dense").mkdir()
    config = {"in_features": 32, "out_features": 20, "bias": bias, "activation_function": activation}
    (folder / "2_Dense" / "config.json").write_text(json.dumps(config))
    state = {f"linear.{name}": value for name, value in dense.state_dict().items()}
    save_file(state, folder / "2_Dense" / "model.safetensors", metadata={"format": "pt"})
    return dense


def whole(_layer, features):
    return features


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.parametrize("kind", SHAPES)
def test_blocks_are_upstreams_hidden_states_averaged_over_tokens(kind, publish):
    made = publish(kind)
    found = made.load().encode(CAPTIONS, made.card.layers, whole)
    assert list(found) == list(made.card.layers)
    for row, captions in enumerate(CAPTIONS):
        means = np.zeros((2, 32))
        for caption in captions:  # one at a time: nothing is padded
            with torch.no_grad():
                states = made.transformer(
                    **made.tokenizer([caption], return_tensors="pt"), output_hidden_states=True
                ).hidden_states
            means += np.stack([state[0].double().mean(0).numpy() for state in states[1:]]) / len(captions)
        for layer, expected in zip(made.card.layers[:2], means, strict=True):
            np.testing.assert_allclose(found[layer][row], expected, rtol=0, atol=1e-5)
    assert np.abs(found[made.card.layers[0]] - found[made.card.layers[1]]).max() > 0.1


@pytest.mark.parametrize("kind", SHAPES)
def test_the_embedding_is_the_pipelines_own(kind, publish):
    from sentence_transformers import SentenceTransformer

    made = publish(kind)
    found = made.load().encode(CAPTIONS, ["sentence_embedding"], whole)["sentence_embedding"]
    assert found.shape == (4, 20 if made.shape.dense else 32)
    library = SentenceTransformer(str(made.folder), device="cpu", local_files_only=True)
    for row, captions in enumerate(CAPTIONS):
        own = library.encode(captions).astype(np.float64)
        by_hand = np.stack([pipeline(made, caption) for caption in captions])
        np.testing.assert_allclose(own, by_hand, rtol=0, atol=1e-5)
        mean = own.mean(0)
        np.testing.assert_allclose(found[row], unit(mean) if made.shape.normalise else mean, rtol=0, atol=1e-5)


def pipeline(made, caption):
    """Follow the published modules one by one."""
    with torch.no_grad():
        tokens = made.transformer(**made.tokenizer([caption], return_tensors="pt")).last_hidden_state[0].numpy()
    vector = tokens[0] if made.shape.pooling == "cls" else tokens.mean(0)
    if made.dense is not None:
        activation, bias = made.shape.dense
        vector = made.dense.weight.detach().numpy() @ vector + (made.dense.bias.detach().numpy() if bias else 0)
        vector = np.tanh(vector) if activation.endswith("Tanh") else vector
    return unit(vector) if made.shape.normalise else vector


@pytest.mark.parametrize("kind", ["plain roberta", "plain xlm-r", "roberta", "mpnet", "bert, cls"])
def test_long_texts_are_cut_where_the_positions_end(kind, publish):
    # old tokenizers of RoBERTa and XLM-R name no length
    made = publish(kind, model_max_length=10**30)
    if not made.shape.plain:
        (made.folder / "sentence_bert_config.json").write_text("{}")
    long = " ".join(WORDS * 50)
    assert np.isfinite(made.load().encode([[long]], made.card.layers, whole)["sentence_embedding"]).all()


def test_a_plain_checkpoint_needs_its_tokenizer_and_no_pipeline(publish):
    made = publish("plain roberta")
    assert not (made.folder / "modules.json").exists()
    (made.folder / "tokenizer.json").unlink()
    with pytest.raises(VidsimError, match=r"no tokenizer\.json in"):
        made.load()


@pytest.mark.parametrize("kind", ["roberta", "plain roberta"])
def test_heads_nobody_knows_are_refused(kind, publish):
    made = publish(kind)
    state = load_file(made.folder / "model.safetensors")
    state["classifier.dense.weight"] = torch.zeros(2)
    save_file(state, made.folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(VidsimError, match=r"classifier\.dense\.weight is left over"):
        made.load()


def test_a_default_prompt_is_put_in_front(publish):
    made = publish("bert, mean, normalised")
    plain = made.load().encode([["two people the dog"]], ["sentence_embedding"], whole)["sentence_embedding"]
    told = {"prompts": {"query": "two people "}, "default_prompt_name": "query"}
    (made.folder / "config_sentence_transformers.json").write_text(json.dumps(told))
    prompted = made.load().encode([["the dog"]], ["sentence_embedding"], whole)["sentence_embedding"]
    np.testing.assert_allclose(prompted, plain, rtol=0, atol=1e-6)


def test_pickled_layers_behind_the_transformer_are_converted(publish, tmp_path, monkeypatch):
    monkeypatch.setenv("VIDSIM_CACHE", str(tmp_path / "cache"))
    made = publish("distilbert, dense")
    before = made.load().encode(CAPTIONS, made.card.layers, whole)
    # old revisions have safetensors of the transformer alone
    weights = made.folder / "2_Dense" / "model.safetensors"
    torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
    weights.unlink()
    after = made.load().encode(CAPTIONS, made.card.layers, whole)
    for layer, vectors in before.items():
        np.testing.assert_array_equal(after[layer], vectors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda dense: (dense / "model.safetensors").unlink(), "no weights in '.*2_Dense'"),
        (lambda dense: rewrite(dense, {"linear.weight": torch.zeros(20, 32)}), "cannot be loaded as a sentence-.*bias"),
        (lambda dense: rewrite(dense, {"linear.weight": torch.zeros(9, 9)}), "cannot be loaded as a sentence-"),
        (lambda dense: reconfigure(dense, activation_function="my.Activation"), "names my.Activation; expected an"),
        (lambda dense: reconfigure(dense, out_features=21), "cannot be loaded as a sentence-transformers pipeline"),
    ],
)
def test_a_broken_layer_behind_the_transformer_is_refused(change, message, publish):
    made = publish("distilbert, dense")
    change(made.folder / "2_Dense")
    with pytest.raises(VidsimError, match=message) as told:
        made.load()
    assert "\n" not in str(told.value)


def test_an_unknown_module_is_refused(publish):
    made = publish("bert, cls")
    path = made.folder / "modules.json"
    path.write_text(path.read_text().replace(".Pooling", ".NoModule"))
    with pytest.raises(VidsimError, match=r"cannot be loaded as a sentence-transformers pipeline: .*NoModule") as told:
        made.load()
    assert "\n" not in str(told.value)


def test_a_pipeline_of_images_and_texts_is_refused(publish):
    made = publish("bert, cls")
    model, state, processor = tiny_clip()
    (made.folder / "config.json").write_text(json.dumps(model.config.to_dict(), default=str))
    (made.folder / "preprocessor_config.json").write_text(json.dumps(processor))
    save_file(state, made.folder / "model.safetensors", metadata={"format": "pt"})
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.CLIPModel"}]
    (made.folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(VidsimError, match=r"expects blocks 2, the checkpoint in .* has None"):
        made.load()


def rewrite(dense, state):
    save_file(state, dense / "model.safetensors", metadata={"format": "pt"})


def reconfigure(dense, **changes):
    path = dense / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 48}, "expects width 48, the checkpoint in .* has 32"),
        ({"parameters": 7}, "expects parameters 7, the checkpoint in .* has"),
        ({"options": {"embedding_width": 512}}, "expects width of the embedding 512, the checkpoint in .* has 20"),
        ({"layers": ("0.model.transformer.layer.0", "sentence_embedding")}, "expects blocks 1, the .* has 2"),
    ],
)
def test_a_checkpoint_that_is_not_the_cards_is_refused_with_both(changes, message, publish):
    made = publish("distilbert, dense")
    with pytest.raises(VidsimError, match=message):
        replace(made, card=replace(made.card, **changes)).load()
