"""The resolver: rules before the cache, one request at a time for one secret, bounded waits."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drivers import secret_resolver
from drivers.errors import secret_failure
from drivers.secret_config import SecretsConfig
from drivers.secret_resolver import Resolver
from drivers.secret_use import Resolved, SecretError, Use
from drivers.secrets import Secrets
from streams.reports import SecretUse
from tests.secret_kit import secret_file
from toolmeta.invocation import Invocation
from toolmeta.secret_references import SecretPath

USE = Use("default", "ci", "curl", "dev", "e", "s", 1, parameter="headers")
OWN = SecretPath("file", "own")


class SlowStore:
    """A source that waits until it is let go on, and counts."""

    def __init__(self, value: str | None = "slow-value") -> None:
        self.reads: list[tuple[str, str]] = []
        self.go = threading.Event()
        self.value = value

    def read(self, name: str, tenant: str) -> str | None:
        self.reads.append((name, tenant))
        assert self.go.wait(30)
        return self.value


def resolver(store: Any = None, **changed: Any) -> Resolver:
    made = Resolver(
        SecretsConfig({"TOKEN": "token-value", "TINY": "abc", "NUL": "a\x00bcd"}, **changed)
    )
    if store is not None:
        made._stores = {**made._stores, "vault": store, "file": store}
    return made


def refused(path: SecretPath, use: Use = USE, made: Resolver | None = None) -> SecretError:
    with pytest.raises(SecretError) as caught:
        asyncio.run((made or resolver()).resolve(path, use))
    return caught.value


def test_a_variable_and_what_cannot_be_masked() -> None:
    found = asyncio.run(resolver().resolve(SecretPath("env", "TOKEN"), USE))
    assert found == Resolved("token-value", "default-tenant")
    assert "token-value" not in repr(found)
    for name in ("TINY", "NUL"):
        error = refused(SecretPath("env", name))
        assert error.error_class == "secret_missing" and "masked" in str(error)
    assert refused(SecretPath("env", "ABSENT")).error_class == "secret_missing"
    assert refused(SecretPath("vault", "kv/a#b")).error_class == "secret_missing"


def test_another_tenant_needs_a_rule() -> None:
    error = refused(SecretPath("env", "TOKEN"), replace(USE, tenant="acme", destination="evil.org"))
    assert (error.error_class, error.rule) == ("secret_denied", "no-rule")
    assert str(error) == (
        "The tenant acme may not use the secret env/TOKEN in curl towards evil.org (rule no-rule); "
        "allow it in RUNSTREAM_SECRETS_POLICY."
    )


@pytest.mark.parametrize("rule", ["no-rule", None])
def test_a_refusal_says_what_was_refused_by_which_rule(rule: str | None) -> None:
    class Refusing:
        async def resolve(self, path: SecretPath, use: Use) -> Resolved:
            raise SecretError("It may not be used.", "secret_denied", rule)

    use = replace(USE, destination="db-01")
    with pytest.raises(SecretError) as caught:
        asyncio.run(Secrets(Refusing()).resolve(OWN, use))
    denied = SecretUse("file/own", "headers", rule or "source", "db-01")
    assert caught.value.denied == denied
    failure = secret_failure(Invocation("curl", "local"), caught.value, "db-01")
    assert (failure.message, failure.denied) == ("db-01: It may not be used.", denied)
    # A secret that is not there was not refused.
    with pytest.raises(SecretError) as caught:
        asyncio.run(Secrets().resolve(OWN, use))
    assert caught.value.denied is None


def test_two_at_the_same_time_ask_once_and_one_that_leaves_ends_nothing() -> None:
    store = SlowStore()

    async def story() -> None:
        made = resolver(store)
        path = SecretPath("vault", "kv/a#b")
        waiting = [asyncio.create_task(made.resolve(path, USE)) for _ in range(5)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        store.go.set()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert found[1:] == [Resolved("slow-value", "default-tenant")] * 4
        assert await made.resolve(path, USE) == found[1]
        assert len(store.reads) == 1
        # A file is another one for each tenant.
        for tenant in ("default", "acme"):
            await made.resolve(OWN, replace(USE, tenant=tenant))
        assert store.reads[1:] == [("own", "default"), ("own", "acme")]
        made.close()

    asyncio.run(story())


def test_the_rules_count_for_what_is_in_the_cache(tmp_path: Path) -> None:
    policy = tmp_path / "rules.yaml"
    policy.write_text("rules:\n  - {id: all, effect: allow}\n")

    async def story() -> None:
        made = resolver(policy=str(policy))
        path = SecretPath("env", "TOKEN")
        assert (await made.resolve(path, USE)).rule == "all"
        policy.write_text("rules:\n  - {id: none, effect: deny, tenants: [default]}\n")
        with pytest.raises(SecretError, match="rule none"):
            await made.resolve(path, USE)

    asyncio.run(story())


def test_a_secret_is_read_again_when_its_time_is_over(tmp_path: Path) -> None:
    secret_file(tmp_path, "own", "first-value")
    tmp_path.chmod(0o700)

    async def story() -> None:
        for seconds, then in ((60.0, "first-value"), (0.0, "second-value")):
            secret_file(tmp_path, "own", "first-value")
            made = resolver(directory=str(tmp_path), cache_seconds=seconds)
            assert (await made.resolve(OWN, USE)).value == "first-value"
            secret_file(tmp_path, "own", "second-value")
            assert (await made.resolve(OWN, USE)).value == then
            made.close()

    asyncio.run(story())


def test_an_entry_ages_out_and_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(secret_resolver, "time", SimpleNamespace(monotonic=lambda: clock.now))
    path = SecretPath("vault", "kv/a#b")
    store = SlowStore("first-value")
    store.go.set()

    async def story() -> None:
        made = resolver(store, cache_seconds=5.0)

        async def at(second: float) -> tuple[str, int]:
            clock.now = 1_000.0 + second
            return (await made.resolve(path, USE)).value, len(store.reads)

        assert await at(0) == ("first-value", 1)
        store.value = "second-value"
        # Uses of it do not keep it longer.
        assert [await at(second) for second in (1, 3, 4.999)] == [("first-value", 1)] * 3
        assert await at(5) == ("second-value", 2)
        assert await at(9.999) == ("second-value", 2)
        store.value = None
        with pytest.raises(SecretError, match="There is no secret"):
            await at(10)
        # Neither what was there before is given out, nor that there is none remembered.
        store.value = "third-value"
        assert await at(10) == ("third-value", 4)
        made.close()

    asyncio.run(story())


def test_a_source_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_resolver, "READ_SECONDS", 0.05)
    store = SlowStore()

    async def story() -> SecretError:
        made = resolver(store)
        with pytest.raises(SecretError) as caught:
            await made.resolve(SecretPath("vault", "kv/a#b"), USE)
        store.go.set()
        made.close()
        return caught.value

    assert asyncio.run(story()).error_class == "secret_unavailable"


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_resolver, "_MOST_CACHED", 3)
    store = SlowStore()
    store.go.set()

    async def story() -> int:
        made = resolver(store)
        for number in range(10):
            await made.resolve(SecretPath("vault", f"kv/{number}#b"), USE)
        made.close()
        return len(made._cache)

    assert asyncio.run(story()) == 3
