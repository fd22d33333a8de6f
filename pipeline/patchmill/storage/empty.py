"""Shards of which no chunk is kept: an index that says so, and nothing else."""

from __future__ import annotations


def empty_shard(chunks: int) -> bytes:
    """An object that readers take for a shard without chunks: offset and length of each are "missing", then crc32c.

    Parameters
    ----------
    chunks : int
        Chunks that a shard has room for.

    Examples
    --------
    >>> len(empty_shard(64))
    1028
    """
    import google_crc32c

    index = b"\xff" * (16 * chunks)
    return index + int(google_crc32c.value(index)).to_bytes(4, "little")
