"""Machine code for the loops that numpy has no call for."""

import functools
from collections.abc import Callable
from typing import Any


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile with numba at the first call: importing numba takes 0.4 s, which reading a catalog need not wait for."""

    @functools.cache
    def machine_code() -> Callable[..., Any]:
        from numba import njit

        try:
            return njit(cache=True, nogil=True, error_model="numpy")(function)
        except RuntimeError:  # no folder to keep it in: neither the package's own nor the user's cache can be written to
            return njit(nogil=True, error_model="numpy")(function)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        return machine_code()(*arguments)

    return call
