"""Seeds for one purpose each, made of the one seed of a run."""

from __future__ import annotations

import hashlib


def seed_of(*parts: object) -> int:
    """Return a seed for one purpose, e.g. ``seed_of(seed, "order", stage, epoch)``."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:7])
