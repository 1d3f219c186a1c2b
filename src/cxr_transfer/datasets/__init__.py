"""Archives become cases, data sets and splits; nothing here knows tensors."""
