"""Shared parts of Meme Search Engine: everything that two programs use, or that hides a heavy dependency."""
