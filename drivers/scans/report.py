"""nmap's XML as the output of a step, read by python-nmap in a process of its own."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final, Literal

from drivers import local
from drivers.context import Failure, Outcome, OutputWriter, RunContext, Success
from drivers.errors import fail
from drivers.program_progress import Report
from drivers.readers.program import ENVIRONMENT, reader_argv
from drivers.values import KEPT_BYTES
from toolmeta.invocation import Invocation

#: What nmap writes into its report while it works.
_PHASE: Final = re.compile(
    rb'<taskprogress task="([^"]{1,60})" time="[0-9]+" percent="([0-9]{1,3}(?:\.[0-9]+)?)"'
)


class KeptOutput:
    """Publishes both streams and keeps the beginning of stdout."""

    def __init__(
        self, onward: OutputWriter, report: Report | None = None, *, one_phase: bool = False
    ) -> None:
        """Nothing written yet. `report` gets how far nmap is in each of its phases; as percent of
        the step only where there is but one."""
        self._onward = onward
        self._report = report
        self._one_phase = one_phase
        self._kept = bytearray()
        self.stdout_bytes = 0

    async def write(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Publish it, with the same back-pressure."""
        if stream == "stdout":
            self.stdout_bytes += len(data)
            self._kept += data[: KEPT_BYTES - len(self._kept)]
            phases = _PHASE.findall(data) if b"<taskprogress" in data else ()
            if phases and self._report is not None:
                name, percent = phases[-1][0].decode("ascii", "replace"), float(phases[-1][1])
                self._report(percent if self._one_phase else None, f"{name}: {percent:.0f} %")
        await self._onward.write(stream, data)

    @property
    def text(self) -> str:
        """What was kept; a NUL, which no argument or stdin of a step may hold, is replaced."""
        return self._kept.decode("utf-8", "replace").replace("\x00", "\ufffd")


class _ErrorsOnly:
    """Publishes stderr; stdout is the result itself."""

    def __init__(self, onward: OutputWriter) -> None:
        self._onward = onward

    async def write(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        if stream == "stderr":
            await self._onward.write(stream, data)


async def read_report(invocation: Invocation, context: RunContext, xml: KeptOutput) -> Outcome:
    """The hosts and ports of a scan that ended well."""
    if xml.stdout_bytes > KEPT_BYTES:
        size = {"exit_code": 0, "truncated": True, "stdout_bytes": xml.stdout_bytes}
        message = f"the report is larger than {KEPT_BYTES} bytes: scan fewer targets in one step"
        return fail(invocation, "output_unparsable", message, size)
    outcome = await local.run(
        replace(
            invocation,
            driver="command",
            argv=reader_argv("nmap"),
            stdin=xml.text,
            env=ENVIRONMENT,
            parser="json",
            success_codes=(0,),
        ),
        replace(context, output=_ErrorsOnly(context.output)),
    )
    if isinstance(outcome, Failure):
        message = f"The output is not what nmap writes: {outcome.message}"
        return replace(outcome, error_class="output_unparsable", message=message, output=None)
    data: dict[str, Any] = outcome.output["data"]
    return Success({"exit_code": 0, **data})
