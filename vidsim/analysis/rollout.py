"""Attention rollout: how much of what a model reads out comes from each input token (Abnar and Zuidema 2020)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def with_residual(attention: Float[ndarray, "*b n n"], share: float = 0.5) -> Float[ndarray, "*b n n"]:
    """Add the residual connection around an attention layer.

    Parameters
    ----------
    attention : array of shape (..., n, n)
        Attention of each token (row) to each token, mean over heads, 0 or more; rows are made to sum to 1.
    share : float
        Weight of the residual connection, 0 to 1; the attention has the rest.

    Returns
    -------
    array of shape (..., n, n)
        Rows sum to 1.

    Examples
    --------
    >>> with_residual(np.array([[0.2, 0.8], [1.0, 0.0]]))
    array([[0.6, 0.4],
           [0.5, 0.5]])
    """
    rows = attention.astype(np.float64)
    return (1 - share) * rows / rows.sum(axis=-1, keepdims=True) + share * np.eye(rows.shape[-1])


def divided_block(
    temporal: Float[ndarray, "p t t"], spatial: Float[ndarray, "t p+1 p+1"], share: float = 0.5
) -> Float[ndarray, "n n"]:
    """Combine the two attention layers of a block with divided space-time attention into one map from token to token.

    A block of TimeSformer runs two attention layers, each with its residual connection. The temporal one comes first:
    each patch attends to the patches of the same place in all frames, and the CLS token takes no part. Then, in each
    frame, its patches and a copy of the CLS token attend to one another; what the copies take up is averaged over
    frames, which leaves a single CLS token. Both layers are linear in their tokens once attention is given. If values
    pass through unchanged, the block maps tokens by S T, with T and S as `with_residual` gives them: T is the identity
    for CLS; CLS in S has the mean over frames of its rows. This is that product, a matrix over CLS and all patches.

    Parameters
    ----------
    temporal : array of shape (p, t, t)
        For each patch place, attention of its t frames to one another, mean over heads.
    spatial : array of shape (t, p + 1, p + 1)
        For each frame, attention of CLS and its p patches to one another, mean over heads.
    share : float
        Weight of each residual connection, 0 to 1.

    Returns
    -------
    array of shape (1 + t p, 1 + t p)
        CLS, then the patches frame by frame; rows sum to 1.

    Examples
    --------
    >>> frames, tokens = np.full((1, 2, 2), 0.5), np.full((2, 2, 2), 0.5)  # one patch and CLS, in two frames
    >>> divided_block(frames, tokens, share=0.0)
    array([[0.5 , 0.25, 0.25],
           [0.5 , 0.25, 0.25],
           [0.5 , 0.25, 0.25]])
    """
    p, t = temporal.shape[:2]
    inner, outer = with_residual(temporal, share), with_residual(spatial, share)
    block = np.empty((1 + t * p, 1 + t * p))
    block[0, 0] = outer[:, 0, 0].mean()
    block[0, 1:] = np.einsum("tq,qts->sq", outer[:, 0, 1:], inner).reshape(-1) / t
    block[1:, 0] = outer[:, 1:, 0].reshape(-1)
    block[1:, 1:] = np.einsum("tpq,qts->tpsq", outer[:, 1:, 1:], inner).reshape(t * p, t * p)
    return block


def rollout(blocks: Sequence[Float[ndarray, "n n"]], readout: Float[ndarray, "k n"]) -> Float[ndarray, "k n"]:
    """Roll attention out over the blocks of a model (Abnar and Zuidema 2020, section 3).

    Parameters
    ----------
    blocks : sequence of array of shape (n, n)
        Of each block from the input on, how much each of its outputs (row) takes from each of its inputs, with the
        residual connection.
    readout : array of shape (k, n)
        How much each of k outputs takes from the last block's tokens: the identity gives all tokens, a row with a
        single 1 the CLS token, a row of 1 / n the mean.

    Returns
    -------
    array of shape (k, n)
        How much each comes from the model's input tokens; rows sum to 1 where those of ``readout`` do.

    Examples
    --------
    >>> blocks = [np.array([[0.5, 0.5], [0.0, 1.0]]), np.array([[0.5, 0.5], [0.5, 0.5]])]
    >>> rollout(blocks, np.array([[1.0, 0.0]]))
    array([[0.25, 0.75]])
    """
    found = readout.astype(np.float64)
    for block in reversed(blocks):  # from the readout down: a few rows times a matrix, not matrix times matrix
        found = found @ block
    return found


def patch_map(
    found: Float[ndarray, "k n"], prefix: int, grid: tuple[int, int, int]
) -> Float[ndarray, "k steps rows columns"]:
    """Lay the part of a rollout that falls on patches out over the frames.

    Parameters
    ----------
    found : array of shape (k, n)
        As `rollout` gives it.
    prefix : int
        Tokens in front of the patches, such as CLS; their part is left out.
    grid : tuple of int
        Steps in time, rows and columns of patches.

    Returns
    -------
    array of shape (k, steps, rows, columns)
        Relative to an even spread over all patches: the mean is 1.

    Examples
    --------
    >>> patch_map(np.array([[0.5, 0.1, 0.4]]), 1, (1, 1, 2)).tolist()
    [[[[0.4, 1.6]]]]
    """
    patches = found[:, prefix:]
    return (patches / patches.mean(axis=1, keepdims=True)).reshape(len(found), *grid)
