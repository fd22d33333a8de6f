"""The seal of a root: checksums of the whole object, written into itself.

A digest of each array lies in the root, so the root is what all trust hangs on, and it must vouch for itself. The seal
is the attribute ``patchmill.seal``: the CRC-32 and the SHA-256, in hexadecimal, of the root's bytes with the seal
written as zeros. SHA-256 says whether it is what was written; CRC-32 also finds a single byte that is not::

    root          ... "seal": "0000...0000", ...      crc32, sha256 of this
    root, sealed  ... "seal": "5d0ab1...9e", ...      is what is stored

CRC-32 is linear: damaged and written checksum differ by what the wrong byte alone contributes. Going back through the
zeros behind it, that becomes an entry of CRC's table at the place of the byte; SHA-256 then tells whether it is right.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

_LENGTH = 72
BLANK = "0" * _LENGTH
_MEMBER = b'"seal": "'
_DIGITS = re.compile(rb"(?<![0-9a-f])[0-9a-f]{72}(?![0-9a-f])")


def with_room(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a group, with room for a seal among patchmill's own where there are any."""
    own = attributes.get("patchmill")
    return dict(attributes) if own is None else {**attributes, "patchmill": {**own, "seal": BLANK}}


def sealed(root: bytes) -> bytes:
    """`root` with its seal, if it has room for one.

    Examples
    --------
    >>> root = sealed(b'{"seal": "' + BLANK.encode() + b'"}')
    >>> is_sealed(root), is_sealed(root.replace(b"{", b"["))
    (True, False)
    """
    blank = BLANK.encode()
    return root.replace(_MEMBER + blank, _MEMBER + _seal(root)) if root.count(_MEMBER + blank) == 1 else root


def is_sealed(root: bytes) -> bool:
    """Whether `root` is, byte for byte, what was sealed."""
    return any(root[at : at + _LENGTH] == _seal(_blanked(root, at)) for at in _places(root))


def has_seal(root: bytes) -> bool:
    """Whether `root` was sealed once, be it damaged by now."""
    return next(_places(root), None) is not None


def mended(root: bytes) -> bytes | None:
    """What was sealed, where `root` differs from it in no more than one byte; else None.

    Examples
    --------
    >>> root = sealed(b'{"seal": "' + BLANK.encode() + b'"}')
    >>> mended(b"?" + root[1:]) == root, mended(b"??" + root[2:])
    (True, None)
    """
    if is_sealed(root):
        return root
    for at in _places(root):
        claimed, blank = root[at : at + _LENGTH], _blanked(root, at)
        true = _seal(blank)
        if sum(a != b for a, b in zip(true, claimed, strict=True)) == 1:  # the wrong byte is in the seal
            return _with(root, at, true)
        for other in _one_byte_away(blank, claimed):
            if _seal(other) == claimed:
                return _with(other, at, claimed)
    return None


def is_damaged(root: bytes) -> bool:
    """Whether `root` was sealed once and is not what it was.

    Examples
    --------
    >>> root = sealed(b'{"seal": "' + BLANK.encode() + b'"}')
    >>> is_damaged(root), is_damaged(b"?" + root[1:]), is_damaged(b"{}")
    (False, True, False)
    """
    return has_seal(root) and not is_sealed(root)


def _places(root: bytes) -> Iterator[int]:
    """Where the seal may begin: behind its name, or where so many digits stand if the name is damaged."""
    found = {match.end() for match in re.finditer(re.escape(_MEMBER), root)}
    found |= {match.start() for match in _DIGITS.finditer(root)}
    return (at for at in sorted(found) if at + _LENGTH <= len(root))


def _blanked(root: bytes, at: int) -> bytes:
    return _with(root, at, BLANK.encode())


def _with(root: bytes, at: int, seal: bytes) -> bytes:
    return root[:at] + seal + root[at + _LENGTH :]


def _seal(blank: bytes) -> bytes:
    return f"{zlib.crc32(blank):08x}{hashlib.sha256(blank).hexdigest()}".encode()


def _one_byte_away(blank: bytes, claimed: bytes) -> Iterator[bytes]:
    """Roots that differ from `blank` in one byte and have the CRC-32 that is claimed."""
    try:
        apart = zlib.crc32(blank) ^ int(claimed[:8], 16)
    except ValueError:
        return
    for at in range(len(blank) - 1, -1, -1):
        wrong = _ENTRIES.get(apart)
        if wrong is not None:
            yield blank[:at] + bytes([blank[at] ^ wrong]) + blank[at + 1 :]
        low = _TOPS[apart >> 24]  # one zero byte back
        apart = ((apart ^ _TABLE[low]) << 8 | low) & 0xFFFFFFFF


def _table() -> list[int]:
    """What a byte alone adds to a CRC-32 that stands at 0."""
    zero = zlib.crc32(b"\0")
    return [zlib.crc32(bytes([byte])) ^ zero for byte in range(256)]


_TABLE = _table()
_ENTRIES = {entry: byte for byte, entry in enumerate(_TABLE) if byte}
_TOPS = {entry >> 24: byte for byte, entry in enumerate(_TABLE)}
