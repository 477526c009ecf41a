"""Every name that the documents mention in backticks exists where they say that it is."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any, get_args

import typer

from console.cli import app
from console.docs import build
from streams.lifecycle import ExecutionStatus, StepStatus
from streams.payloads import EVENT_TYPES
from streams.topics import all_topics
from tests.docs.blocks import PAGES, ROOT, Word, blocks, prose, words
from toolmeta import registry

ALL = words()
PACKAGES = (
    *("streams", "toolmeta", "drivers", "processors", "sinks", "runtime", "devstack", "console"),
    *("authority", "reading", "api", "web"),
    *("ddl", "bench", "demo", "deploy", "tests"),
)
#: Names that belong to others, each with whose it is.
FOREIGN = {
    "read_uncommitted": "Kafka's isolation level",
    "read_committed": "Kafka's isolation level",
    "known_hosts": "OpenSSH's file",
    "PR_SET_PDEATHSIG": "the kernel's",
    "authorized_keys": "OpenSSH's file",
    "ssh_host_ed25519_key": "OpenSSH's file",
    "INIT_USER": "the kernel's",
    "preexec_fn": "a parameter of Python's subprocess, which is not used",
}


METRIC_TYPES = ("Counter", "Gauge", "Histogram", "GaugeMetricFamily", "CounterMetricFamily")


def sources(pattern: str) -> list[Path]:
    return [path for package in PACKAGES for path in (ROOT / package).rglob(pattern)]


@cache
def vocabulary() -> frozenset[str]:
    """Every word that the code, the tables or the catalogue know."""
    files = [
        *sources("*.py"), *sources("*.sql"), *sources("*.yaml"), *sources("*.json"),
        ROOT / "pyproject.toml", ROOT / "compose.yaml", ROOT / "Makefile", ROOT / ".importlinter",
    ]  # fmt: skip
    found: set[str] = set()
    for path in files:
        if "node_modules" not in path.parts:
            found.update(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", path.read_text("utf-8")))
            found.add(path.stem)
    return frozenset(found)


@cache
def metrics() -> dict[str, tuple[str, ...]]:
    """Every metric that is declared, with its labels."""
    found: dict[str, tuple[str, ...]] = {}
    for path in sources("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            made = ast.unparse(node.func).rpartition(".")[2]
            if made in METRIC_TYPES and isinstance(node.args[0], ast.Constant):
                name = node.args[0].value
                if isinstance(name, str) and name.startswith("runstream_") and len(node.args) > 1:
                    given = [n for a in node.args[2:] for n in ast.walk(a)]
                    given += [n for k in node.keywords if k.arg in ("labelnames", "labels")
                              for n in ast.walk(k.value)]  # fmt: skip
                    labels = [n.value for n in given if isinstance(n, ast.Constant)]
                    found[name] = tuple(str(label) for label in labels)
    return found


def none_of(faults: list[tuple[Word, str]]) -> None:
    """Fail with every fault, each where it stands."""
    lines = [f"{word.where}: `{word.text}` {why}" for word, why in faults]
    assert not lines, "\n" + "\n".join(lines)


def test_every_metric_is_declared_with_its_labels() -> None:
    faults: list[tuple[Word, str]] = []
    mentioned: set[str] = set()
    for word in ALL:
        match = re.fullmatch(r"(runstream_\w+)(?:\{([\w,]+)(?:=.*)?\})?", word.text)
        if match is None:
            continue
        name, labels = match[1], match[2]
        known = metrics().get(name)
        mentioned.add(name)
        if known is None:
            faults.append((word, "is no metric"))
        elif labels and set(labels.split(",")) != set(known):
            faults.append((word, f"has the labels {known}"))
    none_of(faults)
    assert set(metrics()) - mentioned == set(), "docs/operations.md lists every metric"


def test_the_outcomes_of_requests_are_those_that_are_counted() -> None:
    """The table of docs/operations.md names the values of the label."""
    rows = [line for _, line in prose(ROOT / "docs" / "operations.md")]
    row = next(line for line in rows if "`runstream_requests_total{outcome}`" in line)
    told = {word.strip() for word in row.split("|")[3].split(",")}
    counted: set[str] = set()
    for path in (ROOT / "processors" / "router").glob("*.py"):
        counted |= set(re.findall(r'request_series\("(\w+)"\)', path.read_text("utf-8")))
    assert told == counted


def test_every_variable_is_a_setting_or_read_somewhere() -> None:
    settings = build()["settings.md"]
    strings = {
        node.value
        for path in sources("*.py")
        if "tests" not in path.parts
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    strings |= set(re.findall(r"\$\{(\w+):[?-]", (ROOT / "compose.yaml").read_text("utf-8")))
    faults = []
    for word in ALL:
        name = re.match(r"((?:RUNSTREAM|SMTP|KAFKA|DATABASE|SSL|SECRET)_[A-Z_]*[A-Z])", word.text)
        if name is None or name[1] in settings or name[1] in strings:
            continue
        if word.text.startswith("SECRET_") or name[1] == "SSL_CERT_FILE":
            continue  # Names that the operator chooses, and OpenSSL's own.
        faults.append((word, "is no setting"))
    none_of(faults)


@cache
def dotted() -> set[str]:
    """Everything with a dot in its name that the system has: topics, event types, tables."""
    tables = re.findall(
        r"(?:TABLE|TYPE|VIEW)(?: IF NOT EXISTS)? (execution\.\w+)",
        "\n".join(path.read_text() for path in (*sources("*.sql"), *sources("migrate.py"))),
    )
    return {*EVENT_TYPES, *(topic.name for topic in all_topics()), *tables}


#: What an expression of a plan may say: docs/plans.md.
EXPRESSIONS = re.compile(
    r"(execution\.(id|tenant|actor)|plan\.(name|environment)|steps[.\[].*(output|status|error).*)"
)


def test_every_event_type_topic_and_table_exists() -> None:
    faults = []
    for word in ALL:
        if not re.match(r"(execution|step|steps|audit|lock|locks|router|executors)\.", word.text):
            continue
        if EXPRESSIONS.fullmatch(word.text) or word.text.endswith((".py", ".*", ".yaml", ".json")):
            continue
        form = word.text.replace("<domain>", "automation").replace("<lane>", "immediate")
        wanted = {form.replace("[.immediate]", ""), form.replace("[.immediate]", ".immediate")}
        if not wanted <= dotted():
            faults.append((word, "is no event type, topic or table"))
    none_of(faults)


def test_every_identifier_is_known_to_the_code() -> None:
    """snake_case, CamelCase and CONSTANTS: statuses, error classes, fields, tools, functions."""
    faults = []
    tools = {name for tool in registry.load().all() for name in (tool.name, *tool.aliases)}
    shape = re.compile(r"\.?([a-z]+(?:_[a-z0-9]+)+|[A-Z][a-z]+(?:[A-Z][a-z]+)+|[A-Z]+(?:_[A-Z]+)+)")
    for word in ALL:
        for part in re.split(r"[ ,=|(){}:\[\]\"/.<>*?&']+", word.text):
            name = shape.fullmatch(part)
            if name is None or name[1] in vocabulary() or name[1] in tools or name[1] in FOREIGN:
                continue
            if name[1].startswith(("RUNSTREAM_", "SECRET_")):
                continue  # The test of the variables looks at these.
            faults.append((word, f"names {name[1]}, which no code knows"))
    none_of(faults)


def test_every_path_exists() -> None:
    tops = {path.name for path in ROOT.iterdir()}
    faults = []
    for word in ALL:
        text = word.text
        first = text.split("/")[0]
        if "/" not in text or first not in tops or " " in text or first in ("build", ".venv"):
            continue
        pattern = re.sub(r"<[^>]+>|\*+", "*", text.partition("::")[0]).rstrip("/")
        if not any(ROOT.glob(pattern)):
            faults.append((word, "is no file"))
    none_of(faults)


def test_every_link_leads_somewhere() -> None:
    faults = []
    for page in PAGES:
        for number, line in prose(page):
            for target in re.findall(r"\]\(([^)\s]+)\)", line):
                if target.startswith(("http://", "https://")):
                    continue
                path, _, anchor = target.partition("#")
                file = (page.parent / path).resolve() if path else page
                if not file.exists():
                    faults.append(f"{page.relative_to(ROOT)}:{number}: {target} is no file")
                elif anchor and anchor not in anchors(file):
                    faults.append(f"{page.relative_to(ROOT)}:{number}: {target} is no heading")
    assert faults == []


def anchors(page: Path) -> set[str]:
    headings = [line.lstrip("# ") for _, line in prose(page) if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_lists_of_statuses_are_complete() -> None:
    """The line that lists the statuses of executions, or of steps, names all and no other."""
    tables = (ROOT / "docs" / "tables.md").read_text("utf-8")
    line = next(row for row in tables.splitlines() if row.startswith("- `status` of an execution"))
    executions = set(re.findall(r"`(\w+)`", line.partition(" is one of ")[2].partition(";")[0]))
    assert executions == set(get_args(ExecutionStatus))
    architecture = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    line = next(row for row in architecture.splitlines() if row.startswith("A step is `pending`"))
    assert set(re.findall(r"`(\w+)`", line)) == set(get_args(StepStatus))


def test_the_architecture_names_every_module_that_decides() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    modules = {path.name for path in (ROOT / "processors" / "router").glob("*.py")}
    assert {name for name in modules - {"__init__.py"} if name not in text} == set()


# -- the command line ----------------------------------------------------------------------------


@cache
def command_tree() -> Any:
    return typer.main.get_command(app)


def fault_of(line: str) -> str | None:
    """What is wrong with a command line that begins with `runstream`, or None."""
    try:
        parts = shlex.split(line, comments=True)[1:]
    except ValueError as error:
        return str(error)
    command = command_tree()
    while parts and hasattr(command, "commands"):
        if parts[0].startswith("-") or parts[0] == "…":
            break
        # `tools list|show` says several at once.
        names = parts[0].split("|")
        if missing := [name for name in names if name not in command.commands]:
            return f"there is no command {missing[0]}"
        command, parts = command.commands[names[0]], parts[1:]
    known = {"--help", "-h"}
    for parameter in command.params:
        known.update(parameter.opts)
    for part in parts:
        option = part.strip("[]").split("=")[0]
        if option.startswith("-") and option not in known and option != "-":
            return f"there is no option {option}"
    return None


def test_every_command_line_is_understood() -> None:
    faults = []
    for word in ALL:
        if word.text.startswith("runstream ") and (fault := fault_of(word.text)):
            faults.append(f"{word.where}: `{word.text}`: {fault}")
    for block in blocks():
        if block.info == "console":
            for line in block.text.splitlines():
                found = re.search(r"(?:^|\$ |\.venv/bin/)runstream [^|)]*", line)
                if found:
                    text = found[0].removeprefix("$ ").removeprefix(".venv/bin/")
                    if fault := fault_of(text):
                        faults.append(f"{block.where}: {line}: {fault}")
    assert faults == []


def test_the_readme_lists_every_command() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    table = text.split("## Commands")[1].split("\n\n")[1]
    listed: set[str] = set()
    faults = []
    for row in table.splitlines():
        for word in re.findall(r"`([^`]+)`", row.split(" | ")[0]):
            line = word.replace("\\|", "|")
            if re.fullmatch(r"[A-Z]+", line):
                continue
            if fault := fault_of(f"runstream {line}"):
                faults.append(f"{line}: {fault}")
            listed.add(line.split()[0])
    assert faults == []
    hidden = {name for name, command in command_tree().commands.items() if command.hidden}
    assert set(command_tree().commands) - listed - hidden == set()


def test_the_index_leads_to_every_page() -> None:
    docs = ROOT / "docs"
    text = (docs / "index.md").read_text("utf-8")
    pages = [*docs.glob("*.md"), *docs.glob("adr/*.md"), *docs.glob("reference/*.*")]
    names = {page.relative_to(docs).as_posix() for page in pages} - {"index.md"}
    assert {name for name in names if f"]({name})" not in text} == set()
