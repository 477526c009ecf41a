"""The certificate sweep of the demo over five real TLS servers, to a chat that checks its posts."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from console.exits import Exit
from devstack.ports import free_port
from tests.fakes.hooks import Hooks
from tests.harness import Harness
from tests.integration.demo_plans import Runner, errors_of, ran
from tests.tools.planned import kept
from tests.tools.test_certificates import Certificates, certificates, serving

__all__ = ["certificates"]

DAY = timedelta(days=1)
#: Days that are left, beside some hours. The fourth one is at the limit, which is no reproach.
LEFT = (90, 30, 9, 14)


def test_who_needs_a_new_certificate_is_named_once(
    harness: Harness,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    runner = Runner(harness, monkeypatch, tmp_path)
    with ExitStack() as opened:
        hooks = opened.enter_context(Hooks())
        ports = [
            opened.enter_context(
                serving(
                    certificates.make(
                        f"www-{days}", ["127.0.0.1"], ends=days * DAY + timedelta(hours=6)
                    ).file
                )
            )
            for days in LEFT
        ]
        down = free_port()
        every = [_server(port) for port in (*ports[:2], down, *ports[2:])]
        # No name of a host at all: that stops nothing either.
        odd = [*every, {"host": "-no_such"}]
        given: dict[str, Any] = {"servers": odd, "chat": kept(hooks.url("/slack"))}

        code, events = runner.run("certificate-sweep.yaml", given)
        assert code == Exit.OK, errors_of(events)
        asked = [step for step in ran(events) if step.endswith(".certificate")]
        assert sorted(asked) == [f"sweep[{n}].certificate" for n in range(5)]
        (post,) = hooks.taken
        first, *rest = post.document["text"].strip().split("\n")
        assert first == "3 of 6 certificates need somebody:"
        assert len(rest) == 3 and "-no_such:443 shows no certificate" in "\n".join(rest)
        soon, gone = sorted(
            (line for line in rest if line.startswith("127")), key=lambda line: "shows no" in line
        )
        assert soon.startswith(f"127.0.0.1:{ports[2]} has 9 days left, until ")
        assert gone.startswith(f"127.0.0.1:{down} shows no certificate")
        assert hooks.url("/slack") not in str(events)

        # All is well: nothing is written.
        hooks.taken.clear()
        # The fifth server is back, with a certificate that is good for longer than a week.
        with serving(certificates.make("www-back", ["127.0.0.1"], ends=10 * DAY).file) as port:
            every[2] = _server(port)
            week = {**given, "servers": every, "days": 7}
            code, events = runner.run("certificate-sweep.yaml", week)
        assert (code, hooks.taken) == (Exit.OK, []), errors_of(events)


def _server(port: int) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port}
