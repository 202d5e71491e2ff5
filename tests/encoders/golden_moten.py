"""Write golden_moten.npz: pymoten's energies of a small random movie, its mask of small filter values turned off.

Needs pymoten (0.1.3 was used), which the tests do not: python tests/encoders/golden_moten.py
"""

from pathlib import Path

import numpy as np

FIELDS = ("centerh", "centerv", "direction", "spatial_freq", "spatial_env", "temporal_freq")


def main() -> None:
    import moten

    movie = np.random.default_rng(0).uniform(0, 100, (20, 48, 64))
    pyramid = moten.pyramids.MotionEnergyPyramid((48, 64), 24)
    logs = moten.core.project_stimulus_batched(movie, pyramid.filters, vhsize=(48, 64), dtype="float64", masklimit=-1)
    np.savez_compressed(
        Path(__file__).with_suffix(".npz"),
        filters=np.array([[f[name] for name in FIELDS] for f in pyramid.filters]),
        # every fourth filter, in the frames where no filter reaches beyond the movie
        energies=np.exp(logs[8:-7, ::4]).astype(np.float32),
    )


if __name__ == "__main__":
    main()
