"""AudioSet's ontology: sound classes with several parents each, walked as a graph.

632 classes under 7 roots; 38 of them have more than one parent, so a class lies below every root that it can be reached
from (Cowbell below Music, Animal and Sounds of things). Classes marked *abstract* or *blacklist* are not used as labels
by the weak lists, but group others and can be chosen like any other. J. F. Gemmeke et al., "Audio Set: An ontology and
human-labeled dataset for audio events", ICASSP 2017.
"""

import difflib
import graphlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from audiodata.datasets.tables import shown
from audiodata.errors import CatalogError, MetadataError
from audiodata.packed import read_bytes


class Node(NamedTuple):
    """One class: its id (mid), its name, the ids below it, and "abstract" or "blacklist" where it is so marked."""

    mid: str
    name: str
    children: tuple[str, ...] = ()
    restrictions: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Ontology:
    """Classes and what lies below them.

    Parameters
    ----------
    nodes : mapping of str to Node
        By mid. Every child is a node, and there is no cycle (`load_ontology` checks both).
    aliases : mapping of str to str
        Further names, by mid: other tables of the same labels spell a few differently.
    """

    nodes: Mapping[str, Node]
    aliases: Mapping[str, str]

    @cached_property
    def parents(self) -> dict[str, tuple[str, ...]]:
        """Mids directly above each class."""
        above: dict[str, list[str]] = {mid: [] for mid in self.nodes}
        for node in self.nodes.values():
            for child in node.children:
                above[child].append(node.mid)
        return {mid: tuple(mids) for mid, mids in above.items()}

    @cached_property
    def roots(self) -> tuple[str, ...]:
        """Mids with nothing above them that have something below."""
        return tuple(mid for mid, above in self.parents.items() if not above and self.nodes[mid].children)

    @cached_property
    def _mids_by_name(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, dict[str, None]] = {}
        for mid, name in [*((node.mid, node.name) for node in self.nodes.values()), *self.aliases.items()]:
            found.setdefault(name.casefold(), {})[mid] = None
        return {name: tuple(mids) for name, mids in found.items()}

    def descendants(self, mid: str) -> frozenset[str]:
        """Mids that can be reached from a class, itself among them."""
        reached, left = set(), [mid]
        while left:
            at = left.pop()
            if at not in reached:
                reached.add(at)
                left.extend(self.nodes[at].children)
        return frozenset(reached)

    def find(self, word: str) -> str:
        """Return the mid of a class that is given by mid or by name, in any case.

        Raises
        ------
        CatalogError
            There is no such class (the nearest names are suggested), or several classes have this name.
        """
        if word in self.nodes:
            return word
        mids = self._mids_by_name.get(word.casefold(), ())
        if len(mids) > 1:
            raise CatalogError(f"[select] classes: `{word}` names several classes; use a mid: {', '.join(mids)}")
        if not mids:
            raise CatalogError(f"[select] classes: no class `{word}` in the ontology; {self._suggestion(word)}")
        return mids[0]

    def _suggestion(self, word: str) -> str:
        known = self.nodes if word.startswith("/") else self._mids_by_name
        near = difflib.get_close_matches(word.casefold(), known, n=3)
        names = [f"`{name if name in self.nodes else self.name(self._mids_by_name[name][0])}`" for name in near]
        return f"did you mean {', '.join(names)}?" if names else "ontology.json lists them all"

    def name(self, mid: str) -> str:
        """Display name of a class."""
        return self.nodes[mid].name

    def with_names(self, names: Mapping[str, str]) -> "Ontology":
        """Add the names of another table of labels; a mid that the ontology lacks becomes a class of its own."""
        extra = {mid: Node(mid, name) for mid, name in names.items() if mid not in self.nodes}
        return Ontology({**self.nodes, **extra}, {**self.aliases, **names})

    def choose(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Find the classes that a catalog chooses.

        Parameters
        ----------
        classes : sequence of str
            Names or mids, at any level.

        Returns
        -------
        tuple of str
            Their mids, in the same order.

        Raises
        ------
        CatalogError
            As `find`; or a class is named twice, or lies below another one.
        """
        mids = tuple(self.find(word) for word in classes)
        for at, upper in enumerate(mids):
            below = self.descendants(upper)
            for other, lower in enumerate(mids):
                if other != at and lower in below:
                    what = "are the same class" if lower == upper else "are nested: the second lies below the first"
                    raise CatalogError(f"[select] classes: `{classes[at]}` and `{classes[other]}` {what}; keep one")
        return mids


def load_ontology(path: Path) -> Ontology:
    """Read ``ontology.json``.

    Raises
    ------
    MetadataError
        Not readable, not a list of classes, a class defined twice, a child that is no class, or a cycle.
    """
    try:
        entries = json.loads(read_bytes(path))
        nodes = [_node(entry) for entry in entries]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        expected = "a JSON list of classes with id, name and child_ids"
        raise MetadataError(f"{path}: not an ontology (expected {expected}): {error!r}") from None
    ontology = Ontology({node.mid: node for node in nodes}, {})
    _check(path, nodes, ontology)
    return ontology


def _node(entry: Mapping[str, Any]) -> Node:
    return Node(entry["id"], entry["name"], tuple(entry["child_ids"]), frozenset(entry.get("restrictions", ())))


def _check(path: Path, nodes: Sequence[Node], ontology: Ontology) -> None:
    if len(ontology.nodes) < len(nodes):
        mids = [node.mid for node in nodes]
        raise MetadataError(f"{path}: class {next(mid for mid in mids if mids.count(mid) > 1)} is defined twice")
    for node in nodes:
        for child in node.children:
            if child not in ontology.nodes:
                raise MetadataError(f"{path}: the child {shown(child)} of {node.mid} ({node.name}) is no class")
    try:
        graphlib.TopologicalSorter({node.mid: node.children for node in nodes}).prepare()
    except graphlib.CycleError as error:
        raise MetadataError(f"{path}: the classes {' < '.join(error.args[1])} form a cycle") from None
