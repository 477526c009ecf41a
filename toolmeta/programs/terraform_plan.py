"""The tool `terraform_plan`: what terraform would do, as a file that can be applied later."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from toolmeta.programs import private_files, terraform_cli
from toolmeta.programs.report import Fields, Refused

_UNDECLARED = "Value for undeclared variable"
_NOTHING, _CHANGES = 0, 2


def main(given: Fields) -> Fields:
    """Make the plan; says what it would do, and which file holds it."""
    kept = Path(given["plan_file"])
    _may_be_written(kept)
    with private_files.folder() as private:
        terraform = terraform_cli.Terraform(given, private)
        terraform.init()
        made = private / "plan"
        told = terraform_cli.Told()
        code = terraform.work(_words(given, terraform, private, made), told)
        if code not in (_NOTHING, _CHANGES):
            raise told.failure(code, f"{terraform.name} plan", before=True)
        unknown = [message for message in told.messages if message.summary == _UNDECLARED]
        if unknown:
            raise Refused("invalid_parameters", f"variables: {unknown[0].detail.split('. ')[0]}")
        fields = terraform.planned(made)
        sha256 = terraform_cli.sha256_of(made)
        _keep(made, kept)
    return {**fields, "plan_file": str(kept), "sha256": sha256, "bytes": kept.stat().st_size}


def _words(
    given: Fields, terraform: terraform_cli.Terraform, private: Path, made: Path
) -> list[str]:
    words = ["plan", "-json", "-input=false", "-detailed-exitcode", f"-out={made}"]
    words.append(terraform.lock_timeout())
    words += ["-destroy"] if given["destroy"] else []
    words += [] if given["refresh"] else ["-refresh=false"]
    words += [f"-target={address}" for address in given.get("targets") or ()]
    words += [f"-replace={address}" for address in given.get("replace") or ()]
    if given.get("parallelism") is not None:
        words.append(f"-parallelism={given['parallelism']}")
    if given.get("variables"):
        file = private_files.put_json(private / "variables.tfvars.json", given["variables"])
        words.append(f"-var-file={file}")
    return words


def _may_be_written(path: Path) -> None:
    """A file that is there is replaced only where it is a plan itself."""
    if not path.parent.is_dir():
        raise Refused("not_found", f"plan_file: {path.parent} is no folder of this machine")
    if not os.path.lexists(path):
        return
    if not path.is_symlink() and path.is_file() and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as found:
            if "tfplan" in found.namelist():
                return
    raise Refused("conflict", f"plan_file: {path} is there and no plan; name another file")


def _keep(made: Path, path: Path) -> None:
    """Put the plan in its place as a whole, for its owner alone: it holds the state."""
    aside = path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file, made.open("rb") as source:
            for piece in iter(lambda: source.read(1024 * 1024), b""):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink()
        raise
