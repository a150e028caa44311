"""Fixtures that all tests share."""

import os
from pathlib import Path

# Several threads of torch may add up in another order from run to run, and weights of equal seeds then differ in their last bits.
# It has to be said before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

# The same examples every time and no time limits: a verdict must not depend on luck or on what else the machine does.
# HYPOTHESIS_PROFILE=explore looks for new examples.
settings.register_profile("repeatable", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

SHARED_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """Return the folder of real recordings; skip where a checkout has none beside it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no real recordings beside this checkout (../shared/data)")
    return SHARED_DATA
