"""Calls of tools that name a peer, and what becomes of them before and after the check."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from drivers import contacts
from drivers.context import Failure, Outcome
from drivers.resources import Resources
from tests.driver_kit import Run, settings
from toolmeta.bind import bind
from toolmeta.invocation import Invocation, Problem
from toolmeta.model import Tool
from toolmeta.registry import load

REFUSED = """
10.0.0.1 127.0.0.1 192.168.1.1 172.16.0.1 100.64.0.1 169.254.169.254 168.63.129.16 192.0.0.192
0x7f.1 2130706433 0177.0.0.1 127.1 2852039166 127.0.0.1. 169.254.169.254.
localhost metadata.google.internal Metadata ::1 ::ffff:127.0.0.1 64:ff9b::7f00:1 2002:a9fe:a9fe::
fd00:ec2::254
"""


def call_of(tool: Tool, name: str, host: str) -> Invocation | list[Problem]:
    """The tool's own example with one parameter set to a host, in the form that it takes."""
    given = {**tool.example.parameters, name: f"tcp://{host}:2375" if name == "engine" else host}
    if tool.name == "openssl":
        given["action"] = "connect"
    if tool.name == "az_storage" and name == "connection_string":
        given = {key: value for key, value in given.items() if key != "account_key"}
        given[name] = f"BlobEndpoint={host};AccountName=x;AccountKey=eA=="
    given.pop("socket", None)
    return bind(tool, given)


def bound(tool: str, parameters: dict[str, Any]) -> Invocation:
    definition = load().get(tool)
    assert definition is not None
    invocation = bind(definition, parameters)
    assert isinstance(invocation, Invocation), invocation
    return invocation


def outcome_of(invocation: Invocation, **changed: Any) -> Outcome:
    async def inside() -> Outcome:
        # Said here, since the stack of other tests leaves its own in the environment.
        strict = {"allow_private_addresses": False, "network_scope": ""}
        opened = Resources(settings(**{**strict, **changed}))
        try:
            return await Run(opened, invocation).outcome()
        finally:
            await opened.close()

    return asyncio.run(inside())


def checked_here(
    invocation: Invocation, *, here: bool = True, **changed: Any
) -> contacts.Checked | Failure:
    async def inside() -> contacts.Checked | Failure:
        strict = {"allow_private_addresses": False, "network_scope": ""}
        opened = Resources(settings(**{**strict, **changed}))
        try:
            return await contacts.checked(invocation, Run(opened, invocation).context, here=here)
        finally:
            await opened.close()

    return asyncio.run(inside())


def echoed(invocation: Invocation) -> Invocation:
    """The same call of a program that only prints its arguments."""
    return replace(invocation, argv=("/bin/echo", *invocation.argv[1:]), parser="field:text")
