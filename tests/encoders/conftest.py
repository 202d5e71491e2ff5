"""Fixtures of this folder."""

import huggingface_hub
import pytest
from published import clips, publish

__all__ = ["clips", "publish"]


@pytest.fixture
def hub_folder(tmp_path, monkeypatch):
    """Keep the hub's cache of this machine out; the client reads its place when it is imported."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """Return the folder of one's own cards, which is empty."""
    folder = tmp_path / "cards"
    folder.mkdir()
    monkeypatch.setenv("VIDSIM_CARDS", str(folder))
    return folder
