"""The card of motion energy, a control without weights."""

from vidsim.encoders.base import EncoderCard, Sampling

ROWS = (
    EncoderCard(
        name="motion-energy",
        family="motion_energy",
        modality="video",
        layers=(
            *(f"energy.sf{cycles}" for cycles in (0, 2, 4, 8, 16)),
            *(f"energy.tf{hertz}" for hertz in (0, 2, 4)),
            *("energy", "appearance", "combined"),
        ),
        default_layer="combined",
        # three looks of 1 s; pymoten's rate, at which motion up to 12 Hz keeps its direction
        sampling=Sampling(frames=72, fps=24.0, windows=3),
        source="Adelson and Bergen 1985; Nishimoto et al. 2011; control without weights",
    ),
)
