"""The tool `terraform_apply`: exactly the plan of a file whose hash is known, and no other."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from toolmeta.programs import private_files, terraform_cli
from toolmeta.programs.report import Fields, Refused


def main(given: Fields) -> Fields:
    """Apply the plan; says what was done, and the outputs that are not sensitive."""
    with private_files.folder() as private:
        # What is hashed is what is applied, whatever becomes of the file meanwhile.
        plan = private / "plan"
        _take(Path(given["plan_file"]), plan, given["sha256"])
        terraform = terraform_cli.Terraform(given, private)
        terraform.init()
        planned = terraform.planned(plan)
        told = terraform_cli.Told(planned["add"] + planned["change"] + planned["destroy"])
        words = ["apply", "-json", "-input=false", terraform.lock_timeout()]
        if given.get("parallelism") is not None:
            words.append(f"-parallelism={given['parallelism']}")
        code = terraform.work([*words, str(plan)], told)
        fields = {**planned, "sha256": given["sha256"], "applied": told.applied}
        if code != 0:
            refused = told.failure(code, f"{terraform.name} apply", before=False)
            done = {**fields, "changed": told.applied > 0}
            raise Refused(refused.error_class, refused.sentence, done)
    return {**fields, "outputs": _outputs(told.outputs)}


def _take(source: Path, copy: Path, wanted: str) -> None:
    digest = hashlib.sha256()
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file, source.open("rb") as opened:
        for piece in iter(lambda: opened.read(1024 * 1024), b""):
            digest.update(piece)
            file.write(piece)
    if digest.hexdigest() != wanted:
        raise Refused(
            "conflict",
            f"plan_file: {source} has the SHA-256 {digest.hexdigest()}, and {wanted} is to be "
            "applied: it was planned anew or changed; have the plan that is there approved",
        )


def _outputs(told: Fields) -> Fields:
    """Values of outputs; of a sensitive one only that it is there."""
    return {
        name: {"sensitive": True}
        if output.get("sensitive")
        else {"sensitive": False, "value": output.get("value")}
        for name, output in told.items()
    }
