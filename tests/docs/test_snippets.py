"""Every command line, program and query of the documents is run against a live stack."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest

from tests.docs.blocks import ROOT, Block, blocks, section
from tests.docs.chat_command import Said, say
from tests.docs.live_stack import DEAD_LETTER, SECONDS, Stack, started
from tests.docs.terminals import Terminal, missing
from tests.fakes.hooks import Hooks

#: Commands and programs that are not run here, each with the reason.
NOT_RUN = {
    r"^make \w+": "installs everything, or runs all tests and with them this one",
    r"runstream up --detach": "the stack of these tests was started by this very command",
    r"runstream down": "the stack of these tests is stopped by this very command",
    r"from devstack\.stack import LocalStack": "the stack of the tests is started in this way",
    r"^(\w+=\w+ )?docker compose ": "`make compose-check` starts it, which takes minutes",
    r"^(sudo )?apt-get install": ".ci/run installs the programs, on a bare machine too",
    r"^git clone ": "the tests run in what was cloned",
    r"^cd runstream$": "the tests run in what was cloned",
    r"^promtool .* deploy/": "tests/contract/test_alerts.py runs it, in the repository",
    r"^useradd ": "it changes the accounts of the machine",
    r"^RUNSTREAM_KAFKA_OPTIONS=": "tests/integration/test_access.py runs each user's process",
}
#: Pages whose blocks another test runs, with what they need.
RUN_ELSEWHERE = {
    "docs/ssh.md": "tests/integration/test_docs_ssh.py, against an OpenSSH server",
    "docs/webhooks.md": "tests/integration/test_webhooks.py, with an API that has hooks",
    "docs/own-tools.md": "tests/docs/test_own_tools.py, from an empty folder",
    "docs/tutorial.md": "below, in terminals, with what is printed there",
    "docs/approve-from-chat.md": "below, with somebody who writes in the chat",
    "docs/producers.md": "below, each language where its tools are installed",
}
#: What a page needs beside what every one needs; without it the page is skipped.
PROGRAMS = {
    "docs/set-up-alerts.md": ("prometheus", "promtool", "prometheus-alertmanager", "amtool"),
}
#: The same for the sections of docs/producers.md.
LANGUAGES = {
    "Python": (), "Go": ("go",), "JavaScript": ("node", "npm"), "Java": ("java", "javac"),
    "kcat": (), "What comes of it": (),
}  # fmt: skip
#: They follow something for ever: they run until the first line that they print.
ENDLESS = (
    r"^kcat .* -C (?!.* -e\b)",
    r"^runstream (router|executor|sink|projector|matcher|api)\b",
    r"while True:",
)
QUESTION = "[y/N]:"
#: Commands that ask before they act; they are answered with yes, as if at a terminal.
ASKING = (r"runstream dlq drop", r"runstream dlq redrive .* --class")

ALL = blocks()


def commands(block: Block) -> list[str]:
    """The command lines of a block: those after `$ `, or all where none has it."""
    lines = [line.strip() for line in block.text.splitlines() if line.strip()]
    typed = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return typed or lines


def skipped(text: str) -> bool:
    return any(re.search(form, text) for form in NOT_RUN)


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"no {program} on this machine")


@pytest.fixture(scope="module")
def chat() -> Iterator[Hooks]:
    """Where the webhooks of the chat are."""
    with Hooks() as running:
        yield running


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, chat: Hooks) -> Iterator[Stack]:
    needs("kcat", "psql")
    variables = {
        "SLACK_WEBHOOK_URL": chat.url("/slack"),
        "RUNSTREAM_ALLOW_PRIVATE_ADDRESSES": "true",
    }
    with started(tmp_path_factory.mktemp("docs"), variables) as stack:
        yield stack


def of_page(name: str) -> list[Block]:
    """The blocks of a page of docs/ that are run, or are files that these need."""
    page = ROOT / "docs" / name
    return [
        block for block in ALL if block.page == page and (block.title or block.info == "console")
    ]


def pages(info: str) -> list[Any]:
    """The pages with blocks of this kind; with those of commands come the files they need."""
    found: dict[str, list[Block]] = {}
    for block in ALL:
        name = str(block.page.relative_to(ROOT))
        if name not in RUN_ELSEWHERE and (block.info == info and not block.title):
            found.setdefault(name, []).append(block)
    if info == "console":
        found = {
            name: [b for b in ALL if str(b.page.relative_to(ROOT)) == name
                   and (b.info == info or b.title)]
            for name in found
        }  # fmt: skip
    return [pytest.param(b, id=name) for name, b in found.items()]


@contextmanager
def typed(live: Stack, found: list[Block]) -> Iterator[None]:
    """The commands of blocks one after the other; what has a terminal of its own runs on.

    A block with another title is the file of that name.
    """
    with ExitStack() as others:
        for block in found:
            lines = [live.fill(line) for line in commands(block) if not skipped(line)]
            if block.info != "console":
                live.write(block)
            elif block.title:
                *before, last = lines
                line = "\n".join([*before, f"exec {last}"])
                others.enter_context(Terminal(line, live.folder, live.environment))
            else:
                for line in lines:
                    run(live, block, line)
        yield


def run(live: Stack, block: Block, line: str) -> None:
    """One command, which has to end well, or to print something where it does not end."""
    if any(re.search(form, line) for form in ENDLESS):
        assert live.first_line(["bash", "-c", f"exec {line}"]), f"{block.where}: {line}"
        return
    ended = live.run(line, asked=any(re.search(form, line) for form in ASKING))
    assert ended.returncode == 0, f"{block.where}: {line}\n{ended.stdout}{ended.stderr}"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("found", pages("console"))
def test_the_command_lines_of_a_page(live: Stack, found: list[Block]) -> None:
    needs(*PROGRAMS.get(str(found[0].page.relative_to(ROOT)), ()))
    if any(DEAD_LETTER.search(block.text) for block in found):
        live.send_what_is_no_request()
    with typed(live, found):
        pass


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_tutorial_in_terminals(live: Stack) -> None:
    """Each command as a reader types it, and every line that the page shows is shown."""
    with ExitStack() as ending:
        others: list[tuple[Block, Terminal]] = []
        for block in of_page("tutorial.md"):
            if block.info != "console":
                live.write(block)
                continue
            for line, told in answers(block):
                if skipped(line):
                    continue
                shell = ending.enter_context(Terminal(line, live.folder, live.environment))
                if block.title:
                    others.append((block, shell))
                    continue
                if any(shown.endswith(f"{QUESTION} y") for shown in told):
                    shell.answer(QUESTION, "y\n", SECONDS)
                assert shell.ended(SECONDS) == 0, f"{block.where}: {line}\n{shell.text}"
                lacks = missing(told, shell.text)
                assert lacks is None, f"{block.where}: {lacks!r} is not in\n{shell.text}"
        for block, shell in others:
            shell.ended(SECONDS)
            (one,) = answers(block)
            assert missing(one[1], shell.text) is None, f"{block.where}:\n{shell.text}"


def answers(block: Block) -> list[tuple[str, list[str]]]:
    """Each command of a block, with the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            found[-1][1].append(line)
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_producer(live: Stack, language: str) -> None:
    needs(*LANGUAGES[language])
    found = [block for block in of_page("producers.md") if section(block) == language]
    assert found
    with typed(live, found):
        pass
    if any("idempotency_key" in block.text for block in found):
        live.until_completed(f"from {language}")


def test_every_producer_has_a_section() -> None:
    assert {section(block) for block in of_page("producers.md")} == set(LANGUAGES)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_approvals_from_a_chat(live: Stack, chat: Hooks) -> None:
    """The channel is told; who has a key there approves what was read, and nothing of their own."""
    (live.folder / "asked.yaml").write_text(
        "approval_level: 1\nsteps: [{id: up, tool: uptime, timeout_seconds: 120}]\n"
    )
    with typed(live, of_page("approve-from-chat.md")):
        ident = live.run("runstream submit asked.yaml").stdout.strip()
        live.until(lambda: any(ident in str(one.body) for one in chat.taken), "no announcement")
        shown = say(live, "U0ANN", f"show {ident}")
        assert shown.status == 200
        line = shown.text.splitlines()[-1]
        assert line.startswith(f"/runstream approve {ident} ")
        assert "up: uptime" in shown.text
        assert say(live, "U0EVE", f"show {ident}").text == "You have no key here."
        assert say(live, "U0ANN", f"show {ident}", secret=b"another").status == 401
        assert say(live, "U0ANN", f"show {ident}", age=600).status == 401
        assert say(live, "U0ANN", "approve ../executions").text.startswith("Write: ")
        other = say(live, "U0ANN", f"approve {ident} {'0' * 64}")
        assert "done" not in other.text
        assert "hash" in other.text
        assert live.status_of(ident) == "pending_approval"
        assert say(live, "U0ANN", line.removeprefix("/runstream ")) == Said(
            200, f"approve {ident}: done"
        )
        assert live.run(f"runstream watch {ident}").returncode == 0
        own = live.run("RUNSTREAM_SIGNING_KEY=ann-chat.jwk runstream submit asked.yaml").stdout
        live.until(lambda: live.status_of(own.strip()) == "pending_approval", "not stored")
        assert "you asked for it" in say(live, "U0ANN", f"show {own.strip()}").text
        assert "done" not in say(live, "U0ANN", f"approve {own.strip()} {line.split()[-1]}").text
        assert live.status_of(own.strip()) == "pending_approval"
        assert say(live, "U0ANN", f"reject {own.strip()}").text.endswith("done")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("found", pages("python"))
def test_the_programs_of_a_page(live: Stack, found: list[Block]) -> None:
    for block in found:
        if skipped(block.text):
            continue
        argv = [sys.executable, "-u", "-c", block.text]
        if any(re.search(form, block.text) for form in ENDLESS):
            assert live.first_line(argv), block.where
            continue
        ended = subprocess.run(
            argv,
            cwd=live.folder,
            env=live.environment,
            input=live.status,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ended.returncode == 0, f"{block.where}: {ended.stderr}"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("found", pages("sql"))
def test_the_queries_of_a_page(live: Stack, found: list[Block]) -> None:
    with psycopg.connect(live.database_url) as connection:
        for block in found:
            for query in re.sub(r"--.*", "", live.fill(block.text)).split(";"):
                if query.strip():
                    answer = connection.execute(query.encode())
                    if answer.description is not None:
                        answer.fetchall()
        # Some make a role.
        connection.rollback()


def test_every_exception_is_still_needed() -> None:
    texts = [line for block in ALL if block.info == "console" for line in commands(block)]
    texts += [block.text for block in ALL if block.info == "python"]
    for form in (*NOT_RUN, *ENDLESS, *ASKING):
        assert any(re.search(form, text) for text in texts), f"nothing matches {form}"
