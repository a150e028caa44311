"""What has to stay together because it shares something: rows that are connected through any of their members."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy


def connected_rows(members: np.ndarray) -> np.ndarray:
    """Find which rows share a member, directly or through other rows.

    Parameters
    ----------
    members : int array [row, member]
        The same number is the same member; numbers from 0, without great gaps.

    Returns
    -------
    int array [row]
        The same number for rows that are connected.

    Examples
    --------
    >>> connected_rows(np.array([[0, 1], [2, 3], [1, 4]])).tolist()
    [0, 1, 0]
    """
    first = np.repeat(members[:, 0], members.shape[1] - 1)
    size = int(members.max()) + 1 if members.size else 0
    links = scipy.sparse.coo_array((np.ones(len(first)), (first, members[:, 1:].ravel())), shape=(size, size))
    return scipy.sparse.csgraph.connected_components(links, directed=False)[1][members[:, 0]]


def named_groups(connected: np.ndarray, names: Sequence[str]) -> list[str]:
    """Name each row's group after the first, by name, of those connected.

    Parameters
    ----------
    connected : int array [row]
        Of `connected_rows`.
    names : sequence of str
        A name a row.

    Examples
    --------
    >>> named_groups(np.array([0, 1, 0]), ["b", "c", "a"])
    ['with a', 'with c', 'with a']
    """
    first = pd.Series(list(names), dtype="object").groupby(connected).min()
    return [f"with {first[number]}" for number in connected]
