"""Fixtures of this folder."""

from random_checkpoint import cache, cached_imagenet, checkpoint

__all__ = ["cache", "cached_imagenet", "checkpoint"]
