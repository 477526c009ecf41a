"""How git logs in: a key in memory, a password for one server; never in an argument or a file."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from toolmeta.programs import running, ssh_login
from toolmeta.programs.report import Fields

#: Constant text, which reads the login from its environment.
_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" '
    '"$RUNSTREAM_GIT_USER" "$RUNSTREAM_GIT_PASSWORD"; }; f'
)
#: Whatever a repository, a template or the account's own configuration says.
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "init.templateDir": "",
    "init.defaultBranch": "main",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "http.followRedirects": "initial",
    "gc.auto": "0",
    "advice.detachedHead": "false",
    # A helper of the account's own would answer for, or keep, what is given here.
    "credential.helper": "",
}

#: Host and port of an address for ssh; no sign of a shell is in them.
_SERVER = re.compile(
    r"ssh://(?:[\w.-]+@)?([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]+))?/|[\w.-]+@([A-Za-z0-9.-]+):"
)


def environment(given: Fields) -> dict[str, str]:
    """The environment of every git of one call."""
    settings = dict(_SETTINGS)
    added = {
        "LC_ALL": "C.UTF-8",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "SSH_ASKPASS": "/bin/false",
        # Neither files of this machine (file) nor programs (ext), in submodules neither.
        "GIT_ALLOW_PROTOCOL": "https:http:ssh",
        "GIT_SSH_VARIANT": "ssh",
        "GIT_SSH_COMMAND": _ssh(given),
        # ssh starts the tunnel by it; that of the account may let nobody in.
        "SHELL": "/bin/sh",
    }
    if given.get("password") is not None:
        # For this server alone: a submodule or a redirect to another one gets nothing.
        parts = urlsplit(given["repo"])
        settings[f"credential.{parts.scheme}://{parts.netloc.rpartition('@')[2]}.helper"] = _HELPER
        added["RUNSTREAM_GIT_USER"] = given.get("username") or "git"
        added["RUNSTREAM_GIT_PASSWORD"] = given["password"]
    added["GIT_CONFIG_COUNT"] = str(len(settings))
    for number, (name, value) in enumerate(settings.items()):
        added[f"GIT_CONFIG_KEY_{number}"] = name
        added[f"GIT_CONFIG_VALUE_{number}"] = value
    return running.environment(added, without="GIT_")


def _ssh(given: Fields) -> str:
    """The command line of ssh, which a shell reads for git."""
    found = _SERVER.match(given["repo"])
    server = None if found is None else (found[1] or found[3], found[2] or "22")
    return ssh_login.command_line(given.get("ssh_key"), given.get("known_hosts"), server)
