"""Programs that are sent to a machine's python3: whole, of old Python, no code in values."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from drivers.errors import ERROR_CLASSES
from toolmeta import python_programs
from toolmeta.registry import load

FOLDER = Path(python_programs.__file__).with_name("programs")
TOOLS = sorted(tool.run.python for tool in load().all() if tool.run.python is not None)
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", MODULES)
def test_every_module_is_of_the_oldest_python_and_needs_nothing_else(name: str) -> None:
    source = (FOLDER / f"{name}.py").read_text()
    module = ast.parse(source, feature_version=python_programs.OLDEST)
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            named = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            named = [str(node.module).partition(".")[0]]
        else:
            continue
        assert set(named) <= sys.stdlib_module_names | {"toolmeta"}, named


@pytest.mark.parametrize("name", MODULES)
def test_every_class_of_a_refusal_exists(name: str) -> None:
    module = ast.parse((FOLDER / f"{name}.py").read_text())
    named = {
        node.args[0].value
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id == "Refused" and isinstance(node.args[0], ast.Constant)
    }
    assert named <= set(ERROR_CLASSES), named - set(ERROR_CLASSES)


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize("version", ["3.8", "3"])
def test_a_program_loads_on_its_own(name: str, version: str, tmp_path: Path) -> None:
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-V"], capture_output=True).returncode != 0:
        pytest.skip(f"no Python {version} here")
    done = subprocess.run(
        [python, "-I", "-"],
        input=python_programs.source(name) + f"print(callable(sys.modules[{full(name)!r}].main))\n",
        capture_output=True, text=True, cwd=tmp_path, timeout=30, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("True\n", "")


def full(name: str) -> str:
    return f"toolmeta.programs.{name}"


@pytest.mark.parametrize(
    "value",
    [
        "'''\"\"\"\\", "\n')\nimport os; os._exit(9)\n", "{{ x }}", "$(id) `id`",
        "é\u2028\U0001f600",
        "\x7f\x1b[2J", "# -*- coding: latin-1 -*-", "x" * 200_000,
    ],
)  # fmt: skip
def test_a_value_is_data(value: str) -> None:
    text = python_programs.stdin("report", {"a": [value, {"b": value}]})
    assert text.isascii()
    # What is behind the loader alone: the call with its parameters.
    call = (
        text.removeprefix(python_programs.source("report"))
        .replace("sys.modules['toolmeta.programs.report'].finish(", "shown(")
        .replace("sys.modules['toolmeta.programs.report'].main", "None")
    )
    found: list[Any] = []
    exec(call, {"shown": lambda main, given: found.append(given), "json": json, "sys": sys})
    assert found == [{"a": [value, {"b": value}]}]


def test_a_failure_is_read_from_the_last_line() -> None:
    assert python_programs.reported("runstream busy: dpkg is locked") == ("busy", "dpkg is locked")
    assert python_programs.reported("x: runstream busy: dpkg") is None
    assert python_programs.reported("OSError: no") is None
