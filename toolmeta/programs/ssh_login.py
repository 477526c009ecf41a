"""How ssh is started for another program: a key in memory, the proxy where there is one."""

from __future__ import annotations

import os
import sys

from toolmeta.programs import tunnel


def command_line(
    key: str | None, known_hosts: str | None, server: tuple[str, str] | None, quote: str = '"'
) -> str:
    """The command line of ssh; nothing of a plan stands in it but the server.

    `server` is the host and the port that a proxy leads to, both without a sign that a shell or ssh
    gives a meaning to.
    """
    words = "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o ForwardAgent=no"
    words += " -o PermitLocalCommand=no -o ClearAllForwardings=yes -o ConnectTimeout=20"
    if key is not None:
        words += f" -F /dev/null -o IdentitiesOnly=yes -o IdentityFile={_in_memory(key)}"
    if known_hosts is not None:
        file = _in_memory(known_hosts)
        words += f" -o GlobalKnownHostsFile=/dev/null -o UserKnownHostsFile={file}"
    if server is not None and tunnel.proxy() is not None:
        # To this server, whatever ssh is asked for: where a repository names another one, the key
        # of the host does not fit.
        script = _in_memory(getattr(tunnel, "SOURCE"))  # noqa: B009 (set where it was loaded)
        host, port = server
        tunnelled = f"ProxyCommand={sys.executable} -I {script} {host.strip('[]')} {port}"
        words += f" -o {quote}{tunnelled}{quote}"
    return words


def _in_memory(text: str) -> str:
    """The path of a file that is on no disk, and gone when this process ends."""
    file = os.memfd_create("runstream")
    os.fchmod(file, 0o600)
    os.write(file, (text.rstrip("\n") + "\n").encode())
    return f"/proc/{os.getpid()}/fd/{file}"
