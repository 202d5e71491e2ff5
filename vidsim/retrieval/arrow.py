"""Arrow values to and from Python without pandas, which pyarrow imports (it takes a second) to look at most of them."""

import numpy as np
import pyarrow as pa
from jaxtyping import Float64
from numpy import ndarray


def text_scalar(value: str) -> pa.StringScalar:
    """Make an Arrow text.

    Parameters
    ----------
    value : str
        The text.

    Returns
    -------
    pyarrow.StringScalar
        What ``pyarrow.scalar(value)`` gives.

    Raises
    ------
    UnicodeEncodeError
        If it is not valid UTF-8.

    Examples
    --------
    >>> text_scalar("a")
    <pyarrow.StringScalar: 'a'>
    """
    data = value.encode()
    ends = pa.py_buffer(np.array([0, len(data)], np.int32))
    return pa.StringArray.from_buffers(1, ends, pa.py_buffer(data))[0]


def numbers(column: pa.ChunkedArray) -> Float64[ndarray, " rows"]:
    """Read a column of float64.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        Numbers.

    Returns
    -------
    array of shape (rows,)
        NaN where null.

    Examples
    --------
    >>> numbers(pa.chunked_array([[1.5, None], [2.0]]))
    array([1.5, nan, 2. ])
    """
    parts: list[ndarray] = [np.empty(0)]
    for chunk in column.chunks:
        bare = pa.Array.from_buffers(chunk.type, len(chunk), [None, chunk.buffers()[1]], offset=chunk.offset)
        values = np.from_dlpack(bare).copy()
        values[np.from_dlpack(chunk.is_null().cast(pa.uint8())) == 1] = np.nan
        parts.append(values)
    return np.concatenate(parts)
