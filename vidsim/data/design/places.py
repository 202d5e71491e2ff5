"""Places on the screen: which of the three a stimulus takes in each trial."""

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray


def balanced(rows: Int[ndarray, "t 3"], n: int, rng: np.random.Generator) -> Int[ndarray, "t 3"]:
    """Give the stimuli of each trial their places, so that each stands equally often in all three.

    Places are drawn at random. Then two stimuli of a trial change places wherever that lowers the sum of squared
    counts.
    Should that come to rest too early, two places are evened out at once: trials are the edges of a graph, from what
    stands in the one place to what stands in the other, and turning edges along closed walks through all of them
    leaves as many going out of a stimulus as coming in (Euler). Each step lowers the sum, so this ends, and it ends
    where no two places differ by more than one.

    Parameters
    ----------
    rows : array of shape (t, 3)
        Trials, as positions of stimuli.
    n : int
        Stimuli.
    rng : numpy.random.Generator
        Draws the places.

    Returns
    -------
    array of shape (t, 3)
        The same trials; column p holds what stands in place p. For every stimulus the counts of its places differ by at
        most one.

    Examples
    --------
    >>> import numpy as np
    >>> rows = balanced(np.array([[0, 1, 2]] * 3), 3, np.random.default_rng(0))
    >>> np.sort(rows, axis=0).T.tolist()
    [[0, 1, 2], [0, 1, 2], [0, 1, 2]]
    """
    places = rng.permuted(rows, axis=1)
    cells = np.argsort(places.ravel(), kind="stable")
    trials = np.split(cells // 3, np.cumsum(np.bincount(places.ravel(), minlength=n))[:-1])
    while True:
        counts = np.stack([np.bincount(column, minlength=n) for column in places.T])
        gap, p, q = max((int(np.abs(counts[p] - counts[q]).max(initial=0)), p, q) for p, q in ((0, 1), (0, 2), (1, 2)))
        if gap <= 1:
            return places
        exchanged = [_exchange(places, counts, i, trials[i]) for i in range(n)]
        if not any(exchanged):
            turned = _turned(places[:, p], places[:, q], rng)
            places[turned, p], places[turned, q] = places[turned, q], places[turned, p]


def _exchange(places: Int[ndarray, "t 3"], counts: Int[ndarray, "3 n"], i: int, trials: Int[ndarray, " k"]) -> bool:
    """Let a stimulus change places within its trials while that helps; say whether any did."""
    changed = False
    while True:
        p, q = int(counts[:, i].argmax()), int(counts[:, i].argmin())
        mine = trials[places[trials, p] == i]
        others = places[mine, q]
        gain = counts[q, others] - counts[p, others]
        best = int(gain.argmax()) if len(gain) else -1
        if best < 0 or counts[p, i] - counts[q, i] + gain[best] <= 2:
            return changed
        other = others[best]
        places[mine[best], [p, q]] = other, i
        counts[[p, q], i] += -1, 1
        counts[[p, q], other] += 1, -1
        changed = True


def _turned(tails: Int[ndarray, " t"], heads: Int[ndarray, " t"], rng: np.random.Generator) -> Bool[ndarray, " t"]:
    """Choose which edges of a graph to turn, so that at every point as many go out as come in, or one more or less."""
    ends = np.concatenate([tails, heads])  # edge e has the ends e and e + t
    size, t = len(ends), len(tails)
    order = np.argsort(ends, kind="stable")
    points = ends[order]
    first = np.flatnonzero(np.diff(points, prepend=-1))
    number = np.arange(size) - np.repeat(first, np.diff(first, append=size))  # of an end among those at its point
    joined = np.flatnonzero(number % 2 == 1)
    mate = np.full(size, -1)  # a walk that comes in at one end goes out at the other
    mate[order[joined]] = order[joined - 1]
    mate[order[joined - 1]] = order[joined]
    single = np.flatnonzero(mate < 0)  # one at each point of odd degree, so their number is even
    mate[single[::2]], mate[single[1::2]] = single[1::2], single[::2]
    # a walk enters an edge at one end, leaves it at the other, and enters the next; its twin goes the other way
    after = mate[(np.arange(size) + t) % size]
    name = rng.permutation(size)
    for _ in range(size.bit_length()):  # the smallest name along a walk, found in strides that double
        name = np.minimum(name, name[after])
        after = after[after]
    return name[t:] < name[:t]
