"""Literal secrets: what a plan may not write down, since a plan stands in topics and tables.

A parameter that is marked `secret` takes a reference. Most are secrets as a whole, so a reference
is all they take. Some carry content in which a secret may stand, such as the headers of a request;
these take other values too. What is a secret beyond doubt is refused in every parameter
(`literal_texts`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from toolmeta import literal_texts, secret_references
from toolmeta.check import checker_of
from toolmeta.invocation import Problem
from toolmeta.model import Tool

#: Parameters, by canonical name, that carry content in which a secret may stand.
CONTENT: Final = frozenset(
    {
        "action_config",
        "backend_config",
        "body",
        "content",
        "env",
        "form",
        "headers",
        "input",
        "json",
        "manifest",
        "payload",
        "url",
        "values",
        "variables",
    }
)

#: Headers that are a login as a whole, in lower case.
LOGIN_HEADERS: Final = frozenset(
    {
        "api-key",
        "apikey",
        "authorization",
        "cookie",
        "private-token",
        "proxy-authorization",
        "x-access-token",
        "x-amz-security-token",
        "x-api-key",
        "x-apikey",
        "x-auth-key",
        "x-auth-token",
        "x-functions-key",
        "x-gitlab-token",
        "x-goog-api-key",
        "x-vault-token",
    }
)

_LOGIN_IN_URL: Final = (
    "has a password in its address, which everybody who reads a topic or a table would see; leave "
    "it out and give the login as a secret reference of its own"
)
_REFUSED: Final = (
    "takes a secret reference only: everybody who reads a topic or a table would see the value "
    f"itself, or what a template makes of an output; {secret_references.REMEDY}"
)


@lru_cache(maxsize=1_024)
def secrets_of(tool: Tool) -> frozenset[str]:
    """The parameters that are a secret as a whole, by canonical name."""
    return tool.secret_parameters - CONTENT


def as_planned(tool: Tool) -> dict[str, Any]:
    """The parameters of the tool's example as a plan writes them: secrets are references."""
    secrets = secrets_of(tool)
    return {
        name: {"type": "secret", "path": f"env/{name.upper()}"}
        if name in secrets and not secret_references.is_meant(value)
        else value
        for name, value in tool.example.parameters.items()
    }


def problems(tool: Tool, parameters: dict[str, Any]) -> Iterator[Problem]:
    """A problem for each secret that is written down or made by a template; it names no value."""
    canonical = checker_of(tool).canonical
    secrets = secrets_of(tool)
    for name, value in parameters.items():
        own = canonical.get(name)
        if own is None or value is None or secret_references.is_meant(value):
            continue
        if own in secrets:
            yield Problem(f"parameters.{own}", _REFUSED)
        elif own == "headers" and type(value) is dict:
            yield from _headers(value)
        elif tool.parameters[own].format == "url" and _names_password(value):
            yield Problem(f"parameters.{own}", _LOGIN_IN_URL)
        else:
            yield from literal_texts.problems(value, f"parameters.{own}")


def _headers(headers: dict[str, Any]) -> Iterator[Problem]:
    """A problem for each header that is a login and no reference."""
    for name, value in headers.items():
        if type(name) is not str or secret_references.is_meant(value):
            continue
        field = f"parameters.headers.{name[:64]}"
        if name.strip().lower() in LOGIN_HEADERS:
            yield Problem(field, _REFUSED)
        elif type(value) is str and literal_texts.is_field(name, value):
            yield Problem(field, literal_texts.IN_FIELD)
        else:
            yield from literal_texts.problems(value, field)


def _names_password(url: Any) -> bool:
    """Whether the address has a password before its host."""
    if type(url) is not str:
        return False
    login, at, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
    return bool(at) and ":" in login


def step_problems(secrets: dict[str, Any]) -> Iterator[Problem]:
    """A problem for each entry of a step's `secrets` that is no reference; it names no value."""
    for name, value in secrets.items():
        fault = _REFUSED
        if secret_references.is_meant(value):
            found = secret_references.fault(value)
            if found is None:
                continue
            fault = found
        yield Problem(f"secrets.{name[:64]}", fault)
