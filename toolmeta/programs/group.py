"""The tool `group`: a group is as it is asked for, or is not there."""

from __future__ import annotations

from toolmeta.programs.accounts import Files
from toolmeta.programs.report import Fields


def main(parameters: Fields) -> Fields:
    """Look, change what differs, and say whether that was anything."""
    files = Files(parameters.get("prefix"))
    name, gid = parameters["name"], parameters.get("gid")
    found = files.group(name)
    changed = False
    if parameters["state"] == "absent":
        if found is not None:
            files.change("groupdel", ["--", name])
            changed = True
        return {"changed": changed, "name": name, "gid": None}
    number = [] if gid is None else [f"--gid={gid}"]
    if found is None:
        files.change(
            "groupadd", [*number, *(["--system"] if parameters["system"] else []), "--", name]
        )
        changed = True
    elif gid is not None and gid != found:
        files.change("groupmod", [*number, "--", name])
        changed = True
    return {"changed": changed, "name": name, "gid": files.group(name)}
