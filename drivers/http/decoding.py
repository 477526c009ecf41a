"""The body of an answer without its compression (RFC 9110, section 8.4), in bounded memory.

Nothing but `identity` is asked for, and some servers compress all the same. Only what zlib can
decode in pieces of a given size is decoded: for the others a few bytes can make gigabytes at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Final

_GZIP: Final = 31
_ZLIB: Final = 15
_RAW: Final = -15
_WINDOWS: Final = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}
#: What is made at a time.
_PIECE_BYTES: Final = 64 * 1024


class Undecodable(Exception):
    """The body is not what its header says; the message names the encoding."""


class Decoder:
    """Decodes a body piece by piece; one whose encoding is not known is left as it is."""

    def __init__(self, encoding: str | None) -> None:
        """`encoding` is the Content-Encoding."""
        self._encoding = (encoding or "").strip().lower()
        self._window = _WINDOWS.get(self._encoding)
        self._zlib: Any = None if self._window is None else zlib.decompressobj(self._window)
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What follows from `data`, in small pieces; who takes no more of them makes no more.

        Raises Undecodable.
        """
        while data:
            if self._zlib is None:
                yield data
                return
            if self._zlib.eof:
                # Several gzip members are one body (RFC 1952, section 2.2).
                self._zlib = zlib.decompressobj(self._window or _GZIP)
            made = self._step(data)
            data = self._zlib.unconsumed_tail or self._zlib.unused_data
            self._begun = True
            if made:
                yield made

    def _step(self, data: bytes) -> bytes:
        try:
            made: bytes = self._zlib.decompress(data, _PIECE_BYTES)
            return made
        except zlib.error:
            if self._window != _ZLIB or self._begun:
                raise Undecodable(self._encoding) from None
        # Some servers send deflate without the header that it has in HTTP.
        self._window, self._begun = _RAW, True
        self._zlib = zlib.decompressobj(_RAW)
        return self._step(data)

    @property
    def whole(self) -> bool:
        """Whether the body has come to its end, as far as one can see."""
        return self._zlib is None or not self._begun or bool(self._zlib.eof)
