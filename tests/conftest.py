"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real data beside the checkout; skip without it, fail where CI expects it."""
    if not SHARED.is_dir():
        message = "real data is missing: expected the folder ../shared beside the checkout"
        if os.environ.get("VIDSIM_REQUIRE_SHARED"):
            pytest.fail(message)
        pytest.skip(message)
    return SHARED


@pytest.fixture(scope="session")
def people(shared: Path) -> Path:
    """Return the folder of 27 short real clips of people."""
    return shared / "data" / "clips" / "people"
