from vidsim import __version__
from vidsim.store import Failure, Store

FIRST = Failure("/a", "a", "ff", 3, 4, "pyav", "empty", "no bytes")


def test_failures_come_back_with_time_and_version(store: Store) -> None:
    assert list(store.failures) == []
    assert len(store.failures) == 0
    second = Failure(path="/b'\n", scope="x3d-m", kind="invalid-embedding", reason="NaN", when="2026", vidsim="9")
    store.failures.record([second, FIRST])
    found = Store(store.root).failures.entries()
    assert [(f.path, f.scope, f.kind, f.reason, f.id) for f in found] == [
        ("/a", "pyav", "empty", "no bytes", "a"),
        ("/b'\n", "x3d-m", "invalid-embedding", "NaN", ""),
    ]
    assert found[0].vidsim == __version__
    assert found[0].when.startswith("20")
    assert found[1] == second
    assert (found[0].content, found[0].size, found[0].mtime_ns) == ("ff", 3, 4)


def test_one_failure_a_path_and_scope(store: Store) -> None:
    again = Failure(path="/a", scope="pyav", kind="truncated", reason="cut")
    other = Failure(path="/a", scope="decord2", kind="empty", reason="no bytes")
    store.failures.record([FIRST])
    store.failures.record([FIRST, other, again])
    assert [(f.scope, f.kind) for f in store.failures] == [("decord2", "empty"), ("pyav", "truncated")]


def test_what_works_again_is_struck_out(store: Store) -> None:
    assert store.failures.forget([FIRST]) == 0
    others = [Failure(path=path, scope="pyav") for path in ("/b", "/' OR 1=1 --")]
    store.failures.record([FIRST, Failure(path="/a", scope="x"), *others])
    assert store.failures.forget([FIRST, others[1], Failure(path="/zz", scope="pyav")]) == 2
    assert store.failures.forget([]) == 0
    assert [(f.path, f.scope) for f in store.failures] == [("/a", "x"), ("/b", "pyav")]
    store.failures.record([FIRST])
    assert len(store.failures) == 3


def test_a_name_that_is_no_unicode_is_kept_escaped(store: Store) -> None:
    failure = Failure(path="/bad\udcff.mp4", scope="pyav", reason="'\udcff'")
    store.failures.record([failure])
    assert [f.path for f in store.failures] == ["/bad\\udcff.mp4"]
    assert store.failures.forget([failure]) == 1


def test_the_ledger_is_no_encoder(store: Store) -> None:
    store.failures.record([FIRST])
    assert list(store) == []
    assert store.tables() == []
