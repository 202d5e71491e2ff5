"""Names of layers."""


def blocks(pattern: str, depth: int, *last: str) -> tuple[str, ...]:
    """Name the blocks of a model, in order of depth.

    Parameters
    ----------
    pattern : str
        Module path with ``{i}`` for the number of a block.
    depth : int
        Blocks.
    *last : str
        Layers behind them.

    Returns
    -------
    tuple of str
        Real module paths.

    Examples
    --------
    >>> blocks("encoder.layer.{i}", 2, "norm")
    ('encoder.layer.0', 'encoder.layer.1', 'norm')
    """
    return (*(pattern.format(i=i) for i in range(depth)), *last)
