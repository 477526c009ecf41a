"""The tool `rsync`: a copy of a folder or file, here or on another machine, says what differed."""

from __future__ import annotations

import re

from toolmeta.programs import running, ssh_login
from toolmeta.programs.report import Fields, Refused, cut

#: Some files were not copied; files went away while it looked.
_PARTIAL, _VANISHED = 23, 24
_ITEM = re.compile(r"^rs\t(\S{11}|\*deleting *)\t(-?[0-9]+)\t(.*)$", re.MULTILINE)
_CLASSES = (
    ("host_key_changed", r"REMOTE HOST IDENTIFICATION HAS CHANGED"),
    ("host_key_unknown", r"Host key verification failed|No .* host key is known for"),
    ("unreachable", r"Could not resolve hostname|No route to host|timed out|cannot be connected"),
    ("connection_refused", r"Connection refused"),
    ("login_refused", r"Permission denied \(publickey|Permission denied \(.*password"),
    ("capability_missing", r"No user exists for uid"),
    ("program_missing", r"rsync: (command )?not found|rsync: No such file or directory"),
    ("capability_missing", r"Permission denied \(13\)|Operation not permitted \(1\)"),
    ("not_found", r"No such file or directory \(2\)|change_dir .* failed"),
    ("connection_lost", r"connection unexpectedly closed|Broken pipe|Connection reset"),
)


def main(parameters: Fields) -> Fields:
    """Copy what differs; says what that was."""
    dry = parameters["dry_run"]
    ended = running.shown(_argv(parameters), _environment())
    fields = _report(ended.text, dry)
    if ended.code in (0, _VANISHED):
        return {**fields, "vanished": ended.code == _VANISHED}
    said = ended.last("rsync: ", "rsync error", "ssh: ")
    causes = [line for line in ended.text.splitlines() if line.startswith(("rsync: ", "ssh: "))]
    text = causes[0] if causes else said
    done = fields if fields["changed"] else None
    for error_class, pattern in _CLASSES:
        if re.search(pattern, ended.said):
            raise Refused(error_class, text, done)
    raise Refused("exit_status", f"rsync ended with exit code {ended.code}: {text}", done)


def _environment() -> dict[str, str]:
    # ssh starts the tunnel by it; that of the account may let nobody in. Options of rsync that the
    # account has set are none of the plan's.
    return running.environment({"LC_ALL": "C.UTF-8", "SHELL": "/bin/sh"}, without="RSYNC_")


def _argv(given: Fields) -> list[str]:
    words = [running.required("rsync", "rsync"), "--archive", "--no-devices", "--no-specials"]
    words += ["--protect-args", "--stats", "--out-format=rs%t%i%t%l%t%n".replace("%t", "\t")]
    words += [f"--{name.replace('_', '-')}" for name in _SWITCHES if given[name]]
    words += [f"--exclude={pattern}" for pattern in given.get("exclude") or ()]
    if given.get("max_delete") is not None:
        words.append(f"--max-delete={given['max_delete']}")
    source, destination = given["source"], given["destination"]
    peer = given.get("peer")
    if peer is None:
        return [*words, "--", source, destination]
    port = str(given.get("peer_port") or 22)
    ssh = ssh_login.command_line(given.get("ssh_key"), given.get("known_hosts"), (peer, port), "'")
    user = given.get("peer_user")
    name = f"[{peer}]" if ":" in peer else peer
    place = name if user is None else f"{user}@{name}"
    words.append(f"--rsh={ssh} -p {port}")
    if given["direction"] == "pull":
        return [*words, "--", f"{place}:{source}", destination]
    return [*words, "--", source, f"{place}:{destination}"]


_SWITCHES = ("delete", "checksum", "dry_run", "compress")


def _report(text: str, dry: bool) -> Fields:
    changes = []
    deleted = sent = 0
    for code, size, name in _ITEM.findall(text):
        gone = code.startswith("*")
        deleted += gone
        sent += code[:1] in "<>"
        # A folder whose moment alone is set anew because something in it was changed.
        changes.append({"change": "deleted" if gone else code, "name": name, "bytes": int(size)})
    moved = re.search(r"^Total transferred file size: ([0-9,.]+) bytes", text, re.MULTILINE)
    return {
        "changed": bool(changes),
        "dry_run": dry,
        "changes": cut(changes),
        "change_count": len(changes),
        "files_copied": sent,
        "files_deleted": deleted,
        "copied_bytes": int(re.sub(r"[,.]", "", moved[1])) if moved else 0,
    }
