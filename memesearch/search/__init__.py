"""Answering queries: terms to vectors, written text, fusion of rankings."""
