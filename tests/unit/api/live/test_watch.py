"""What a stream says beside records, and when it must end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from api.caller import Caller
from api.live import watch
from api.live.admission import Admission
from api.live.hub import Hub
from api.live.live import Live
from api.live.watch import Over, Watch
from api.problems import Problem
from api.rights import Rights
from authority.identity import Identity
from authority.policy import Policy
from authority.policy_document import Document
from runtime import logs
from runtime.settings import ApiSettings

POLICY = Policy(Document.model_validate({"version": 1, "rules": []}))


def caller(actor: str = "ann", tenant: str = "acme") -> Caller:
    identity = Identity(tenant, actor, kid="k")
    return Caller(identity, Rights(POLICY, identity), read_only=True)


class Lab:
    """One stream on a hub, without servers."""

    def __init__(self) -> None:
        settings = ApiSettings()
        self.hub = Hub()
        self.hub.begin([0] * 8, [0] * 8)
        self.hub.set_ready()
        self.counts: Caller | None = caller("new")
        self.admission = Admission(self.hub, 3, 2)
        self.live = Live(
            settings, self.hub, cast(Any, None), cast(Any, None), self.admission,
            lambda _: self.counts, logs.configure(settings, "api"),
        )  # fmt: skip
        self.lease = self.admission.lease("tenant", caller())
        self.watch = Watch(self.live, caller(), self.lease)

    def said(self) -> list[bytes]:
        return list(self.watch.notices(lambda: b": beat\n\n"))


def run(test: Callable[[Lab], Awaitable[None]]) -> None:
    async def main() -> None:
        await test(Lab())

    asyncio.run(main())


def test_a_reader_is_told_once_that_the_broker_is_away_and_once_that_it_is_back() -> None:
    async def test(lab: Lab) -> None:
        subscription = lab.hub.follow_tenant("acme", lambda event: True)
        waiting = asyncio.create_task(subscription.wait(30))
        await asyncio.sleep(0)
        lab.hub.set_away(True)
        async with asyncio.timeout(5):
            await waiting
        assert [frame.split(b"\n")[0] for frame in lab.said()] == [b"event: stale"]
        assert lab.said() == []
        lab.hub.set_away(False)
        assert [frame.split(b"\n")[0] for frame in lab.said()] == [b"event: fresh"]
        lab.watch.check(subscription, b"1")

    run(test)


def test_the_token_is_looked_at_with_each_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BEAT_SECONDS", 0.0)

    async def test(lab: Lab) -> None:
        lab.watch.check(None, b"1")
        assert lab.watch.caller.actor == "new"
        assert lab.said() == [b": beat\n\n"]
        lab.counts = None
        with pytest.raises(Over) as over:
            lab.watch.check(None, b"17")
        assert b'"reason":"token"' in over.value.frame
        assert b'"resume":"17"' in over.value.frame
        assert lab.lease.ending == "token"

    run(test)


@pytest.mark.parametrize("reason", ["slow", "stopped", "reset"])
def test_why_a_stream_ends(reason: str) -> None:
    async def test(lab: Lab) -> None:
        subscription = lab.hub.follow_tenant("acme", lambda event: True)
        lab.watch.check(subscription, b"1")
        if reason == "slow":
            subscription.overflowed = True
        elif reason == "stopped":
            lab.live.stop()
        else:
            lab.hub.begin([9] * 8, [9] * 8)
        with pytest.raises(Over) as over:
            lab.watch.check(subscription, b"1")
        assert f'"reason":"{reason}"'.encode() in over.value.frame
        assert over.value.frame.startswith(b"event: cut\n")
        assert over.value.frame.endswith(b"\n\n")

    run(test)


def test_streams_are_counted_by_caller_and_in_all() -> None:
    async def test(lab: Lab) -> None:
        second = lab.admission.lease("tenant", caller("ANN"))
        with pytest.raises(Problem) as refused:
            lab.admission.lease("output", caller())
        assert refused.value.document.status == 429
        third = lab.admission.lease("tenant", caller("ann", "other"))
        with pytest.raises(Problem) as refused:
            lab.admission.lease("output", caller("bob"))
        assert refused.value.document.status == 503
        for lease in (second, second, third):
            lease.end()
        assert lab.hub.readers == 1
        lab.admission.lease("output", caller())

    run(test)
