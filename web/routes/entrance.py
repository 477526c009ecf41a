"""Signing in and out, the first page, and the theme."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Request, Response

from api import authentication
from api.parts import CurrentParts
from authority.identity import Forged
from web.routing import own_path, redirect, router
from web.shell import THEME_COOKIE, THEMES
from web.templating import page

entrance = router()

_YEAR_SECONDS = 31_536_000


@entrance.get("/")
def first() -> Response:
    """The first page is that of the executions."""
    return redirect("/executions")


@entrance.get("/login")
def login(request: Request, next: str = "/executions") -> Response:
    """Where a token is pasted."""
    return page(request, "login.html", next=own_path(next), wrong=None)


@entrance.post("/login")
def sign_in(
    request: Request,
    parts: CurrentParts,
    token: Annotated[str, Form()],
    next: Annotated[str, Form()] = "/executions",
) -> Response:
    """Keep the token, where it counts; else say why it does not."""
    found = parts.tokens.caller(token.strip())
    if isinstance(found, Forged):
        return page(request, "login.html", 401, next=own_path(next), wrong=found.message)
    answer = redirect(own_path(next))
    authentication.remember(answer, request, token.strip(), found)
    return answer


@entrance.post("/logout")
def sign_out() -> Response:
    """Forget the token."""
    answer = redirect("/login")
    authentication.forget(answer)
    return answer


@entrance.post("/theme")
def choose_theme(
    request: Request,
    theme: Annotated[str, Form()],
    next: Annotated[str, Form()] = "/executions",
) -> Response:
    """Keep the theme, for browsers without script."""
    answer = redirect(own_path(next))
    if theme in THEMES:
        answer.set_cookie(THEME_COOKIE, theme, max_age=_YEAR_SECONDS, samesite="lax")
    return answer
