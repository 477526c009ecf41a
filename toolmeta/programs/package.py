"""The tool `package`: packages of apt or dnf, as the machine has them."""

from __future__ import annotations

import shutil

from toolmeta.programs import apt, dnf, packages
from toolmeta.programs.report import Fields, Refused

_MANAGERS = {"apt": ("apt-get", apt.run), "dnf": ("dnf", dnf.run)}


def main(parameters: Fields) -> Fields:
    """Bring packages into the state that is asked for; says what was changed."""
    wanted = packages.wanted(parameters)
    asked = parameters["manager"]
    for name, (program, run) in _MANAGERS.items():
        if asked == name or (asked == "auto" and shutil.which(program)):
            return run(wanted)
    raise Refused("program_missing", "this machine has neither apt-get nor dnf")
