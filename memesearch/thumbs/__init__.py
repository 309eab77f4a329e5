"""Thumbnails: which there are, how one is made, and keeping a folder of them in step with the library."""
