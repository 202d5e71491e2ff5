"""Tuning: a search becomes more thorough, step by step, until it suffices."""

from collections.abc import Callable


def climb(parameters: dict[str, int], name: str, most: int, holds: Callable[[], bool]) -> bool:
    """Raise a parameter until it suffices.

    Parameters
    ----------
    parameters : dict
        Changed in place.
    name : str
        Which of them; it begins as it is.
    most : int
        Its largest value.
    holds : callable
        Whether the parameters as they are suffice.

    Returns
    -------
    bool
        Whether any value did.

    Examples
    --------
    >>> parameters = {"nprobe": 1}
    >>> climb(parameters, "nprobe", 100, lambda: parameters["nprobe"] > 5), parameters
    (True, {'nprobe': 6})
    """
    for value in steps(parameters[name], most):
        parameters[name] = value
        if holds():
            return True
    return False


def climb_both(parameters: dict[str, int], refine_most: int, holds: Callable[[], bool]) -> bool:
    """Raise ``nprobe``, up to ``nlist``, until the most refining suffices, and then refine no more than it takes.

    Parameters
    ----------
    parameters : dict
        Changed in place.
    refine_most : int
        Largest value of ``refine``.
    holds : callable
        Whether the parameters as they are suffice.

    Returns
    -------
    bool
        Whether any values did.
    """
    least = parameters["refine"]

    def refined() -> bool:
        parameters["refine"] = refine_most
        if not holds():
            return False
        parameters["refine"] = least
        return climb(parameters, "refine", refine_most, holds)

    return climb(parameters, "nprobe", parameters["nlist"], refined)


def steps(least: int, most: int) -> list[int]:
    """Return growing values, each about half as large again as the one before.

    Parameters
    ----------
    least, most : int
        First and last value.

    Returns
    -------
    list of int
        At least the first.

    Examples
    --------
    >>> steps(1, 20)
    [1, 2, 3, 4, 6, 9, 13, 19, 20]
    >>> steps(9, 4)
    [9]
    """
    values = [least]
    while values[-1] < most:
        values.append(min(most, max(values[-1] + 1, values[-1] * 3 // 2)))
    return values
