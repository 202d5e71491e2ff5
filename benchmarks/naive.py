"""The usual script: decode, processor, output_hidden_states, scikit-learn projection, one .npy a layer.

python benchmarks/naive.py CLIPS CHECKPOINT OUT
"""

import argparse
from pathlib import Path

import av
import numpy as np
import torch
from sklearn.random_projection import SparseRandomProjection
from transformers import TimesformerModel, VideoMAEImageProcessorPil


def main(clips: Path, checkpoint: Path, out: Path, dims: int = 4732) -> None:
    out.mkdir(parents=True, exist_ok=True)
    processor = VideoMAEImageProcessorPil.from_pretrained(checkpoint)
    model = TimesformerModel.from_pretrained(checkpoint).eval()
    layers: list[list[np.ndarray]] = [[] for _ in range(model.config.num_hidden_layers + 1)]
    for path in sorted(clips.iterdir()):
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, model.config.num_frames).astype(int)]
        inputs = processor(chosen, return_tensors="pt")
        with torch.no_grad():
            states = model(**inputs, output_hidden_states=True).hidden_states
        for layer, state in zip(layers, states, strict=True):
            layer.append(state.flatten(1).numpy())
    for number, layer in enumerate(layers):
        features = np.concatenate(layer)
        projected = SparseRandomProjection(n_components=dims, random_state=0).fit_transform(features)
        np.save(out / f"layer{number}.npy", projected)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    main(arguments.clips, arguments.checkpoint, arguments.out)
