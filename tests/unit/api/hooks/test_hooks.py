"""The file of the hooks: what it may say, and what changes when it changes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.hooks.definitions import Limit
from api.hooks.file import HooksError, parse, read
from api.hooks.hooks import Hooks, SecretSource
from api.hooks.pace import Pace
from console.cli import main
from runtime.pattern_matcher import patterns_of
from runtime.settings import CommonSettings
from tests.secret_kit import secret_file

SECRET = "a-secret-of-a-sender"
GITHUB: dict[str, Any] = {"name": "github", "kind": "github", "secret": "file/github"}


def faults(hook: dict[str, Any]) -> list[str]:
    with pytest.raises(HooksError) as found:
        parse(json.dumps({"hooks": [{**GITHUB, **hook}]}))
    return [str(fault) for fault in found.value.faults]


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        ({"name": "Git Hub"}, "hooks.0.name: "),
        ({"kind": "gitlab"}, "hooks.0.kind: Input should be 'github'"),
        ({"secret": "vault/kv/hooks#x"}, "hooks.0.secret: name where it is, as file/NAME or env"),
        ({"secret": "file/../x"}, "hooks.0.secret: name where it is"),
        ({"secret": []}, "hooks.0.secret: "),
        ({"secret": ["env/A", "env/B", "env/C"]}, "hooks.0.secret: "),
        ({"username": "am"}, "username: only a hook of the kind alertmanager has one"),
        ({"tolerance_seconds": 60}, "tolerance_seconds: only a hook of the kind generic has"),
        ({"limit": {"deliveries": 0}}, "hooks.0.limit.deliveries: "),
        ({"limits": {}}, "hooks.0.limits: there is no such field; did you mean limit?"),
    ],
)
def test_a_fault_names_its_field_and_what_to_do(hook: dict[str, Any], told: str) -> None:
    (found,) = faults(hook)
    assert told in found


def test_a_secret_in_the_place_of_its_name_is_not_repeated() -> None:
    for written in (SECRET, {"type": "secret", "value": SECRET}, [SECRET]):
        assert SECRET not in " ".join(faults({"secret": written}))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is a mapping with hooks"),
        ("- a", "it is a mapping with hooks"),
        ("hooks: [", "it is not YAML: line 1"),
        ("hooks: []\nhooks: []", "occurs twice"),
        ("hook: []", "did you mean hooks?"),
        (yaml.safe_dump({"hooks": [GITHUB, GITHUB]}), "github is the name of two hooks"),
    ],
)
def test_a_file_that_is_none_is_refused(text: str, told: str) -> None:
    with pytest.raises(HooksError, match=None) as found:
        parse(text)
    assert told in str(found.value)


def test_lint_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "hooks.yaml"
    file.write_text(yaml.safe_dump({"hooks": [GITHUB]}))
    assert main(["hooks", "lint", str(file)]) == 0
    assert "1 hook without a problem" in capsys.readouterr().err
    file.write_text(yaml.safe_dump({"hooks": [{**GITHUB, "kind": "x"}]}))
    assert main(["hooks", "lint", str(file), "--json"]) == 1
    (fault,) = json.loads(capsys.readouterr().out)
    assert (fault["file"], fault["field"]) == (str(file), "hooks.0.kind")
    assert main(["hooks", "lint", str(tmp_path / "absent.yaml")]) == 1
    assert "cannot be read: No such file" in capsys.readouterr().err
    file.write_bytes(b"\xff")
    with pytest.raises(HooksError, match="not UTF-8"):
        read(file)


class Folder:
    """A file of hooks, and the secrets beside it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "hooks.yaml"
        self.secrets = folder / "secrets"
        self.secrets.mkdir(mode=0o700)
        self.reported: list[HooksError] = []
        self.secret(SECRET)
        self.write(GITHUB)

    def secret(self, value: str) -> None:
        (self.secrets / "github").unlink(missing_ok=True)
        secret_file(self.secrets, "github", value)

    def write(self, *hooks: dict[str, Any]) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(yaml.safe_dump({"hooks": list(hooks)}))
        fresh.rename(self.file)

    def open(self) -> Hooks:
        source = SecretSource({"OTHER": SECRET}, self.secrets)
        return Hooks(self.file, source, self.reported.append)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_changed_file_or_secret_counts_at_once_and_a_wrong_one_changes_nothing(
    folder: Folder,
) -> None:
    hooks = folder.open()
    assert not hooks.refresh()
    folder.write(GITHUB, {"name": "other", "kind": "generic", "secret": "env/OTHER"})
    assert hooks.refresh() and len(hooks) == 2
    folder.secret("another-secret-of-it")
    assert hooks.refresh()
    found = hooks.find("github")
    assert found is not None and found.keys == (b"another-secret-of-it",)
    assert "another" not in repr(found)
    folder.write({**GITHUB, "kind": "x"})
    for _ in range(2):
        assert not hooks.refresh()
    assert len(folder.reported) == 1 and len(hooks) == 2
    folder.file.unlink()
    assert not hooks.refresh() and len(hooks) == 2
    folder.write(GITHUB)
    assert hooks.refresh() and len(hooks) == 1


def test_a_secret_that_is_made_later_is_found(folder: Folder) -> None:
    hooks = folder.open()
    folder.write({**GITHUB, "secret": "file/later"})
    assert not hooks.refresh()
    assert "there is no secret file/later: make the file later" in str(folder.reported[0])
    secret_file(folder.secrets, "later", SECRET)
    assert hooks.refresh()


@pytest.mark.parametrize(
    ("secret", "told"),
    [
        ("env/NOT_SET", "set SECRET_NOT_SET"),
        ("file/absent", "make the file absent in RUNSTREAM_SECRETS_DIR, mode 600"),
        ("file/open", "chmod 600, and chown it to the user of the API or root"),
        ("file/short", "it has less than 16 bytes"),
    ],
)
def test_a_secret_that_cannot_be_used_is_told_at_the_start(
    folder: Folder, secret: str, told: str
) -> None:
    secret_file(folder.secrets, "short", "x" * 15)
    secret_file(folder.secrets, "open", SECRET)
    os.chmod(folder.secrets / "open", 0o644)  # noqa: PTH101
    folder.write({**GITHUB, "secret": secret})
    with pytest.raises(HooksError) as found:
        folder.open()
    text = str(found.value)
    assert text.startswith(f"hooks.0: {secret}, the secret of github, cannot be used: ")
    assert told in text
    # It is for the log, which masks what looks like a secret.
    assert patterns_of(CommonSettings()).text(text) == text


def test_files_need_a_folder(folder: Folder) -> None:
    with pytest.raises(HooksError, match="needs RUNSTREAM_SECRETS_DIR"):
        Hooks(folder.file, SecretSource({}, None), folder.reported.append)


def test_a_limit_outlasts_a_change_of_something_else(folder: Folder) -> None:
    limited = {**GITHUB, "limit": {"deliveries": 1, "per_seconds": 3_600}}
    folder.write(limited)
    hooks = folder.open()
    first = hooks.find("github")
    assert first is not None and first.pace.wait(first.pace._at) == 0
    folder.write({**limited, "description": "changed"})
    assert hooks.refresh()
    again = hooks.find("github")
    assert again is not None and again.pace.wait(again.pace._at) > 3_000


def test_the_pace_is_what_the_limit_says() -> None:
    pace = Pace(Limit(deliveries=10, per_seconds=5), 100.0)
    assert [pace.wait(100.0) for _ in range(10)] == [0.0] * 10
    assert pace.wait(100.0) == pytest.approx(0.5)
    assert pace.wait(100.5) == 0.0
    assert pace.wait(100.5) == pytest.approx(0.5)
    # After any pause no more than the limit at once.
    assert [pace.wait(9_999.0) > 0 for _ in range(11)] == [False] * 10 + [True]
