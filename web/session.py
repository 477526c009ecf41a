"""Session: the token of a person who signed in lies in a cookie of the browser."""

from __future__ import annotations

from typing import Final

from fastapi import Request, Response

COOKIE: Final = "runstream"


def remember(response: Response, request: Request, token: str) -> None:
    """Let the browser send this token along."""
    response.set_cookie(
        COOKIE,
        token,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def forget(response: Response) -> None:
    """Let the browser send no token any more."""
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
