"""Templates: how a page becomes HTML, and the headers that every page carries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from web import static_files, statuses, wording
from web.shell import shell_of
from web.visible import finalized

#: Nothing is loaded from elsewhere, and neither script nor style stands within a page.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    # What one person may see is kept by no cache; nor by the browser after a logout.
    "Cache-Control": "no-store",
}


def indented(value: Any) -> str:
    """A value as JSON for people."""
    return json.dumps(value, ensure_ascii=False, indent=2)


@cache
def environment() -> Environment:
    """The templates of the console: every value is escaped, a missing one is an error."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalized,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        absolute=wording.absolute,
        ago=wording.ago,
        clock=wording.clock,
        duration=wording.duration,
        filesize=wording.size,
        indented=indented,
        number=wording.number,
        percent=wording.percent,
        short=wording.short,
    )
    made.globals.update(
        static=static_files.address,
        counted=wording.counted,
        execution_look=statuses.execution_look,
        step_look=statuses.step_look,
        EXECUTION_LOOKS=statuses.EXECUTION,
        STEP_LOOKS=statuses.STEP,
    )
    return made


def page(
    request: Request,
    template: str,
    /,
    status_code: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> Response:
    """The page that this template makes of the values, within the shell of the console."""
    text = (
        environment()
        .get_template(template)
        .render(now=datetime.now(UTC), shell=shell_of(request), **values)
    )
    return HTMLResponse(text, status_code, headers={**HEADERS, **(headers or {})})


def fragment(template: str, /, headers: Mapping[str, str] | None = None, **values: Any) -> Response:
    """A part of a page, for a script that puts it in its place."""
    text = environment().get_template(template).render(now=datetime.now(UTC), **values)
    return HTMLResponse(text, headers={**HEADERS, **(headers or {})})
