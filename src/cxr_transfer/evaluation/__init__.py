"""Scores become figures with intervals, reports, and the paper's study."""
