"""What a content is known by: BLAKE2b-128 of its file's bytes. Library and collection must agree on it."""

import hashlib
from io import BufferedReader

HASH_BYTES = 16


def hash_bytes(raw: bytes) -> bytes:
    return hashlib.blake2b(raw, digest_size=HASH_BYTES).digest()


def hash_stream(file: BufferedReader) -> bytes:
    """The same of all that a file holds, read piece by piece."""
    return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=HASH_BYTES)).digest()
