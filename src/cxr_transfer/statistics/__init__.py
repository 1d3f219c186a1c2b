"""Scores in, estimates with intervals out; no torch, no files."""
