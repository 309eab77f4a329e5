"""What the programs of `meme-rater/` share: their database, their servers' routes, training sets, the queue."""
