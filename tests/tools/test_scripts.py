"""Commands and scripts of plans, through the whole system: run where allowed, named in events."""

from __future__ import annotations

import json

import pytest

from tests.tools.conftest import Execute
from tests.tools.planned import kept
from toolmeta import scripts

SECRET = "s3cret-value-of-the-step"
TEXT = 'cat >&2; echo "$TOKEN" >&2; printf "{\\"who\\": \\"%s\\"}" "$1"'


def test_a_script_runs_and_is_named_by_its_hash(execute: Execute) -> None:
    given = {
        "script": TEXT, "interpreter": "bash", "arguments": ["$(id)"], "parse": "json",
        "input": kept(SECRET), "env": {"TOKEN": kept(SECRET)},
    }  # fmt: skip
    result = execute("script", given)
    assert result.status == "succeeded", result
    assert result.output["data"] == {"who": "$(id)"}
    assert result.output["script_sha256"] == scripts.digest("bash", TEXT)
    # It wrote the secret: everywhere there is a mask in its place.
    assert result.output["stderr"] and SECRET not in json.dumps(result.events)


def test_a_command_runs_and_reports_its_exit_code(execute: Execute) -> None:
    result = execute("command", {"argv": ["grep", "-c", "root", "/etc/passwd"], "cwd": "/etc"})
    assert (result.status, result.output["exit_code"]) == ("succeeded", 0)
    result = execute("command", {"argv": ["false"]})
    assert (result.status, result.error_class) == ("failed", "exit_status")
    assert execute("command", {"argv": ["false"], "exit_codes": [1]}).status == "succeeded"


@pytest.mark.parametrize(
    ("tool", "given", "setting"),
    [
        ("command", {"argv": ["id"]}, "RUNSTREAM_ALLOW_COMMANDS"),
        ("script", {"script": "id"}, "RUNSTREAM_ALLOW_SCRIPTS"),
    ],
)
def test_elsewhere_than_allowed_nothing_is_started(
    execute: Execute, tool: str, given: dict[str, object], setting: str
) -> None:
    result = execute(tool, {**given, "host": "127.0.0.1:1"})
    assert (result.status, result.error_class) == ("failed", "capability_missing")
    assert setting in result.error["message"] and result.error["transient"] is False
