"""From new pictures to a short queue: the steps of a run, each of which can be repeated."""
