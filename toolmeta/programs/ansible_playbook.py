"""The tool `ansible_playbook`: a playbook of the operator's, by the machine's own ansible-playbook.

Ansible is a program of its own here; nothing of it is imported.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from toolmeta.programs import private_files, running, streamed, unsafe_yaml
from toolmeta.programs.ansible_text import Reading
from toolmeta.programs.report import Fields, Refused

#: Whatever the configuration of the machine or of the playbook's folder says: what is read here.
_SETTINGS = {
    "LC_ALL": "C.UTF-8",
    "ANSIBLE_STDOUT_CALLBACK": "default",
    "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    "ANSIBLE_CALLBACK_FORMAT_PRETTY": "false",
    "ANSIBLE_DISPLAY_FAILED_STDERR": "false",
    "ANSIBLE_DISPLAY_OK_HOSTS": "true",
    "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "true",
    "ANSIBLE_CHECK_MODE_MARKERS": "false",
    "ANSIBLE_SHOW_PER_HOST_START": "false",
    "ANSIBLE_SHOW_TASK_PATH_ON_FAILURE": "false",
    "ANSIBLE_SHOW_CUSTOM_STATS": "false",
    "ANSIBLE_FORCE_COLOR": "false",
    "ANSIBLE_NOCOLOR": "true",
    "ANSIBLE_NOCOWS": "true",
    "ANSIBLE_RETRY_FILES_ENABLED": "false",
}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_CLASSES = (
    ("host_key_changed", r"REMOTE HOST IDENTIFICATION HAS CHANGED"),
    ("host_key_unknown", r"Host key verification failed|No .* host key is known for"),
    ("login_refused", r"Permission denied|Authentication fail"),
    ("capability_missing", r"No user exists for uid"),
    ("connection_refused", r"Connection refused"),
    ("unreachable", r""),
)
_NO_HOSTS = r"leaves us with no hosts to target|does not match any hosts"


def main(given: Fields) -> Fields:
    """Run the playbook; says what became of each host and which tasks failed."""
    program = running.required("ansible-playbook", "ansible-core")
    playbook = Path(given["playbook"])
    for name in ("playbook", "inventory"):
        path = given.get(name)
        if path is not None and not Path(path).exists():
            raise Refused("not_found", f"{name}: {path} is not on this machine")
    if not playbook.is_file():
        raise Refused("invalid_parameters", f"playbook: {playbook} is no file")
    reading = Reading(as_json=given["progress"] == "json")
    with private_files.folder() as private:
        words, settings = _words(given, private)
        env = running.environment({**_SETTINGS, **settings, "ANSIBLE_LOCAL_TEMP": str(private)})
        argv = [program, *words, "--", str(playbook)]
        try:
            code = streamed.lines(argv, env, str(playbook.parent), reading.take)
        finally:
            _end_connections(str(private))
    fields = reading.report()
    if code != 0:
        raise _failure(code, reading, fields)
    if not reading.hosts:
        raise Refused(
            "not_found",
            "the playbook has no play for a host of this inventory; groups names the groups that "
            "hosts are in",
            fields,
        )
    return {**fields, "check": given["check"]}


def _words(given: Fields, private: Path) -> tuple[list[str], dict[str, str]]:
    """Options and settings; what comes from a plan goes into files, of which these are names."""
    settings: dict[str, str] = {}
    words = [f"--forks={given['forks']}"]
    words += [f"--{name}" for name in ("check", "diff", "become") if given[name]]
    for name in ("tags", "skip_tags"):
        if given.get(name):
            words.append(f"--{name.replace('_', '-')}={','.join(given[name])}")
    if given.get("limit"):
        text = "\n".join(given["limit"]) + "\n"
        words.append(f"--limit=@{private_files.put(private / 'limit', text)}")
    for name in ("user", "connection", "become_user"):
        if given.get(name) is not None:
            words.append(f"--{name.replace('_', '-')}={given[name]}")
    if given.get("hosts"):
        words.append(f"--inventory={private_files.put(private / 'hosts.yml', _inventory(given))}")
        settings["ANSIBLE_INVENTORY_ENABLED"] = "yaml"
    else:
        words.append(f"--inventory={given['inventory']}")
    if given.get("variables"):
        text = _checked(given["variables"])
        words.append(f"--extra-vars=@{private_files.put(private / 'variables.yml', text)}")
    for name, option in (
        ("vault_password", "vault-password-file"),
        ("become_password", "become-password-file"),
        ("ssh_key", "private-key"),
    ):
        if given.get(name) is not None:
            text = given[name].rstrip("\n") + "\n"
            words.append(f"--{option}={private_files.put(private / name, text)}")
    if given.get("known_hosts") is not None:
        file = private_files.put(private / "known_hosts", given["known_hosts"].rstrip("\n") + "\n")
        settings["ANSIBLE_HOST_KEY_CHECKING"] = "true"
        settings["ANSIBLE_SSH_COMMON_ARGS"] = (
            f"-o StrictHostKeyChecking=yes -o UserKnownHostsFile={file} "
            "-o GlobalKnownHostsFile=/dev/null"
        )
    if given.get("config") is not None:
        settings["ANSIBLE_CONFIG"] = given["config"]
    # The connections that ssh keeps open between tasks; ended with the step.
    control = private / "c"
    control.mkdir(mode=0o700)
    settings["ANSIBLE_SSH_CONTROL_PATH_DIR"] = str(control)
    return words, settings


def _inventory(given: Fields) -> str:
    """The hosts, and the groups that all of them are in, as YAML of Ansible's inventory."""
    hosts: dict[str, Fields] = {}
    for text in given["hosts"]:
        name, port = _split(text)
        entry: Fields = {} if port is None else {"ansible_port": port}
        if hosts.setdefault(name, entry) != entry:
            raise Refused("invalid_parameters", f"hosts: {name} is there with two ports")
    whole: Fields = {"hosts": hosts}
    names = dict.fromkeys(hosts)
    groups = {group: {"hosts": names} for group in given.get("groups") or ()}
    return unsafe_yaml.dump({"all": {**whole, "children": groups} if groups else whole})


def _split(text: str) -> tuple[str, int | None]:
    """A host and its port; an address of IPv6 has a port only in brackets."""
    found = re.fullmatch(r"\[(.+)\](?::([0-9]+))?|([^:]+):([0-9]+)", text)
    if found is None:
        return text, None
    port = found[2] or found[4]
    return found[1] or found[3], None if port is None else int(port)


def _checked(variables: Fields) -> str:
    for name in variables:
        if _VARIABLE.fullmatch(name) is None:
            raise Refused("invalid_parameters", f"variables: {name!r:.60} is no name of a variable")
        if name.startswith("ansible_"):
            raise Refused(
                "invalid_parameters",
                f"variables: {name} decides how Ansible connects and what it starts; set it in the "
                "inventory or beside the playbook",
            )
    return unsafe_yaml.dump(variables) + "\n"


def _failure(code: int, reading: Reading, fields: Fields) -> Refused:
    failed = [entry for entry in reading.failed() if not entry["ignored"]]
    bad = [name for name, host in reading.hosts.items() if host["failed"] or host["unreachable"]]
    if not failed or not bad:
        said = reading.error or reading.last or "it said nothing"
        if reading.results:
            return Refused("exit_status", f"ansible-playbook ended with {code}: {said}", fields)
        absent = re.search(_NO_HOSTS + "|could not be found", said)
        return Refused("not_found" if absent else "invalid_parameters", f"ansible: {said}")
    entry = next((one for one in reversed(failed) if one["host"] in bad), failed[-1])
    many = f"{len(bad)} of {len(reading.hosts)} hosts failed; "
    sentence = f"{many}{entry['host']}, task {entry['task']}: {entry['message']}"
    untouched = not any(host["ok"] or host["changed"] for host in reading.hosts.values())
    if untouched and all(one["state"] == "unreachable" for one in failed):
        # No host was logged in to, so nothing was done anywhere.
        for error_class, pattern in _CLASSES:
            if re.search(pattern, entry["message"]):
                return Refused(error_class, sentence, fields)
    return Refused("exit_status", sentence, fields)


def _end_connections(folder: str) -> None:
    """End what ssh left running to keep connections: it has a socket of this call."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes()
            if folder.encode() in words and b"ssh" in words and entry.stat().st_uid == os.getuid():
                os.kill(int(entry.parent.name), signal.SIGTERM)
        except OSError:
            continue
