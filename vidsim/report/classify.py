"""The published accuracies of action recognition, for a comparison column (Table 1)."""

from collections.abc import Mapping

from vidsim.report.paper import table1

ROWS = {"timesformer-base": "pretrained", "timesformer-ft-hybrid": "fine-tuned"}
"""Row of Table 1 by encoder."""

ACTIONS = 101
"""Classes of UCF101."""


def published_top1(encoder: str, *, split: int, actions: int) -> Mapping[str, float] | None:
    """Find the published top-1 accuracy of an encoder on UCF101 split 1; None where there is none.

    Parameters
    ----------
    encoder : str
        Its name, without a layer; an adapter's may end with the paper's UID.
    split : int
        Number of the split.
    actions : int
        Classes told apart.

    Returns
    -------
    mapping of str to float or None
        ``top1`` and ``sd`` over three seeds, as shares from 0 to 1.
    """
    if split != 1 or actions != ACTIONS:
        return None
    own = (row for name, row in ROWS.items() if encoder == name or encoder.endswith((f"/{name}", f"-{name}")))
    row = next(own, None)
    return None if row is None else {name: value / 100 for name, value in table1()[row].items()}
