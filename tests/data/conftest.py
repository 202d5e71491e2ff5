"""Real clips, and decoders that keep silent."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def real_clips(shared: Path) -> Path:
    return shared / "data" / "clips"


@pytest.fixture
def silent(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """See to it that FFmpeg prints nothing."""
    yield
    assert capfd.readouterr().err == ""
