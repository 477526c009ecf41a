"""The steps that get secrets: every family of drivers, successes and failures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakes.psrp import security

DATABASE = "canaries"
#: The values, by their name; the file or variable of each has that name too.
CANARIES = {
    "plain": "w7-f3akzq9x-quartz-jumbled-vexing/fowl",
    "lines": "first-line-of-it-4kq8\nsecond+line/of=it 9zr2\nthird 'line' of \"it\" 7vb3",
    "quotes": "qu'o\"te\\d<4>&amp%7+k/9 z{x}$y",
    "number": "739104628517",
    "mail": "smtp-pass\"word'1x8kq3",
    "windows": security.PASSWORD,
    "vault": "vault-1st 'line'=5kd8\nvault+2nd/\"line\" 6hq3w",
    #: No step gets it: the secret broker logs in to Vault with it.
    "vault_token": "hvs-3kq9zr7Kq2v-of-the-broker",
}
REFERENCES = {
    name: {"type": "secret", "path": f"file/canary_{name}"}
    for name in (*CANARIES, "hook", "ssh_key", "stranger")
}
REFERENCES["plain"] = {"type": "secret", "path": "env/CANARY_PLAIN"}
REFERENCES["vault"] = {"type": "secret", "path": "vault/kv/team/app#password"}


@dataclass(frozen=True)
class Step:
    """A tool with its parameters, and how it must end."""

    name: str
    tool: str
    parameters: dict[str, Any]
    ends: str = "succeeded"
    secrets: dict[str, Any] | None = None
    attempts: int = 1
    #: Whether nothing that it is answered holds a secret.
    is_silent: bool = False
    #: What it locks.
    asset: str | None = None


def programs(ssh_port: int) -> Iterator[Step]:
    """Programs that get secrets by their input or environment, here and over SSH."""
    key = {"ssh_key": REFERENCES["ssh_key"]}
    for canary in ("plain", "lines", "quotes", "number"):
        given = {"container": "web", "input": REFERENCES[canary]}
        there = {**given, "host": f"127.0.0.1:{ssh_port}"}
        for words, ends in ((["show"], "succeeded"), (["show", "fail"], "failed")):
            word = words[-1]
            yield Step(f"stdin-{canary}-{word}", "docker_exec", {**given, "argv": words}, ends)
            yield Step(f"ssh-{canary}-{word}", "docker_exec", {**there, "argv": words}, ends, key)
    stranger = {"ssh_key": REFERENCES["stranger"]}
    refused = {"container": "web", "argv": ["show"], "host": f"127.0.0.1:{ssh_port}"}
    yield Step("ssh-login", "docker_exec", refused, "failed", stranger, is_silent=True)
    for canary in ("plain", "quotes", "number"):
        for word, ends in (("select 1", "succeeded"), ("select fail", "failed")):
            given = {"user": "ann", "password": REFERENCES[canary], "query": word}
            yield Step(f"env-{canary}-{word[7:]}", "mysql", given, ends)
    # Its client takes one line only, which is found once the secret is known.
    given = {"user": "ann", "password": REFERENCES["lines"], "query": "select 1"}
    yield Step("env-lines", "mysql", given, "failed", is_silent=True)


def clients() -> Iterator[Step]:
    """Clients of databases and clouds, by their environment, and chpasswd by its input."""
    cloud = {"service": "sts", "verb": "get", "noun": "caller-identity"}
    blob = {"action": "show", "account": "canaries", "container": "db"}
    for canary, word, ends in (("quotes", "shop", "succeeded"), ("number", "fail", "failed")):
        secret = REFERENCES[canary]
        login = {"user": "ann", "password": secret, "database": word}
        option = [f"--limit={word}"]
        for tool, given in {
            "redis_cli": {"password": secret, "command": "ECHO", "arguments": [word]},
            "pg_dump": {**login, "path": "/srv/canary.dump"},
            "mongosh": login,
            "az_storage": {**blob, "blob": word, "account_key": secret},
            "gcloud": {
                "groups": ["compute", "instances"], "verb": "list", "arguments": option,
                "access_token": secret,
            },
            "aws": {
                **cloud, "arguments": [f"--max-items={word}"], "access_key_id": secret,
                "secret_access_key": secret,
            },
            "passwd": {"user": word, "password": secret},
        }.items():  # fmt: skip
            yield Step(f"{tool}-{canary}", tool, given, ends)


def password_login(port: int) -> Iterator[Step]:
    """A server that shows the password of the login; another password is refused."""
    for word, ends in (("show", "succeeded"), ("fail", "failed")):
        given = {"container": "web", "argv": [word], "host": f"127.0.0.1:{port}"}
        login = {"ssh_password": REFERENCES["quotes"]}
        yield Step(f"ssh-password-{word}", "docker_exec", given, ends, login)
    wrong = {"ssh_password": REFERENCES["number"]}
    yield Step("ssh-password-wrong", "docker_exec", given, "failed", wrong, is_silent=True)


def web(url: str) -> Iterator[Step]:
    """HTTP, webhooks and chats."""
    four = {name: REFERENCES[name] for name in ("plain", "lines", "quotes", "number")}
    three = {name: ref for name, ref in four.items() if name != "lines"}
    for path, ends in (("show", "succeeded"), ("json", "succeeded"), ("fail", "failed")):
        given = {"url": f"{url}/{path}", "method": "POST"}
        headers = {"X-One": REFERENCES["plain"], "X-Two": REFERENCES["quotes"]}
        yield Step(f"http-{path}", "curl", {**given, "json": four, "headers": headers}, ends)
        yield Step(f"http-form-{path}", "curl", {**given, "form": three}, ends)
        hook = {"url": f"{url}/{path}", "payload": four, "hmac_secret": REFERENCES["lines"]}
        tries = 2 if ends == "failed" else 1
        yield Step(f"webhook-{path}", "webhook_sender", hook, ends, attempts=tries)
        kept = {"vault": REFERENCES["vault"]}
        yield Step(f"vault-{path}", "curl", {**given, "json": kept}, ends)
    held = {"url": f"{url}/held", "method": "POST", "json": four, "timeout_seconds": 120}
    yield Step("http-held", "curl", held, asset="box")
    message = {"webhook_url": REFERENCES["hook"], "message": "full"}
    yield Step("slack", "slack_cli", message)
    yield Step("teams", "teams_cli", message)


def databases(port: int, names: tuple[str, ...]) -> Iterator[Step]:
    """Rows that hold the password of the login, and an error that does."""
    for name in names:
        role = f"canary_{name}"
        given = {
            "host": "127.0.0.1", "port": port, "database": DATABASE, "user": role,
            "password": REFERENCES[name], "sslmode": "disable",
        }  # fmt: skip
        rows = f"select form, digits from {role} order by number"
        wrong = f"select (form || ' is none')::date from {role} order by number"
        yield Step(f"sql-{name}", "psql", {**given, "query": rows})
        yield Step(f"sql-{name}-fail", "psql", {**given, "query": wrong}, "failed")


def others(windows_port: int, good: Any, bad: Any) -> Iterator[Step]:
    """PowerShell, cameras and mail."""
    host = {
        "host": "127.0.0.1", "port": windows_port, "user": security.USER, "auth": "basic",
        "password": REFERENCES["windows"],
    }  # fmt: skip
    for word, ends in (("show", "succeeded"), ("fail", "failed")):
        yield Step(f"powershell-{word}", "powershell", {**host, "script": f"'{word}'"}, ends)
    asked = {"operation": "get_all_info", "password": REFERENCES["quotes"]}
    yield Step("camera", "axis_vapix_device_info", good.given(**asked), is_silent=True)
    given = bad.given(**asked)
    yield Step("camera-fail", "axis_vapix_device_info", given, "failed", is_silent=True)
    mail = {"subject": "S", "body": "B"}
    yield Step("mail", "sendmail", {**mail, "to": ["ops@example.org"]})
    yield Step("mail-fail", "sendmail", {**mail, "to": ["bad@example.org"]}, "failed")
