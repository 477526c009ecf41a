"""A Debian of this machine's own mirror as an image: what the other images stand on here."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from deploy.compose_check.commands import CheckFailed, run
from deploy.compose_check.engine import Engine

RELEASE: Final = "bookworm"
IMAGE: Final = f"docker.io/library/debian:{RELEASE}-slim"
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")


def make(engine: Engine) -> None:
    """Put it into the engine, from the Debian mirror that this machine installs from."""
    root = engine.folder / "debian"
    shutil.rmtree(root, ignore_errors=True)
    run(
        *("debootstrap", "--variant=minbase", "--include=ca-certificates"),
        *(RELEASE, root, mirror()),
        seconds=400,
    )
    for listed in (root / "var/cache/apt/archives").glob("*.deb"):
        listed.unlink()
    archive = engine.folder / "debian.tar"
    run("tar", "--create", f"--file={archive}", f"--directory={root}", "--numeric-owner", ".")
    shutil.rmtree(root)
    engine.podman("import", "--change=CMD=/bin/bash", archive, IMAGE)
    archive.unlink()


def mirror() -> str:
    """The address of the Debian mirror in this machine's own list of sources."""
    shown = run("apt-get", "indextargets", "--format=$(RELEASE) $(SITE)")
    for line in shown.splitlines():
        release, _, site = line.partition(" ")
        if release == RELEASE and site:
            return site
    raise CheckFailed(
        f"no source of Debian {RELEASE} is configured here (apt-get indextargets); "
        "the images are made of its packages"
    )


def registry_access(folder: Path) -> list[str]:
    """Options of `podman build` by which it reaches what this machine reaches, PyPI above all."""
    options = ["--network=host"]
    if not _CERTIFICATES.exists():
        return options
    lines = ["[global]", f"cert = {_CERTIFICATES}"]
    for name in ("index-url", "extra-index-url"):
        try:
            value = run("pip", "config", "get", f"global.{name}").strip()
        except CheckFailed:
            continue
        lines.append(f"{name} = {value}")
    settings = folder / "pip.conf"
    settings.write_text("\n".join(lines) + "\n", "utf-8")
    return [
        *options,
        f"--volume={_CERTIFICATES}:{_CERTIFICATES}:ro",
        f"--volume={settings}:/etc/pip.conf:ro",
    ]
