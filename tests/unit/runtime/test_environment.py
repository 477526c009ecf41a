"""Credentials are in nobody's environment once a process has started."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from runtime.environment import is_credential
from runtime.settings import (
    KAFKA_OPTIONS,
    CommonSettings,
    SettingsError,
    load,
    passwords,
    secret_variables,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")

CANARY = "canary-7f3a-value"
#: Of other programs: what a shell, a container or a build has set.
OF_OTHERS = (
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "VAULT_TOKEN", "GH_TOKEN", "AZURE_CLIENT_SECRET",
    "OPENAI_API_KEY", "MYSQL_PWD", "REDISCLI_AUTH", "SSHPASS", "npm_config__auth", "PASSWORD",
)  # fmt: skip
_SCRIPT = """
import os, sys
from pathlib import Path
from runtime import environment, service, settings
model = getattr(settings, sys.argv[1])
held = environment.take(lambda name: name.startswith("SECRET_")) if sys.argv[2] == "take" else {}
def body(loaded, log, health, stop):
    child = os.popen("cat /proc/$PPID/environ; cat /proc/self/environ; env").read()
    url = getattr(loaded, "database_url", None)
    print(sorted(held), url.get_secret_value() if url and sys.argv[2] == "take" else "")
    print(os.environ["PATH"], os.environ["KEPT"], file=sys.stderr)
    leaked = [part.split("=")[0] for part in child.replace("\\n", "\\0").split("\\0")
              if "canary" in part]
    print("leaked", leaked, "kept" in child, sep="|")
sys.exit(service.run("executor", model, ("kafka",), body))
"""


@pytest.mark.parametrize("model", ["ExecutorSettings", "RouterSettings", "SinkSettings"])
@pytest.mark.parametrize("mode", ["take", "drop"])
def test_a_program_finds_no_credential_in_the_environment(model: str, mode: str) -> None:
    names = (*secret_variables(), *OF_OTHERS)
    variables = {name: f"postgresql://u:{CANARY}@h/{name}" for name in names}
    variables[KAFKA_OPTIONS] = json.dumps({"sasl.password": CANARY})
    ended = subprocess.run(
        [sys.executable, "-c", _SCRIPT, model, mode],
        env={**os.environ, **variables, "SECRET_A": CANARY, "SECRET_B": CANARY, "KEPT": "kept"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[-1] == "leaked|[]|True"
    if mode == "take":
        assert lines[0].startswith("['SECRET_A', 'SECRET_B']")
        assert (CANARY in lines[0]) is (model == "SinkSettings")


def test_the_passwords_among_the_kafka_options_are_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = {"sasl.username": "router", "sasl.password": CANARY, "ssl.key.password": "of-the-key"}
    monkeypatch.setenv(KAFKA_OPTIONS, json.dumps(options))
    loaded = load(CommonSettings)
    assert set(passwords(loaded)) == {CANARY, "of-the-key"}
    assert CANARY not in repr(loaded) + str(loaded)


@pytest.mark.parametrize("wrong", [f'{{"sasl.password": "{CANARY}"', f'{{"x": ["{CANARY}"]}}'])
def test_wrong_kafka_options_are_named_and_not_repeated(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KAFKA_OPTIONS, wrong)
    with pytest.raises(SettingsError, match=KAFKA_OPTIONS) as said:
        load(CommonSettings)
    assert CANARY not in str(said.value)


@pytest.mark.parametrize(
    "name", ["PATH", "PWD", "OLDPWD", "SSH_AUTH_SOCK", "AWS_PROFILE", "AWS_ACCESS_KEY_ID",
             "AWS_WEB_IDENTITY_TOKEN_FILE", "GOOGLE_APPLICATION_CREDENTIALS", "KEYBOARD",
             "PGPASSWORD", "RUNSTREAM_ANY_TOKEN"],
)  # fmt: skip
def test_what_holds_no_credential_is_kept(name: str) -> None:
    assert not is_credential(name)


def test_every_secret_setting_is_a_credential() -> None:
    assert KAFKA_OPTIONS in secret_variables()
    assert {"DATABASE_URL", "SMTP_PASSWORD", "RUNSTREAM_SQL_DATABASE_URL"} <= secret_variables()
    assert "KAFKA_BOOTSTRAP_SERVERS" not in secret_variables()


_READ = """
import ctypes, os
from runtime import environment
os.setgroups([]), os.setgid(65534), os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as after an exec: a change of user had cleared it
def read():
    pid = os.fork()
    if pid == 0:
        try:
            open(f"/proc/{os.getppid()}/environ").read()
        except PermissionError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
before = read()
environment.forbid_reading()
print(before, read())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="changes its user")
def test_no_process_of_the_same_user_may_read_it() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _READ], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.stdout == "True False\n", ended.stderr
