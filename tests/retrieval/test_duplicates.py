import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsim.embeddings import Embeddings
from vidsim.retrieval import indexes
from vidsim.retrieval.duplicates import Clip, Guard, Twin, distinct, relatives
from vidsim.retrieval.index import Hit


def build(root, matrix, contents, durations, *, kind="flat", features=None):
    ids = tuple(f"clip {row}" for row in range(len(matrix)))
    entries = pa.table({"id": ids, "path": [f"/{i}.mp4" for i in ids], "content": contents})
    known = pa.table({"id": ids} | ({} if durations is None else {"duration": pa.array(durations, pa.float64())}))
    identity = {"identity": {"features": features or {"decoder": "pyav"}}}
    return indexes.build(
        str(root),
        Embeddings(ids, matrix.astype(np.float32)),
        entries,
        encoder="some/model",
        layer="l",
        provenance=identity,
        kind=kind,
        min_recall=0.0,
        attributes=known,
    )


def planted(rng, scenes=40, dims=12, noise=0.02):
    """Plant scenes of their own lengths; the first five have copies and re-encodings."""
    matrix = rng.normal(size=(scenes, dims))
    durations = 1 + 0.37 * np.arange(scenes)
    contents = [f"h{k}" for k in range(scenes)]
    rows, owner = [matrix], list(range(scenes))
    for scene in range(5):
        rows += [matrix[scene][None]] * 2  # copies
        contents += [f"h{scene}"] * 2
        rows.append(matrix[scene] + noise * rng.normal(size=(3, dims)))  # re-encodings
        contents += [f"r{scene}.{k}" for k in range(3)]
        owner += [scene] * 5
    lengths = np.concatenate([durations, [durations[scene] for scene in owner[scenes:]]])
    lengths[scenes:] += np.tile([0, 0, 0, 0.05, -0.05], 5)
    return np.concatenate(rows), contents, lengths, np.array(owner)


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_planted_copies_and_re_encodings_are_grouped(tmp_path, kind):
    matrix, contents, durations, owner = planted(np.random.default_rng(0))
    index = build(tmp_path, matrix, contents, durations, kind=kind)
    guard = Guard(index)
    row = {name: number for number, name in enumerate(index.ids)}
    for query in (0, 2, 30, 45):
        groups, aside = distinct(index, guard.clip(query), 39)
        assert [group.hit.rank for group in groups] == list(range(1, 40))  # 39 other scenes, once each
        mine = owner[query]
        assert {row[twin.hit.id] for twin in aside} == set(np.flatnonzero(owner == mine)) - {query}
        for twin in aside:
            assert twin.kind == ("copy" if contents[row[twin.hit.id]] == contents[query] else "re-encoding")
        for group in groups:
            scene = owner[row[group.hit.id]]
            members = {row[group.hit.id], *(row[twin.hit.id] for twin in group.twins)}
            assert members == set(np.flatnonzero(owner == scene))
            assert group.of_query is None
            assert len(members) == 1 + len(group.twins)
        shown = [group.hit.similarity for group in groups]
        assert shown == sorted(shown, reverse=True)
        kept, none = distinct(index, guard.clip(query), 40, keep_query=True)
        assert none == []
        assert {t.hit.id for t in kept[0].twins} | {kept[0].hit.id} == {
            f"clip {r}" for r in np.flatnonzero(owner == mine)
        }
        assert [g.hit.id for g in kept[1:]] == [g.hit.id for g in groups]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 8), st.booleans())
@settings(max_examples=25)
def test_copies_are_grouped_as_a_slow_loop_does(tmp_path_factory, owners, n, least):
    rng = np.random.default_rng(len(owners))
    scenes = rng.normal(size=(5, 6))
    index = build(tmp_path_factory.mktemp("index"), scenes[owners], [f"h{k}" for k in owners], None)
    query = rng.normal(size=6)
    cosines = scenes @ query / np.linalg.norm(query) / np.linalg.norm(scenes, axis=1)
    expected = sorted(set(owners), key=lambda k: cosines[k], reverse=not least)[:n]
    groups, aside = distinct(index, Clip(query), n, least=least)
    found = [[int(i.removeprefix("clip ")) for i in (g.hit.id, *(t.hit.id for t in g.twins))] for g in groups]
    assert [{owners[row] for row in rows} for rows in found] == [{k} for k in expected]
    assert [sorted(rows) for rows in found] == [[r for r, k in enumerate(owners) if k == scene] for scene in expected]
    assert aside == []


def test_a_query_that_is_not_indexed_finds_itself_as_one_group(tmp_path):
    rng = np.random.default_rng(1)
    matrix, contents, durations, owner = planted(rng)
    index = build(tmp_path, matrix, contents, durations)
    query = Clip(matrix[3] + 0.02 * rng.normal(size=12), "elsewhere", float(durations[3]))
    groups, aside = distinct(index, query, 3)
    assert (groups[0].of_query, aside) == ("re-encoding", [])
    assert {t.hit.id for t in groups[0].twins} | {groups[0].hit.id} == {f"clip {r}" for r in np.flatnonzero(owner == 3)}
    assert [g.of_query for g in groups[1:]] == [None, None]
    unknown, _ = distinct(index, Clip(query.vector), 3)  # a text has no length
    assert unknown[0].of_query is None


def test_re_encodings_are_not_guessed_where_nothing_can_tell(tmp_path):
    matrix, contents, durations, _ = planted(np.random.default_rng(2))
    cases = {
        "no lengths": build(tmp_path / "a", matrix, contents, None),
        "one length": build(tmp_path / "b", matrix, contents, np.full(len(matrix), 3.0)),
        "unknown lengths": build(tmp_path / "c", matrix, contents, [None] * len(matrix)),
        "captions": build(tmp_path / "d", matrix, contents, durations, features={"captions": "mean"}),
    }
    for case, index in cases.items():
        _, aside = distinct(index, Guard(index).clip(0), 5)
        copies = 0 if case == "captions" else 2
        assert [twin.kind for twin in aside] == ["copy"] * copies, case


def test_neighbours_of_equal_length_stay_neighbours(tmp_path):
    """Clips of one scene are close, and some are as long: nothing sets two of them much closer than the others."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(20, 16))
    matrix = np.repeat(centres, 20, 0) + 0.3 * rng.normal(size=(400, 16))
    durations = rng.choice(np.arange(1, 11.0, 0.5), 400)
    index = build(tmp_path, matrix, [f"h{k}" for k in range(400)], durations)
    guard = Guard(index)
    merged = sum(len(distinct(index, guard.clip(row), 10)[1]) for row in range(0, 400, 20))
    assert merged == 0


def test_a_filter_holds_for_copies_too(tmp_path):
    matrix, contents, durations, _ = planted(np.random.default_rng(4))
    index = build(tmp_path, matrix, contents, durations)
    within = np.zeros(len(matrix), bool)
    within[[7, 8, 40, 42]] = True
    groups, aside = distinct(index, Guard(index).clip(0), 5, within=within)
    assert {g.hit.id for g in groups} == {"clip 7", "clip 8"}
    assert {t.hit.id for t in aside} == {"clip 40", "clip 42"}


def test_copies_of_files_with_other_captions_are_copies(tmp_path):
    matrix = np.random.default_rng(5).normal(size=(4, 3))
    index = build(tmp_path, matrix, ["h", "h+said", "i", "hh"], None)
    _, aside = distinct(index, Guard(index).clip(1), 3)
    assert [twin.hit.id for twin in aside] == ["clip 0"]


def test_near_duplicates_are_counted_in_words():
    hit = Hit(1, "a", "", 1.0, 0)
    assert (
        relatives([Twin(hit, "copy"), Twin(hit, "re-encoding"), Twin(hit, "copy")])
        == "2 copies and 1 likely re-encoding"
    )
    assert relatives([]) == ""
