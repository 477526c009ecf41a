"""Every block of the documents is what it says: plans are admitted, records are valid."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, TypeAdapter

from api.hooks import file as hooks_file
from api.problems import ProblemDocument
from authority.key_files import read_trusted, write_private
from authority.keys import KeyUse, PrivateKey
from authority.policy_file import parse
from authority.tokens import Token, covers, verify
from console.cli import main
from drivers.secret_policy_file import read as read_secret_rules
from runtime.quotas import Quotas
from runtime.rates import RateLimits
from runtime.retention import Retention
from streams.audit_payloads import SecretsUsed
from streams.commands import CONTROL_COMMAND, StepCommand
from streams.events import EventRecord, decode_event
from streams.lifecycle import TRANSITIONS
from streams.plans import Plan
from streams.procedures import ProcedureRequest
from streams.progress import ProgressSnapshot
from streams.reports import REPORT, OutputChunk
from streams.topics import OUTPUT, TOPICS
from streams.topology import APPS
from streams.truncation import shortened_fields
from tests.docs.blocks import ROOT, Block, blocks
from tests.unit.router.simulation import OPEN_POLICY
from toolmeta import registry
from toolmeta.bind import bind
from toolmeta.check import check
from toolmeta.invocation import Invocation
from toolmeta.model import Run

ALL = blocks()
#: A drawing, or what a program printed: nothing to run and nothing to parse.
PICTURE = "text"
#: Programs of other languages: files that a page's commands run.
FILES = ("go", "js", "java")
#: Run against a live stack by test_snippets.py.
RUN = ("console", "sql")
CHECKED = ("json", "yaml", "python", "mermaid", "sh")


def of(info: str) -> list[Any]:
    return [pytest.param(block, id=block.where) for block in ALL if block.info == info]


def test_every_block_says_what_it_is() -> None:
    known = {PICTURE, *RUN, *CHECKED, *FILES}
    assert [f"{block.where}: {block.info!r}" for block in ALL if block.info not in known] == []
    assert [block.where for block in ALL if block.info in FILES and not block.title] == []


def surplus(value: Any) -> list[str]:
    """Fields that a model keeps but does not know: in a document they are misspellings."""
    if isinstance(value, BaseModel):
        own = list(value.model_extra or ())
        return own + [name for item in dict(value).values() for name in surplus(item)]
    return [name for item in value for name in surplus(item)] if isinstance(value, list) else []


def admitted(plan: Any, folder: Path) -> None:
    """The plan, or the whole request, is admitted and nothing of it is misspelled."""
    file = folder / "plan.json"
    file.write_text(json.dumps(plan))
    policy = folder / "policy.yaml"
    policy.write_text(OPEN_POLICY)
    assert main(["explain", str(file), "--policy", str(policy)]) == 0
    assert surplus(Plan.model_validate(plan.get("plan", plan))) == []


def arguments(tool: str, parameters: dict[str, Any]) -> None:
    found = registry.load().get(tool)
    assert found is not None
    assert check(found, parameters, references_allowed=True) == []


@pytest.mark.parametrize("block", of("yaml"))
def test_a_yaml_block_is_a_plan_or_a_part_of_one(block: Block, tmp_path: Path) -> None:
    document = yaml.safe_load(block.text)
    if isinstance(document, dict) and "rules" in document:
        if block.page.name == "secrets.md":
            file = tmp_path / "rules.yaml"
            file.write_text(block.text)
            assert read_secret_rules(file)
            return
        parse(block.text, registry.load())
        return
    if isinstance(document, dict) and "hooks" in document:
        assert hooks_file.parse(block.text)
        return
    if isinstance(document, dict) and "cron" in document:
        (tmp_path / "schedule.yaml").write_text(block.text)
        assert main(["schedules", "lint", str(tmp_path)]) == 0
        return
    if isinstance(document, dict) and "topic" in document:
        (tmp_path / "trigger.yaml").write_text(block.text)
        assert main(["triggers", "lint", str(tmp_path)]) == 0
        return
    if isinstance(document, dict) and ("scrape_configs" in document or "receivers" in document):
        return  # promtool and amtool check them, where the page is run.
    if isinstance(document, dict) and "version" in document:
        (tmp_path / "procedure.yaml").write_text(block.text)
        assert main(["procedures", "lint", str(tmp_path)]) == 0
        return
    if isinstance(document, dict) and "dead_letters_days" in document:
        Retention.model_validate(document)
        return
    if isinstance(document, dict) and "tenants" in document:
        Quotas.model_validate(document)
        return
    if isinstance(document, list) and "per_second" in document[0]:
        RateLimits.model_validate(document)
        return
    if isinstance(document, dict) and "risk" in document:
        tool = registry.read(block.text, document["domain"], document["name"])
        bound = bind(tool, tool.example.parameters)
        assert isinstance(bound, Invocation), bound
        made = bound.argv or tuple(bound.arguments["arguments"])
        assert made == tool.example.argv
        return
    if isinstance(document, dict) and "argv" in document:
        # A part of a definition of the catalogue.
        Run.model_validate_json(json.dumps({"driver": "command", **document}))
        return
    admitted(document if isinstance(document, dict) else {"steps": document}, tmp_path)


def values(block: Block) -> list[Any]:
    """The JSON values that follow each other in a block."""
    decoder = json.JSONDecoder()
    found, rest = [], block.text.strip()
    while rest:
        value, end = decoder.raw_decode(rest)
        found.append(value)
        rest = rest[end:].strip()
    return found


@pytest.mark.parametrize("block", of("json"))
def test_a_json_block_is_valid_for_what_it_shows(block: Block, tmp_path: Path) -> None:
    for value in values(block):
        assert isinstance(value, dict)
        match value:
            case {"steps": [{"parameters": _}, *_]} | {"plan": _}:
                admitted(value, tmp_path)
            case {"seq": _, "data": data}:
                event = decode_event(json.dumps(value).encode())
                assert surplus(EventRecord.model_validate_json(json.dumps(value))) == []
                assert set(data) <= {item.name for item in fields(event.data)}
            case {"percent": _}:
                assert surplus(ProgressSnapshot.model_validate_json(json.dumps(value))) == []
            case {"lease_seconds": _}:
                assert surplus(StepCommand.model_validate_json(json.dumps(value))) == []
            case {"keys": _}:
                file = tmp_path / "trusted.jwks"
                file.write_text(json.dumps(value))
                assert read_trusted(file)
            case {"uses": _}:
                assert surplus(TypeAdapter(SecretsUsed).validate_json(json.dumps(value)).uses) == []
            case {"executor": _, "type": _}:
                assert surplus(REPORT.validate_json(json.dumps(value))) == []
            case {"actor": _, "type": _}:
                assert surplus(CONTROL_COMMAND.validate_json(json.dumps(value))) == []
            case {"stream": _}:
                assert surplus(OutputChunk.model_validate_json(json.dumps(value))) == []
            case {"truncated_fields": fields_cut}:
                assert shortened_fields(value).keys() == fields_cut.keys()
                assert value["rest"]["topic"] == OUTPUT.name
            case {"procedure": _}:
                assert surplus(ProcedureRequest.model_validate(value)) == []
            case {"tool": _}:
                admitted({"steps": [value]}, tmp_path)
            case {"type": _, "status": int(), "detail": _}:
                assert surplus(ProblemDocument.model_validate(value)) == []
            case {"hostname": _}:
                arguments("asset_create", value)
            case {"app": _, "instance": _, "event": _, "level": _, "timestamp": _}:
                pass  # A log line; these are the fields that every one has.
            case _:
                pytest.fail(f"{block.where}: no rule says what this is: {sorted(value)}")


@pytest.mark.parametrize("block", of("python"))
def test_a_python_block_compiles_and_imports_what_exists(block: Block) -> None:
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = __import__(str(node.module), fromlist=[alias.name for alias in node.names])
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


def test_the_shell_function_signs_as_the_verifier_expects(tmp_path: Path) -> None:
    (block,) = [block for block in ALL if block.info == "sh"]
    key = PrivateKey.generate(KeyUse(role="actor", actor="ann"))
    write_private(tmp_path / "operator.jwk", key)
    (tmp_path / "value.json").write_bytes(b'{"steps": []}')
    made = subprocess.run(
        ["bash", "-c", f"{block.text}\nsign value.json execution.requests a-cluster"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    found = verify(made.stdout, {key.kid: key.trusted}.get)
    assert isinstance(found, Token), f"{found} {made.stderr}"
    assert covers(found, "", b'{"steps": []}')
    assert (found.claims.topic, found.claims.aud) == ("execution.requests", "a-cluster")


@pytest.mark.parametrize("block", of("mermaid"))
def test_a_diagram_shows_what_the_code_says(block: Block) -> None:
    if block.text.startswith("stateDiagram"):
        shown: dict[str, set[str]] = {status: set() for status in TRANSITIONS}
        for before, after in re.findall(r"(\w+) --> (\w+)", block.text):
            shown[before].add(after)
        assert shown == {status: set(after) for status, after in TRANSITIONS.items()}
        return
    # A flow: `name[/topic/]` and `name((application))`. What is drawn is declared; a picture may
    # leave out what does not help to see the whole.
    topics = dict(re.findall(r'(\w+)\[/"?([^/"]+)"?/\]', block.text))
    apps = dict(re.findall(r"(\w+)\(\((\w+)\)\)", block.text))
    declared = {app.name: app for app in APPS}
    drawn = 0
    for left, arrow, right in re.findall(r"^ *(\w+)\S*(?: [^-]*)? (<?-->) (\w+)", block.text, re.M):
        edges = [(left, right)] + ([(right, left)] if arrow == "<-->" else [])
        for source, target in edges:
            if source in apps and target in topics:
                written = {topic.name for topic in declared[apps[source].rstrip("s")].writes}
                assert registered(topics[target]) <= written, (source, target)
                drawn += 1
            elif source in topics and target in apps:
                read = {topic.name for topic in declared[apps[target].rstrip("s")].reads}
                assert registered(topics[source]) <= read, (source, target)
                drawn += 1
    assert drawn > 5


def registered(label: str) -> set[str]:
    """The topics that a label of a diagram stands for."""
    pattern = re.escape(label).replace(re.escape("&lt;domain&gt;"), "[a-z]+")
    found = {name for name in TOPICS if re.fullmatch(pattern, name)} - {"steps.reports"}
    assert found or label in TOPICS, f"{label} is no topic"
    return found or {label}


def test_the_examples_of_the_pages_exist() -> None:
    """A block that names a file of the repository shows that file's content."""
    bare = json.loads((ROOT / "streams" / "examples" / "execution-request.bare.json").read_text())
    shown = [value for block in ALL if block.info == "json" for value in values(block)]
    assert bare in shown
    procedure = (ROOT / "demo" / "procedures" / "disk-check.yaml").read_text()
    assert procedure.strip() in [block.text.strip() for block in ALL if block.info == "yaml"]
