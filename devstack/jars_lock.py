"""Write `kafka.lock` anew after a change of version: `python -m devstack.jars_lock`."""

from __future__ import annotations

from devstack.jars import LOCK, ROOTS, cache_folder, maven_context, sha256


def main() -> None:
    """Resolve the dependency tree of the roots and record each jar with its digest."""
    context = maven_context(cache_folder())
    inputs, transitive = context.resolver.resolve(
        [context.create_dependency(root) for root in ROOTS]
    )
    lines = set()
    for dependency in [*inputs, *transitive]:
        coordinate = f"{dependency.groupId}:{dependency.artifactId}:{dependency.version}"
        lines.add((coordinate, sha256(dependency.artifact.resolve())))
    LOCK.write_text("".join(f"{digest}  {coordinate}\n" for coordinate, digest in sorted(lines)))


if __name__ == "__main__":
    main()
