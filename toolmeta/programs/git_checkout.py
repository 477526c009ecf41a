"""The tool `git_checkout`: a folder has the commit of a repository that is asked for."""

from __future__ import annotations

import re
from pathlib import Path

from toolmeta.programs import git_login, running
from toolmeta.programs.report import Fields, Refused

_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_CLASSES = (
    ("host_key_changed", r"REMOTE HOST IDENTIFICATION HAS CHANGED"),
    ("host_key_unknown", r"Host key verification failed|No .* host key is known for"),
    ("unreachable", r"Could not resolve host|Name or service not known|No route to host|timed out"),
    ("connection_refused", r"Connection refused|Failed to connect to|Couldn't connect to server"),
    ("tls_failed", r"SSL certificate|server certificate verification|TLS|SSL routines"),
    (
        "login_refused",
        r"Authentication failed|could not read (Username|Password)|Permission denied",
    ),
    ("login_refused", r"The requested URL returned error: 40[13]|terminal prompts disabled"),
    ("invalid_parameters", r"transport '.*' not allowed|protocol '.*' is not supported"),
    ("not_found", r"[Rr]epository .*not found|does not appear to be a git repository"),
    ("not_found", r"not exported|The requested URL returned error: 404|no such repository"),
    ("not_found", r"couldn't find remote ref|not our ref|unadvertised object|did not contain"),
    ("capability_missing", r"No user exists for uid"),
    ("capability_missing", r"dubious ownership|: Permission denied$"),
    ("busy", r"index\.lock': File exists|Another git process"),
    ("connection_lost", r"early EOF|RPC failed|hung up unexpectedly|Connection reset"),
)


def main(parameters: Fields) -> Fields:
    """Bring the folder to the commit; says which one it had before."""
    checkout = Checkout(parameters)
    found = checkout.find()
    before = checkout.prepare()
    moved = checkout.move(before, found)
    modules = checkout.modules()
    return {
        "changed": before != found.sha or moved or modules,
        "before": before,
        "after": found.sha,
        "ref": found.name,
        "path": str(checkout.path),
    }


class Found:
    """A commit of the repository, and under which name it was found."""

    def __init__(self, sha: str, name: str | None) -> None:
        self.sha = sha
        self.name = name


class Checkout:
    """One folder, and git in it."""

    def __init__(self, given: Fields) -> None:
        self._git = running.required("git", "git")
        self._env = git_login.environment(given)
        self._repo: str = given["repo"]
        self._ref: str = given.get("ref") or "HEAD"
        self._depth: int | None = given.get("depth")
        self._force: bool = given["force"]
        self._submodules: bool = given["submodules"]
        self.path = Path(given["path"])

    def prepare(self) -> str | None:
        """Make the folder a repository of this origin; its commit, None where it had none."""
        git = self.path / ".git"
        if not git.exists():
            if self.path.is_dir() and any(self.path.iterdir()):
                raise Refused("conflict", f"{self.path} is not empty and no checkout of git")
            self.path.mkdir(parents=True, exist_ok=True)
            self._work(["init", "--quiet"])
        head = self._ask(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])
        if head.code not in (0, 1):
            raise self._failure(head)
        before = head.text.strip() or None
        origin = self._ask(["config", "--local", "--get", "remote.origin.url"])
        if origin.code != 0:
            self._work(["remote", "add", "--", "origin", self._repo])
        elif origin.text.rstrip("\n") != self._repo:
            # Without a commit it is what a call left that failed.
            if before is not None and not self._force:
                raise Refused(
                    "conflict",
                    f"{self.path} is a checkout of {_shown(origin.text)}; "
                    "force: true takes this repository in its place",
                )
            self._work(["remote", "set-url", "--", "origin", self._repo])
        return before

    def find(self) -> Found:
        """The commit that the repository has for the name; a branch before a tag."""
        if _SHA.fullmatch(self._ref):
            return Found(self._ref, None)
        names = ["HEAD"] if self._ref == "HEAD" else [self._ref]
        if not self._ref.startswith("refs/") and self._ref != "HEAD":
            names = [f"refs/heads/{self._ref}", f"refs/tags/{self._ref}"]
        peeled = [f"{name}^{{}}" for name in names]
        # The settings that are the same for every repository come from the environment.
        ended = running.asked(
            [self._git, "ls-remote", "--", self._repo, *names, *peeled], self._env, folder="/"
        )
        if ended.code != 0:
            raise self._failure(ended)
        rows: dict[str, str] = {}
        for line in ended.text.splitlines():
            sha, _, name = line.partition("\t")
            rows[name] = sha
        for name in names:
            found = rows.get(f"{name}^{{}}") or rows.get(name)
            if found is not None:
                return Found(found, name)
        raise Refused("not_found", f"{self._repo} has no branch and no tag {self._ref}")

    def move(self, before: str | None, found: Found) -> bool:
        """Check the commit out where it is not; whether files of it had been changed."""
        changed = ""
        if before is not None:
            ended = self._ask(
                ["status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all"]
            )
            if ended.code != 0:
                raise self._failure(ended)
            changed = ended.text
        if changed and not self._force:
            lines = changed.splitlines()
            raise Refused(
                "conflict",
                f"{self.path}: changed there since it was checked out: {lines[0][3:]} (files: "
                f"{len(lines)}); force: true discards what was changed",
            )
        if before != found.sha:
            if self._ask(["cat-file", "-e", f"{found.sha}^{{commit}}"]).code != 0:
                self._fetch(found)
            self._work(["checkout", "--quiet", "--detach", *self._forced(), found.sha, "--"])
        elif changed:
            self._work(["reset", "--quiet", "--hard", found.sha, "--"])
        return bool(changed)

    def _fetch(self, found: Found) -> None:
        depth = [] if self._depth is None else [f"--depth={self._depth}"]
        fetch = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"]
        ended = self._try([*fetch, *depth, "--", "origin", found.name or found.sha])
        if ended.code != 0 and found.name is None:
            # Some servers give only what a branch or a tag names.
            ended = self._try(
                [*fetch, "--tags", "--", "origin", "+refs/heads/*:refs/remotes/origin/*"]
            )
        if ended.code != 0:
            raise self._failure(ended)
        if self._ask(["cat-file", "-e", f"{found.sha}^{{commit}}"]).code != 0:
            raise Refused("not_found", f"{self._repo} has no commit {found.sha}")

    def modules(self) -> bool:
        """Bring the submodules to their commits; whether one was not there."""
        if not self._submodules or not (self.path / ".gitmodules").is_file():
            return False
        before = self._ask(["submodule", "status", "--recursive"])
        self._work(["submodule", "--quiet", "sync", "--recursive"])
        depth = [] if self._depth is None else [f"--depth={self._depth}"]
        update = ["submodule", "--quiet", "update", "--init", "--recursive", *depth]
        self._work([*update, *self._forced()])
        after = self._ask(["submodule", "status", "--recursive"])
        return before.text != after.text

    def _forced(self) -> list[str]:
        return ["--force"] if self._force else []

    def _ask(self, words: list[str]) -> running.Ended:
        return running.asked([self._git, *words], self._env, folder=str(self.path))

    def _try(self, words: list[str]) -> running.Ended:
        return running.shown([self._git, *words], self._env, folder=str(self.path))

    def _work(self, words: list[str]) -> None:
        ended = self._try(words)
        if ended.code != 0:
            raise self._failure(ended)

    def _failure(self, ended: running.Ended) -> Refused:
        said = ended.last("fatal: ", "error: ", "ERROR: ")
        before, found, _ = ended.said.partition("fatal: Could not read from remote repository")
        if found and before.strip():
            # What ssh said.
            said = before.strip().splitlines()[-1].strip()
        for error_class, pattern in _CLASSES:
            if re.search(pattern, ended.said, re.MULTILINE):
                if error_class == "busy":
                    said += "; where no git works there any more, remove that file"
                return Refused(error_class, f"git: {said}")
        return Refused("exit_status", f"git ended with exit code {ended.code}: {said}")


def _shown(url: str) -> str:
    """The address without a login that stands in it."""
    return re.sub(r"//[^/@\s]*@", "//", url.strip())
