"""An evaluation as training leaves it, for tests of what is written and drawn of it."""

from dataclasses import replace

from vidsim.adapt.evaluation import Ceiling, Evaluation, Measured

METRICS = ("rho", "rho2", "two_way", "two_way_first", "three_way")
BASE = "all-MiniLM-L6-v2"


def measured(rho, differences=None):
    return Measured(
        {**dict.fromkeys(METRICS, 0.5), "rho": rho, "rho2": rho**2},
        dict.fromkeys(METRICS, (rho - 0.1, rho + 0.1)),
        differences or {},
    )


def evaluation(**changes):
    models = {
        BASE: measured(0.31),
        f"{BASE}, centred": measured(0.32),
        f"{BASE}, linear transform": measured(0.33),
        "mine": measured(0.44, {"rho": (0.13, 0.02, 0.24), "two_way": (0.01, -0.02, 0.05)}),
    }
    return replace(Evaluation(models, BASE, Ceiling(0.52, (0.08, 0.78)), 40, 319, 175, {}), **changes)
