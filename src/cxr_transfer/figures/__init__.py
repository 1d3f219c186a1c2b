"""The only package that imports matplotlib: every picture that goes into a report."""
