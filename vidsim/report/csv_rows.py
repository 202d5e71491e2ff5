"""Tables as CSV files."""

import csv
import io
from collections.abc import Iterable, Sequence


def csv_of(rows: Iterable[Sequence[object]]) -> bytes:
    r"""Write rows as a CSV file holds them.

    Parameters
    ----------
    rows : iterable of sequence
        The header first. None is an empty cell.

    Returns
    -------
    bytes
        UTF-8.

    Examples
    --------
    >>> csv_of([("space", "r"), ("dinov2:layernorm", None)])
    b'space,r\ndinov2:layernorm,\n'
    """
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
