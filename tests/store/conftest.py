"""Fixtures of the store's tests."""

from pathlib import Path

import pytest

from vidsim.store import EmbeddingTable, Store

LAYERS = {"encoder.layer.0.attention": 4, "0.auto_model.encoder.layer.3": 3, "head": 2}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return an empty store."""
    return Store(tmp_path / "indexes", create=True)


@pytest.fixture
def table(store: Store) -> EmbeddingTable:
    """Return an empty table of three layers."""
    return store.create("x3d-m", {"checkpoint": "a"}, LAYERS, default_layer="head", versions={"torch": "2.13"})
