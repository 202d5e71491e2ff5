import json

import av
import numpy as np
import pytest

from vidsim.projection import SparseProjection
from vidsim.store import Store

PROCESSOR = {
    "image_processor_type": "VideoMAEImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 224},
    "resample": 2,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.45, 0.45, 0.45],
    "image_std": [0.225, 0.225, 0.225],
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Write TimeSformer-base at real size, with random weights, in the published format."""
    import torch
    from transformers import TimesformerConfig, TimesformerForVideoClassification
    from transformers.utils import logging

    folder = tmp_path_factory.mktemp("timesformer-base")
    torch.manual_seed(0)
    logging.disable_progress_bar()
    TimesformerForVideoClassification(TimesformerConfig(num_labels=400)).save_pretrained(folder)
    logging.enable_progress_bar()
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


def plain_states(folder, clip):
    """Return all hidden states by the upstream library alone: PyAV, the PIL processor, the model."""
    import torch
    from transformers import TimesformerForVideoClassification, VideoMAEImageProcessorPil

    with av.open(str(clip)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    # ten frames a second: the frame on screen at the middle of each eighth of the clip
    moments = (np.arange(8) + 0.5) / 8 * len(frames)
    chosen = [frames[int(moment)] for moment in moments]
    pixels = VideoMAEImageProcessorPil.from_pretrained(folder)(chosen, return_tensors="pt")
    model = TimesformerForVideoClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        return model.timesformer(**pixels, output_hidden_states=True).hidden_states


@pytest.mark.slow
def test_a_real_size_checkpoint_folder_gives_the_upstream_librarys_hidden_states(vidsim, clips, checkpoint, tmp_path):
    options = ("--checkpoint", checkpoint, "--limit", "2", "--json", "--root", tmp_path)
    status, out, err = vidsim("index", clips, *options)
    assert status == 0, err
    answer = json.loads(out)
    assert (answer["stimuli"], answer["index"]["layer"]) == (2, "layernorm")
    status, out, err = vidsim("extract", clips, *options, "--pooling", "flatten", "--layers", "encoder.layer.0")
    assert status == 0, err
    assert json.loads(out)["layers"] == {"encoder.layer.0": 4732}
    states = plain_states(checkpoint, clips / "clip 1.mp4")
    cls, flat = Store(tmp_path).tables()[::-1]
    for block in range(12):
        stored = cls[f"encoder.layer.{block}"].take(["clip 1.mp4"]).matrix[0]
        np.testing.assert_allclose(stored, states[block + 1][0, 0].numpy(), atol=1e-5)
    projected = SparseProjection(1569 * 768).transform(states[1].flatten(1).numpy())
    np.testing.assert_allclose(flat["encoder.layer.0"].take(["clip 1.mp4"]).matrix, projected, atol=1e-4)
