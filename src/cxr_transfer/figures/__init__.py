"""The only room that imports matplotlib: every picture that goes into a report."""
