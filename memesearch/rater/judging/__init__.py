"""Blind evaluation: pictures drawn and judged one by one, and what that says of a model."""
