"""Fixtures that all tests share."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """Return the folder of real recordings; skip where a checkout has none beside it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no real recordings beside this checkout (../shared/data)")
    return SHARED_DATA
