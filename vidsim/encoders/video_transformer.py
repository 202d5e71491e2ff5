"""Video transformers of the transformers library: frames in, token maps of every block out."""

from vidsim.encoders.frame_encoder import FrameEncoder


class VideoTransformer(FrameEncoder):
    """Encode clips with TimeSformer, VideoMAE, ViViT, V-JEPA 2 and their like."""
