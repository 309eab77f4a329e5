"""The library of pictures: scanning, decoding, the SQLite store and the indexing pipeline."""
