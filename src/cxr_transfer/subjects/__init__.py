"""Anybody's model, as something that gives class scores of radiographs: what is judged."""
