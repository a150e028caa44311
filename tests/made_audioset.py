"""Small AudioSet lists in the forms that are met: as published, re-saved, strong, and with mistakes."""

import json

# a cowbell is an instrument (Music), from livestock (Animal), and a bell (Things); speech is beside all that
TREE = [
    ("/m/music", "Music", ["/m/instrument"], []),
    ("/m/instrument", "Musical instrument", ["/m/cowbell", "/m/flute"], []),
    ("/m/flute", "Flute", [], []),
    ("/m/animal", "Animal", ["/m/dog", "/m/livestock"], []),
    ("/m/dog", "Dog", [], []),
    ("/m/livestock", "Livestock, farm animals", ["/m/cowbell"], ["abstract"]),
    ("/m/things", "Sounds of things", ["/m/bell"], ["blacklist"]),
    ("/m/bell", "Bell", ["/m/cowbell"], []),
    ("/m/cowbell", "Cowbell", [], []),
    ("/m/speech", "Speech", [], []),
]

CLASSES = ("Music", "Animal", "Sounds of things")

HEADER = (
    "# Segments csv created Sun Mar  5 10:54:31 2017\n"
    "# num_ytids=3, num_segs=3, num_unique_labels=4, num_positive_labels=5\n"
    "# YTID, start_seconds, end_seconds, positive_labels\n"
)

# video, start, end, labels
ROWS = [
    ("-abcdefghij", 30.0, 40.0, ["/m/flute", "/m/speech"]),
    ("a_cd_fgh_jk", 0.0, 10.0, ["/m/dog"]),
    ("bbbbbbbbbbb", 7.5, 13.25, ["/m/cowbell"]),
    ("ccccccccccc", 100.0, 110.0, ["/m/speech"]),
    ("ddddddddddd", 5.0, 15.0, ["/m/bell"]),
]

STRONG_HEADER = "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n"


def entries(tree=TREE):
    keys = ("id", "name", "child_ids", "restrictions")
    return [dict(zip(keys, node, strict=True)) for node in tree]


def write_ontology(folder, tree=TREE):
    path = folder / "ontology.json"
    path.write_text(json.dumps(entries(tree)))
    return path


def published(rows=ROWS):
    """Write rows as Google does: comment lines, comma and space, three decimals, a quoted list."""
    lines = [f'{video}, {start:.3f}, {end:.3f}, "{",".join(labels)}"\n' for video, start, end, labels in rows]
    return HEADER + "".join(lines)


def resaved(rows=ROWS):
    """Write rows as a data frame does: a header row, no spaces, an index column, quotes only where needed."""
    lines = [f"{at},{video},{start},{end},{_quoted(labels)}\n" for at, (video, start, end, labels) in enumerate(rows)]
    return ",YTID,start_seconds,end_seconds,positive_labels\n" + "".join(lines)


def _quoted(labels):
    return labels[0] if len(labels) == 1 else f'"{",".join(labels)}"'


def write_lists(root, rows=ROWS, name="balanced_train_segments.csv"):
    root.mkdir(parents=True, exist_ok=True)
    write_ontology(root)
    (root / name).write_text(published(rows))
    return root
