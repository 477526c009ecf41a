"""Static files: each has its hash in its name, so that a browser may keep it for ever."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Response

from api.problems import not_found

FOLDER: Final = Path(__file__).parent / "static"
#: Where they are served.
PREFIX: Final = "/static/"

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

router = APIRouter()


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file as it is sent."""

    #: As in the path of its address, `app.0123456789ab.css`.
    name: str
    media_type: str
    content: bytes


@cache
def files() -> dict[str, StaticFile]:
    """Every static file by its path below the folder, read once for the process."""
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        media_type = _TYPES.get(path.suffix)
        if media_type is None:
            continue
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()[:12]
        found[path.relative_to(FOLDER).as_posix()] = StaticFile(
            f"{path.stem}.{digest}{path.suffix}", media_type, content
        )
    return found


@cache
def _by_name() -> dict[str, StaticFile]:
    return {file.name: file for file in files().values()}


def address(path: str) -> str:
    """Where the file lies for a browser; raises KeyError where there is none."""
    return PREFIX + files()[path].name


@router.get(PREFIX + "{name}", include_in_schema=False)
def static(name: str) -> Response:
    """One static file; a name with an old hash is not found."""
    file = _by_name().get(name)
    if file is None:
        raise not_found("static file")
    return Response(
        file.content,
        media_type=file.media_type,
        headers={
            "Cache-Control": "public, max-age=31536000, immutable",
            "X-Content-Type-Options": "nosniff",
        },
    )
