"""Tools that start a further program start only what the operator has listed."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from drivers.context import Failure, Outcome
from drivers.resources import Resources
from tests.driver_kit import Run, settings
from toolmeta import registry
from toolmeta.bind import bind
from toolmeta.invocation import Invocation


def outcome(tool: str, program: str, listed: str) -> Outcome:
    definition = registry.load().get(tool)
    assert definition is not None
    bound = bind(definition, {"program": program, "arguments": ["-c", "id"]})
    assert isinstance(bound, Invocation), bound
    # An address nobody listens at: what passes the check goes no further than this.
    invocation = replace(bound, host="127.0.0.1:1")
    resources = Resources(settings(startable_programs=listed))
    return asyncio.run(Run(resources, invocation).outcome())


@pytest.mark.parametrize("tool", ["nice", "sudo"])
@pytest.mark.parametrize(
    "program", ["timeout", "rbash", "busybox", "/bin/gzip", "gzip2", "./gzip", "GZIP"]
)
def test_what_is_not_listed_is_refused_with_the_remedy(tool: str, program: str) -> None:
    found = outcome(tool, program, "gzip, /usr/bin/systemctl")
    assert isinstance(found, Failure) and found.error_class == "capability_missing"
    assert program in found.message and "RUNSTREAM_STARTABLE_PROGRAMS" in found.message
    assert not found.transient


@pytest.mark.parametrize("tool", ["nice", "sudo"])
def test_what_is_listed_is_started_as_it_is_written(tool: str) -> None:
    for program in ("gzip", "/usr/bin/systemctl"):
        found = outcome(tool, program, "gzip, /usr/bin/systemctl")
        assert isinstance(found, Failure) and found.error_class != "capability_missing"


@pytest.mark.parametrize("tool", ["nice", "sudo"])
def test_nothing_is_listed_by_default(tool: str) -> None:
    found = outcome(tool, "gzip", "")
    assert isinstance(found, Failure) and found.error_class == "capability_missing"
