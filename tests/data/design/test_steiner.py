from itertools import combinations

import pytest

from vidsim.data.design.steiner import steiner, with_five


@pytest.mark.parametrize("n", [n for n in range(3, 100) if n % 6 in {1, 3}])
def test_a_triple_system_holds_every_pair_once(n):
    pairs = [tuple(sorted(pair)) for row in steiner(n).tolist() for pair in combinations(row, 2)]
    assert sorted(pairs) == list(combinations(range(n), 2))


@pytest.mark.parametrize("n", range(5, 100, 6))
def test_triples_and_a_block_of_five_hold_every_pair_once(n):
    triples, five = with_five(n)
    blocks = [*triples.tolist(), five.tolist()]
    pairs = [tuple(sorted(pair)) for block in blocks for pair in combinations(block, 2)]
    assert sorted(pairs) == list(combinations(range(n), 2))
