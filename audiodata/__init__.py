"""Reproducible feature caches from raw sound and event recordings.

The library has no import-time side effects: pick the room that is needed (``audiodata.shards``, ``audiodata.features``, ...).
"""

__version__ = "0.1.0"
