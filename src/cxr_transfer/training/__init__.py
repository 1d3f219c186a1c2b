"""Recipes, stages, and runs that can be resumed; Lightning underneath."""
