"""Reports that people hand in, filled from evidence: checklists, model cards, a paragraph."""
