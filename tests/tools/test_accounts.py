"""The tools `user` and `group`; the truth is what stands in the files."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tools.driven import answer, failure, for_everybody, root_only

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHYh8h0nV3bX6hT1kq5c2oY0mQ1W8u3r4s5t6u7v8w9x ann"
OTHER = KEY.replace("ann", "bob")
HASH = "$6$rounds=5000$abcdefgh$" + "x" * 86
pytestmark = pytest.mark.root_only


def changed(tool: str, **parameters: Any) -> dict[str, Any]:
    """A call that changes something, and the same again, which does not."""
    first = answer(tool, parameters, as_root=True)
    assert first["changed"] is True, first
    second = answer(tool, parameters, as_root=True)
    assert second["changed"] is False, second
    return first


@pytest.fixture
def prefix() -> Iterator[Path]:
    root_only()
    with for_everybody() as folder:
        (folder / "etc").mkdir()
        for name, text in {
            "passwd": "root:x:0:0::/root:/bin/sh\n",
            "group": "root:x:0:\nadm:x:4:\nwww-data:x:33:\n",
            "shadow": "root:*:1::::::\n", "gshadow": "root:*::\nadm:*::\nwww-data:*::\n",
        }.items():  # fmt: skip
            (folder / "etc" / name).write_text(text)
        yield folder


def row(prefix: Path, file: str, name: str) -> list[str]:
    rows = [line.split(":") for line in (prefix / "etc" / file).read_text().splitlines()]
    return next((fields for fields in rows if fields[0] == name), [])


def test_the_life_of_an_account(prefix: Path) -> None:
    where = {"prefix": str(prefix), "name": "app"}
    made = changed(
        "user", **where, uid=1500, groups=["adm"], home="/srv/app", shell="/bin/sh",
        create_home=False, comment="Ä b",
    )  # fmt: skip
    assert (made["changed_fields"], made["uid"], made["home"]) == (["account"], 1500, "/srv/app")
    assert row(prefix, "passwd", "app")[2:] == [
        "1500",
        str(made["gid"]),
        "Ä b",
        "/srv/app",
        "/bin/sh",
    ]
    assert row(prefix, "group", "adm")[3] == "app"

    more = changed("user", **where, groups=["33"], shell="/bin/bash", uid=1600)
    assert more["changed_fields"] == ["uid", "shell", "groups"]
    assert row(prefix, "group", "adm")[3] == row(prefix, "group", "www-data")[3] == "app"
    only = changed("user", **where, groups=["www-data"], only_these_groups=True)
    assert only["changed_fields"] == ["groups"]
    assert row(prefix, "group", "adm")[3] == ""
    first = changed("user", **where, group="www-data")
    assert (first["changed_fields"], first["gid"]) == (["group"], 33)
    # What is not asked for stays.
    assert answer("user", where, as_root=True)["changed"] is False

    gone = changed("user", **where, state="absent")
    assert (gone["changed_fields"], gone["uid"]) == (["account"], None)
    assert row(prefix, "passwd", "app") == []


def test_what_cannot_be_says_why(prefix: Path) -> None:
    where = {"prefix": str(prefix), "name": "app", "create_home": False}
    for more, wanted in (
        ({"group": "nobody-has-it"}, "not_found"),
        ({"groups": ["nobody-has-it"]}, "not_found"),
    ):
        assert failure("user", {**where, **more}, as_root=True).error_class == wanted
        assert row(prefix, "passwd", "app") == []
    changed("user", **where, uid=1500)
    taken = failure("user", {**where, "name": "other", "uid": 1500}, as_root=True)
    assert taken.error_class == "conflict"
    missing = failure("user", {**where, "group": "nobody-has-it"}, as_root=True)
    assert missing.error_class == "not_found"
    unprivileged = failure("user", {**where, "comment": "x"})
    assert unprivileged.error_class == "capability_missing", unprivileged


def test_a_lock_that_is_held_may_pass(prefix: Path) -> None:
    where = {"prefix": str(prefix), "name": "app", "create_home": False}
    changed("user", **where)
    lock = prefix / "etc/passwd.lock"
    lock.write_text("1")
    held = failure("user", {**where, "comment": "x"}, as_root=True)
    assert (held.error_class, held.transient) == ("busy", True), held


def test_the_life_of_a_group(prefix: Path) -> None:
    where = {"prefix": str(prefix), "name": "shop"}
    assert changed("group", **where, gid=900)["gid"] == 900
    assert changed("group", **where, gid=901)["gid"] == 901
    assert row(prefix, "group", "shop")[2] == "901"
    taken = failure("group", {**where, "name": "other", "gid": 901}, as_root=True)
    assert taken.error_class == "conflict"
    user = {"prefix": str(prefix), "name": "app", "create_home": False}
    changed("user", **user, group="shop")
    first = failure("group", {**where, "state": "absent"}, as_root=True)
    assert first.error_class == "conflict", first
    changed("user", **user, state="absent")
    changed("group", **where, state="absent")
    assert row(prefix, "group", "shop") == []


def test_a_password_and_keys_of_an_account_of_this_machine() -> None:
    root_only()
    name = f"rs{uuid.uuid4().hex[:10]}"
    with for_everybody() as folder:
        home = folder / "home"
        try:
            where = {"name": name, "home": str(home)}
            made = changed("user", **where, password_hash=HASH, authorized_keys=[KEY])
            assert made["changed_fields"] == ["account", "password_hash", "authorized_keys"]
            shadow = Path("/etc/shadow").read_text()
            assert f"\n{name}:{HASH}:" in shadow
            file = home / ".ssh/authorized_keys"
            assert file.read_text() == f"{KEY}\n"
            for path, mode in ((file, 0o600), (home / ".ssh", 0o700)):
                assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (made["uid"], mode)
            more = changed("user", **where, authorized_keys=[OTHER])
            assert more["changed_fields"] == ["authorized_keys"]
            assert file.read_text() == f"{KEY}\n{OTHER}\n"
            changed("user", **where, authorized_keys=OTHER, only_these_keys=True)
            assert file.read_text() == f"{OTHER}\n"

            # The user's own folder leads root nowhere.
            canary = folder / "canary"
            canary.write_text("kept\n")
            file.unlink()
            file.symlink_to(canary)
            linked = failure("user", {**where, "authorized_keys": [KEY]}, as_root=True)
            assert linked.error_class == "conflict", linked
            assert canary.read_text() == "kept\n"
            changed("user", name=name, state="absent", remove_home=True)
            assert not home.exists() and f"\n{name}:" not in Path("/etc/passwd").read_text()
        finally:
            subprocess.run(["userdel", "--force", name], check=False, capture_output=True)
