"""The tool `user`: an account is as it is asked for, or is not there."""

from __future__ import annotations

import os

from toolmeta.programs import authorized_keys
from toolmeta.programs.accounts import Account, Files
from toolmeta.programs.report import Fields, Refused

#: The options of useradd, by parameter.
_OPTIONS = {
    "uid": "uid",
    "group": "gid",
    "home": "home-dir",
    "shell": "shell",
    "comment": "comment",
}


def main(parameters: Fields) -> Fields:
    """Look, change what differs, and say which fields that were."""
    files = Files(parameters.get("prefix"))
    name = parameters["name"]
    found = files.account(name)
    if parameters["state"] == "absent":
        if found is not None:
            remove = ["--remove"] if parameters["remove_home"] else []
            files.change("userdel", [*remove, "--", name])
        return _report(name, None, ["account"] if found is not None else [])
    changed = _create(files, parameters) if found is None else _modify(files, parameters, found)
    made = files.account(name)
    if made is None:
        raise Refused("conflict", f"{name}: is no account of this machine's own files")
    changed += _password(files, parameters)
    keys = parameters.get("authorized_keys")
    if keys is not None:
        home = files.prefix + made.home
        if authorized_keys.ensure(made, home, keys, parameters["only_these_keys"]):
            changed.append("authorized_keys")
    return _report(name, made, changed)


def _report(name: str, account: Account | None, changed: list[str]) -> Fields:
    return {
        "changed": bool(changed),
        "name": name,
        "changed_fields": changed,
        "uid": None if account is None else account.uid,
        "gid": None if account is None else account.gid,
        "home": None if account is None else account.home,
        "shell": None if account is None else account.shell,
    }


def _create(files: Files, given: Fields) -> list[str]:
    words = ["--create-home" if given["create_home"] else "--no-create-home"]
    words += ["--system"] if given["system"] else []
    words += [
        f"--{option}={given[field]}"
        for field, option in _OPTIONS.items()
        if given.get(field) is not None
    ]
    if given.get("groups"):
        words.append(f"--groups={','.join(given['groups'])}")
    if given.get("group") is None and files.group(given["name"]) is not None:
        # useradd makes a group of this name, and fails where it is there.
        words.append(f"--gid={given['name']}")
    files.change("useradd", [*words, "--", given["name"]])
    return ["account"]


def _modify(files: Files, given: Fields, found: Account) -> list[str]:
    words: list[str] = []
    changed: list[str] = []
    for field, option, now in (
        ("uid", "uid", found.uid),
        ("shell", "shell", found.shell),
        ("comment", "comment", found.comment),
        ("home", "home", found.home),
    ):
        if given.get(field) is not None and given[field] != now:
            words.append(f"--{option}={given[field]}")
            changed.append(field)
    if "home" in changed and given["move_home"]:
        words.append("--move-home")
    if given.get("group") is not None:
        gid = files.group(given["group"])
        if gid is None:
            raise Refused("not_found", f"group: there is no group {given['group']}")
        if gid != found.gid:
            words.append(f"--gid={given['group']}")
            changed.append("group")
    if given.get("groups") is not None:
        wanted, member = set(files.group_names(given["groups"])), files.groups_of(found.name)
        if (wanted != member) if given["only_these_groups"] else not wanted <= member:
            words += [] if given["only_these_groups"] else ["--append"]
            words.append(f"--groups={','.join(sorted(wanted))}")
            changed.append("groups")
    if words:
        files.change("usermod", [*words, "--", found.name])
    return changed


def _password(files: Files, given: Fields) -> list[str]:
    wanted = given.get("password_hash")
    if wanted is None or files.password_hash(given["name"]) == wanted:
        return []
    if os.geteuid() != 0:
        raise Refused("capability_missing", "password_hash: only root may set it; use become")
    # Over stdin: everybody can read the arguments of a program.
    line = f"{given['name']}:{wanted}\n".encode()
    files.change("chpasswd", ["--encrypted"], line)
    return ["password_hash"]
