"""Learning one person's taste from their answers: models, selection of pairs, thresholds, honest measures.

Knows vectors and labels only; files, databases and pages are `memesearch/rater`.
"""
