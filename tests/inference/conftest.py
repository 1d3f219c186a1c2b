"""Fixtures of this folder."""

from random_checkpoint import cache, checkpoint

__all__ = ["cache", "checkpoint"]
