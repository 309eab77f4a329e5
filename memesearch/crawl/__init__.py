"""Collecting pictures from sources on the web or on disk, politely and safely."""
