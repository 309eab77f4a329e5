"""The queue of new pictures: keep, discard, later, undo; labels first, then files."""
