"""Many trainings, one comparison: the paper's study, and what a source contributes."""
