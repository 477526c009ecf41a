"""Lines about progress: read in whatever pieces they come, and never a part of the output."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.context import RunContext
from drivers.program_output import ProgramOutput
from drivers.program_progress import ProgressLines, by_time
from drivers.resources import Resources
from drivers.scans.report import KeptOutput
from tests.driver_kit import PYTHON, RecordedOutput, command, settings

Told = list[tuple[float | None, str | None]]


def read(pieces: list[bytes]) -> tuple[bytes, Told]:
    told: Told = []
    lines = ProgressLines(lambda percent, note: told.append((percent, note)))
    output = b"".join(lines.feed(piece) for piece in pieces) + lines.end()
    return output, told


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"runstream progress: 40 copied 400 of 1,000 files", (40.0, "copied 400 of 1,000 files")),
        (b"runstream progress: 12.5", (12.5, None)),
        (b"runstream progress: - task 3: install", (None, "task 3: install")),
        (b"runstream progress: 250 too much\r", (100.0, "too much")),
        ("runstream progress: 1 größer 🙂".encode(), (1.0, "größer 🙂")),
        (b"runstream progress: 1 \xff\xfe", (1.0, "\ufffd\ufffd")),
    ],
)
def test_a_line_of_its_own_is_told_and_taken_out(
    line: bytes, expected: tuple[float | None, str | None]
) -> None:
    assert read([b"before\n" + line + b"\nafter\n"]) == (b"before\nafter\n", [expected])
    assert read([line]) == (b"", [expected])


@pytest.mark.parametrize(
    "text",
    [
        b"runstream progress: soon\n",
        b"runstream progress: -1 x\n",
        b"runstream progress: 1e3 x\n",
        b"runstream progress: NaN\n",
        b"it says runstream progress: 5 x\n",
        b"runstream progress: 5 " + b"x" * 2_000 + b"\n",
        b"runstream exit_status: no\n",
        b"runstream progress: ",
        b"\n\nrun",
        b"",
    ],
)
def test_whatever_looks_else_is_output(text: bytes) -> None:
    assert read([text]) == (text, [])
    assert read([text[:9], text[9:]]) == (text, [])


@given(st.data())
def test_the_pieces_in_which_it_is_read_make_no_difference(data: st.DataObject) -> None:
    parts = st.sampled_from(
        [b"runstream progress: 5 x\n", b"runstream progress: ", b"run", b"\n", b"text\n", b"5 y"]
    )
    text = b"".join(data.draw(st.lists(parts, max_size=8)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    bounds = zip([0, *cuts], [*cuts, len(text)], strict=True)
    whole, pieces = read([text]), read([text[a:b] for a, b in bounds])
    assert pieces == whole
    lines = [line for line in text.split(b"\n") if line.startswith(b"runstream progress: 5")]
    assert len(whole[1]) == len(lines)


def test_a_program_that_never_ends_its_line_fills_no_memory() -> None:
    lines = ProgressLines(lambda percent, note: None)
    piece = b"runstream progress: 5 " + b"x" * 900
    assert lines.feed(piece) == b""
    handed_on = sum(len(lines.feed(b"x" * 900)) for _ in range(1_000))
    assert len(piece) + 900_000 - handed_on <= 1_000


def test_a_program_tells_its_progress_and_only_its_output_is_published() -> None:
    script = (
        "import sys; print('data'); "
        "sys.stderr.write('note\\nrunstream progress: 30 a third\\nrunstream progress: 60 more\\n')"
    )

    async def scenario() -> tuple[Told, RecordedOutput]:
        told: Told = []
        written = RecordedOutput()
        context = RunContext(
            command(), written, Resources(settings()), lambda *one: told.append(one)
        )
        output = ProgramOutput(context)
        process = await asyncio.create_subprocess_exec(
            PYTHON, "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        await asyncio.gather(
            output.drain("stdout", process.stdout), output.drain("stderr", process.stderr)
        )
        await process.wait()
        assert output.last_error == "note"
        return told, written

    told, written = asyncio.run(scenario())
    assert told == [(30.0, "a third"), (60.0, "more")]
    assert bytes(written.stdout) == b"data\n"
    assert bytes(written.stderr) == b"note\n"


def test_the_time_that_passes_is_told_and_nothing_after_the_end() -> None:
    told: Told = []

    async def scenario() -> int:
        async with by_time(lambda *one: told.append(one), 60.0, "listening"):
            await asyncio.sleep(0.05)
        seen = len(told)
        await asyncio.sleep(0.05)
        return seen

    assert asyncio.run(scenario()) == len(told) == 1
    assert told[0] == (0.0, "listening: 0 of 60 s")


@pytest.mark.parametrize("one_phase", [True, False])
def test_what_nmap_says_of_its_phases(one_phase: bool) -> None:
    told: Told = []

    async def scenario() -> bytes:
        written = RecordedOutput()
        kept = KeptOutput(written, lambda *one: told.append(one), one_phase=one_phase)
        line = b'<taskprogress task="Connect Scan" time="1795424184" percent="12.50"/>\n'
        await kept.write("stdout", b"<nmaprun>\n" + line.replace(b"12.50", b"3") + line)
        await kept.write("stdout", b"</nmaprun>\n")
        return bytes(written.stdout)

    assert asyncio.run(scenario()).count(b"taskprogress") == 2
    assert told == [(12.5 if one_phase else None, "Connect Scan: 12 %")]
