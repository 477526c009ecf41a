"""Secret references of a command: which places count, and that no value shows where it fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from drivers.connections import Asset
from drivers.context import Failure
from drivers.registry import DRIVERS
from drivers.secret_places import destination_of, placed
from drivers.secret_use import SecretError
from processors.executors.binding import binder
from processors.executors.resolving import Unresolved, resolved
from streams.reports import SecretUse
from tests import secret_kit
from tests.driver_kit import command
from tests.secret_kit import REGISTRY, Given, begun
from toolmeta.invocation import Invocation
from toolmeta.secret_references import pointers

CANARY = "canary-\x01-7f3a"
VALUES = {"file/own": "acme-value", "env/TOKEN": CANARY}


def reference(path: str) -> dict[str, str]:
    return {"type": "secret", "path": path}


@pytest.fixture
def store() -> Given:
    return Given(VALUES)


def bound(store: Given, tool: str, parameters: dict[str, Any], **changed: Any) -> Any:
    """As the router sends it: the references of `parameters` are recorded, if not given."""
    changed.setdefault("secret_paths", pointers(parameters))
    return secret_kit.bound(store, command(tool=tool, parameters=parameters, **changed))


def test_bound_with_its_value_and_marked(store: Given) -> None:
    headers = {"X-Token": reference("file/own"), "X-Plain": "p"}
    found = bound(store, "curl", {"url": "https://example.org/", "headers": headers})
    assert isinstance(found, Invocation)
    assert found.arguments["headers"] == {"X-Token": "acme-value", "X-Plain": "p"}
    assert found.secrets == ("acme-value",)


def test_only_where_the_tool_takes_a_secret(store: Given) -> None:
    problems = bound(store, "curl", {"url": reference("file/own")})
    assert [(one.field, "secret" in one.message) for one in problems] == [("parameters.url", True)]


def test_what_is_refused_does_not_show_the_value(store: Given) -> None:
    # A header may not hold a control character: the value is looked at, and not repeated.
    headers = {"X-Token": reference("env/TOKEN")}
    failure = bound(store, "curl", {"url": "https://example.org/", "headers": headers})
    assert isinstance(failure, Failure) and failure.error_class == "invalid_parameters"
    assert "parameters.headers.X-Token" in failure.message
    assert CANARY not in repr(failure)
    missing = bound(store, "curl", {"url": "https://e.org/", "headers": {"a": reference("env/X")}})
    assert missing == Failure("secret_missing", "There is no secret env/X.")


def test_secrets_of_the_step_fill_parameters_of_their_name(store: Given) -> None:
    given = {"host": "win-01", "path": "C:\\a"}
    secrets = {"password": reference("file/own")}
    found = bound(store, "test_path", given, secrets=secrets)
    assert found.arguments["connection"] == {"password": "acme-value"}
    assert found.secrets == ("acme-value",)
    problems = bound(store, "test_path", given, secrets={"pin": reference("file/own")})
    assert [one.field for one in problems] == ["secrets.pin"]
    assert isinstance(
        bound(store, "df", {}, secrets={"ssh_key": reference("file/own")}), Invocation
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Token": reference("file/own")},
        {"X-Token": reference("nonsense")},
        {"X-Token": reference("file/own"), "X-Other": "p"},
    ],
)
def test_what_only_looks_like_a_reference_is_refused(store: Given, headers: Any) -> None:
    given = {"url": "https://example.org/", "headers": headers}
    for recorded in ((), ("/headers/X-Other",), ("/headers",), ("/headers/X-Token/path",)):
        problems = bound(store, "curl", given, secret_paths=recorded)
        assert isinstance(problems, list), problems
        assert "acme-value" not in repr(problems)
    problems = bound(store, "curl", given, secret_paths=())
    assert problems[0].field == "parameters.headers.X-Token"
    assert "is no reference of the plan" in problems[0].message


def test_a_recorded_path_without_its_reference_is_refused(store: Given) -> None:
    for value in ("text", reference("file/own") | {"more": 1}, {"type": "text"}, None):
        given = {"url": "https://example.org/", "headers": {"X-Token": value}}
        problems = bound(store, "curl", given, secret_paths=("/headers/X-Token",))
        assert problems[0].field == "parameters.headers.X-Token"
    problems = bound(store, "curl", {"url": "https://e.org/"}, secret_paths=("/headers/X-Token",))
    assert problems[0].field == "parameters.headers.X-Token"


def test_the_secrets_of_a_step_are_references_and_nothing_else(store: Given) -> None:
    given = {"host": "win-01", "path": "C:\\a"}
    for value in ("{{ steps.a.output }}", {"deep": reference("file/own")}, ["x"], 7):
        problems = bound(store, "test_path", given, secrets={"password": value})
        assert [one.field for one in problems] == ["secrets.password"]


def test_a_claim_resolves_nothing(store: Given) -> None:
    parameters = {"url": "https://example.org/", "headers": {"A": reference("file/own")}}
    given = command(tool="curl", parameters=parameters, secret_paths=pointers(parameters))
    found = binder(REGISTRY, DRIVERS)(given)
    assert isinstance(found, Unresolved)
    assert found.expected.tool == "curl" and found.expected.driver == "http"
    assert not store.asked
    invocation, told = asyncio.run(begun(store, given, found))
    assert isinstance(invocation, Invocation)
    assert told == [SecretUse("file/own", "headers", "test", "example.org")]
    ((path, use),) = store.asked
    assert path == "file/own"
    assert (use.tenant, use.actor, use.tool, use.destination) == (
        "acme", "ci@acme", "curl", "example.org"
    )  # fmt: skip


def test_nothing_is_given_out_whose_use_cannot_be_recorded(store: Given) -> None:
    parameters = {"url": "https://example.org/", "headers": {"A": reference("file/own")}}
    given = command(tool="curl", parameters=parameters, secret_paths=pointers(parameters))
    found = binder(REGISTRY, DRIVERS)(given)
    assert isinstance(found, Unresolved)

    async def story() -> Any:
        from drivers.context import RunContext
        from drivers.resources import Resources
        from processors.executors.resolving import resolved
        from tests.driver_kit import RecordedOutput, settings

        async def refuse(uses: Any) -> None:
            raise SecretError("The use could not be recorded.", "secret_unavailable")

        context = RunContext(given, RecordedOutput(), Resources(settings(), store), print)
        context.secrets_used = refuse
        return await resolved(found, context)

    assert asyncio.run(story()) == Failure(
        "secret_unavailable", "The use could not be recorded.", transient=True
    )


@pytest.mark.parametrize(
    ("tool", "parameters", "parameter", "host"),
    [
        ("curl", {"url": "https://Api.Example.org:8443/a"}, "headers", "api.example.org"),
        ("webhook_sender", {"url": reference("env/TOKEN")}, "headers", None),
        ("slack_cli", {"message": "m"}, "webhook_url", None),
        ("psql", {"query": "select 1", "host": "DB-01:5432"}, "password", "db-01"),
        ("mysql", {"server": "db-02", "host": "jump"}, "password", "db-02"),
        ("aws_s3", {"endpoint_url": "https://evil.example"}, "secret_access_key", "evil.example"),
        ("test_path", {"host": "win-01", "path": "C:\\a"}, "password", "win-01"),
        ("invoke_webrequest", {"host": "win-01", "url": "http://in/"}, "headers", "in"),
        ("invoke_webrequest", {"host": "win-01", "url": "http://in/"}, "password", "win-01"),
        ("docker", {"server": "Registry:5000", "engine": "unix:///a"}, "password", "registry"),
        ("docker", {"server": "registry", "host": "web-01"}, "password", "registry"),
    ],
)
def test_who_gets_it(
    tool: str, parameters: dict[str, Any], parameter: str, host: str | None
) -> None:
    known = REGISTRY.get(tool)
    assert known is not None
    given = command(tool=tool, parameters=parameters, secret_paths=pointers(parameters))
    found = placed(known, given)
    assert not isinstance(found, list)
    assert destination_of(known, found, parameter, given) == host


def test_the_only_asset_of_a_step_is_where_it_goes() -> None:
    known = REGISTRY.get("test_path")
    assert known is not None
    given = command(tool="test_path", parameters={"path": "C:\\a"}, assets=["Win-09"])
    found = placed(known, given)
    assert not isinstance(found, list)
    assert destination_of(known, found, "password", given) == "win-09"


def test_the_rules_are_asked_about_the_address_of_the_asset_too(store: Given) -> None:
    """A step's own secret goes to where the inventory says that its host is."""
    given = command(tool="test_path", parameters={"host": "WIN-01.", "path": "C:\\a",
                    "password": reference("file/own")}, secret_paths=("/password",))  # fmt: skip
    found = binder(REGISTRY, DRIVERS)(given)
    assert isinstance(found, Unresolved)

    async def story(address: str) -> SecretUse:
        # The asset is cached: the database is not asked.
        inventory = "postgresql://nowhere/x"
        context = secret_kit.context(store, given, assets_database_url=inventory)
        context.resources.remembered.put("acme", Asset("win-01", address))
        told: list[SecretUse] = []

        async def tell(uses: Any) -> None:
            told.extend(uses)

        context.secrets_used = tell
        assert isinstance(await resolved(found, context), Invocation)
        return told[0]

    spellings = [("192.0.2.7", "192.0.2.7"), ("0xc0.0.2.7", "192.0.2.7")]
    names = [("Evil.example.org.", "evil.example.org"), ("win-01", None)]
    for address, usual in (*spellings, *names):
        use = asyncio.run(story(address))
        assert (use.destination, use.address) == ("win-01", usual)
        (_, asked) = store.asked[-1]
        assert (asked.destination, asked.address) == ("win-01", usual)


@pytest.mark.parametrize(
    ("tool", "given"),
    [("command", {"argv": ["id"]}), ("script", {"script": "id"})],
)
def test_a_script_that_may_not_run_reads_no_secret(tool: str, given: dict[str, Any]) -> None:
    source = Given({"env/TOKEN": "s3cret"})
    reference = {"type": "secret", "path": "env/TOKEN"}
    sent = command(
        tool=tool, parameters={**given, "env": {"TOKEN": reference}}, secret_paths=["/env/TOKEN"]
    )
    found = secret_kit.bound(source, sent)
    assert isinstance(found, Failure) and found.error_class == "capability_missing"
    assert "RUNSTREAM_ALLOW_" in found.message
    assert source.asked == []
