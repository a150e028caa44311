"""What the data sets with plain class names share: the catalog's choice among them."""

from collections.abc import Sequence

from audiodata.errors import CatalogError
from audiodata.settings import nearest


def choose_labels(labels: Sequence[str], classes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Keep the chosen classes.

    Parameters
    ----------
    labels : sequence of str
        Class of each clip; empty for one that has none.
    classes : sequence of str
        Those to keep; empty: all.

    Returns
    -------
    list of str, list of str
        Label and reason of each clip: the class and "", or "" and "other_class".

    Raises
    ------
    CatalogError
        A class is named twice, or no clip has it.
    """
    known = set(labels) - {""}
    for at, name in enumerate(classes):
        if name not in known:
            raise CatalogError(f"[select] classes: no clip is of the class `{name}`{nearest(name, sorted(known)[:50])}")
        if name in classes[:at]:
            raise CatalogError(f"[select] classes: `{name}` is named twice; keep one")
    kept = set(classes) or known
    label = [name if name in kept else "" for name in labels]
    return label, ["" if name else "other_class" for name in label]
