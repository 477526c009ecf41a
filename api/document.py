"""The OpenAPI document: what FastAPI makes of the routes, with our errors and how one proves who.

Source: OpenAPI 3.1.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.guard import HOOKS_BEGIN
from api.problems import MEDIA_TYPE, ProblemDocument, described

_REF: Final = "#/components/schemas/{model}"
_METHODS: Final = frozenset({"get", "put", "post", "delete", "options", "head", "patch"})
#: Of every path: no token, a token that is not for this, a query or body that is wrong, a server
#: behind the API that is away.
_EVERYWHERE: Final = (401, 403, 422, 503)
#: What FastAPI would say of a wrong query or body.
_THEIRS: Final = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI) -> dict[str, Any]:
    """The document of an application."""
    found = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        openapi_version=app.openapi_version,
    )
    parts = found.setdefault("components", {})
    schemas: dict[str, Any] = parts.setdefault("schemas", {})
    for name in _THEIRS:
        schemas.pop(name, None)
    problem = ProblemDocument.model_json_schema(ref_template=_REF)
    schemas |= problem.pop("$defs", {})
    schemas["ProblemDocument"] = problem
    parts["schemas"] = dict(sorted(schemas.items()))
    parts["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWS",
            "description": "made with the key of an actor by `runstream token`",
        }
    }
    for path, methods in found.get("paths", {}).items():
        for method, operation in methods.items():
            if method in _METHODS:
                _complete(operation, public=path.startswith(HOOKS_BEGIN))
    return found


def _complete(operation: dict[str, Any], *, public: bool) -> None:
    responses: dict[str, Any] = operation.setdefault("responses", {})
    for status, told in described(*_EVERYWHERE).items():
        known = responses.get(str(status))
        if known is None or MEDIA_TYPE not in known.get("content", {}):
            responses[str(status)] = told
    if "requestBody" in operation:
        responses |= {str(status): told for status, told in described(400, 413).items()}
    operation["responses"] = dict(sorted(responses.items()))
    if not public:
        operation["security"] = [{"token": []}]
