"""The small POSIX shell programs that run on the host of an SSH connection.

The login shell of the host gets one constant command line, which every shell takes: without line
breaks, exclamation marks and backslashes, which csh and fish read in other ways than sh does. All
else comes over stdin, so that the host's process list shows no argument and no value.

First comes one line, a script. It writes a token back that it has to put together itself: whatever
else runs in its place, as a ForceCommand does, cannot, though it may echo all that it gets. Only
then it is sent what to start.
"""

from __future__ import annotations

import re
import secrets
import shlex
from dataclasses import dataclass
from typing import Final

from drivers.local import FOLDERS
from drivers.processes import MARK

#: Of what the host says about its processes.
MOST_ANSWERED: Final = 64 * 1024
#: Exit code of the starter where it was not told what to start.
_NOT_TOLD: Final = 125
_PID: Final = re.compile(r"[0-9]{1,10}")

#: The command line of everything that is started over SSH. `exec` makes the program the leader of
#: the session that sshd made for it.
LINE: Final = """exec /bin/sh -c 'IFS= read -r runstream && eval "$runstream"'"""

# Words that stand in one line although they hold line breaks: those are put in from a variable.
_NEWLINE: Final = "rs_n=$(echo; echo x); rs_n=${rs_n%x}"

# `read` takes single bytes from a pipe, so what follows is left for the program. A connection that
# ends within the line starts nothing. The program is looked for here: a shell takes a builtin for
# one, and a login's PATH often lacks the folders of the programs for administrators.
_STARTER: Final = f"""
rs_t=$1$2
echo "$rs_t errors" >&2
echo "$rs_t ready"
IFS= read -r rs_l || exit {_NOT_TOLD}
for rs_f in {FOLDERS.replace(":", " ")}; do
  case ":$PATH:" in *":$rs_f:"*) ;; *) PATH=${{PATH:+$PATH:}}$rs_f ;; esac
done
export PATH
eval "$rs_l" || exit {_NOT_TOLD}
rs_s=missing
look() {{
  [ -f "$1" ] || return 0
  if [ ! -x "$1" ]; then rs_s=denied; else rs_s=started; rs_p=$1; fi
}}
case $1 in
  */*) look "$1" ;;
  *)
    set -f
    IFS=:
    for rs_f in $PATH; do
      look "${{rs_f:-.}}/$1"
      [ "$rs_s" != started ] || break
    done
    unset IFS
    set +f
    ;;
esac
echo "$rs_t $rs_s"
[ "$rs_s" = started ] || exit 127
shift
exec "$rs_p" "$@"
"""

# Finds the attempt's processes by their mark; prints the pids that it signals, then those left.
_STOPPER: Final = f"""
echo "$1$2 ready"
mark=$3 rounds=$4
[ -r /proc/self/environ ] || {{ echo unsupported; exit 0; }}
marked() {{ grep -lszxF "{MARK}=$mark" /proc/[0-9]*/environ | tr -dc '0-9\\n'; }}
pids=$(marked)
echo ended $pids
[ -z "$pids" ] || kill -TERM $pids 2>/dev/null
round=0
while [ -n "$(marked)" ] && [ $round -lt $rounds ]; do sleep 0.2; round=$((round + 1)); done
round=0
while pids=$(marked) && [ -n "$pids" ] && [ $round -lt 10 ]; do
  kill -KILL $pids 2>/dev/null; sleep 0.1; round=$((round + 1))
done
echo left $(marked)
"""


@dataclass(frozen=True, slots=True)
class Token:
    """What one script writes back, in two parts that stand in it."""

    first: str
    second: str

    @classmethod
    def new(cls) -> Token:
        """One that nobody can know before."""
        return cls(secrets.token_hex(16), secrets.token_hex(16))

    @property
    def line(self) -> bytes:
        """How its lines begin; a word follows."""
        return f"{self.first}{self.second} ".encode()


@dataclass(frozen=True, slots=True)
class Script:
    """A script that writes `ready` with its token first."""

    text: str
    words: tuple[str, ...] = ()

    def line(self, token: Token) -> bytes:
        """What `LINE` reads first."""
        words = _words((token.first, token.second, *self.words))
        return f"{_NEWLINE}; set -- {words}; eval {_words((self.text,))}\n".encode()

    def argv(self, token: Token) -> tuple[str, ...]:
        """The same as a program with its arguments."""
        return ("/bin/sh", "-c", self.text, "sh", token.first, token.second, *self.words)


#: Says `ready` (on stderr `errors`), waits for `to_start`, and says what became of that.
STARTER: Final = Script(_STARTER)


def to_start(argv: tuple[str, ...], env: dict[str, str]) -> bytes:
    """What the starter reads then; it says `started`, `missing` or `denied`, and starts `argv`."""
    values = [f"{name}={value}" for name, value in env.items()]
    export = f"; export {_words(values)}" if values else ""
    return f"{_NEWLINE}{export}; set -- {_words(argv)}\n".encode()


def stopper(mark: str, grace_seconds: float) -> Script:
    """Ends every process of `mark`, by SIGKILL after the grace."""
    return Script(_STOPPER, (mark, str(int(grace_seconds / 0.2))))


def sudo(user: str, argv: tuple[str, ...], token: Token, *, asks: bool) -> tuple[str, ...]:
    """The arguments that run `argv` as another user.

    With `asks` sudo writes `password` and reads one line, else it fails where it needs a password.
    """
    prompt = f"{token.line.decode()}password\n"
    how = ("--stdin", f"--prompt={prompt}") if asks else ("--non-interactive",)
    return ("sudo", "--set-home", *how, f"--user={user}", "--", *argv)


def _words(words: tuple[str, ...] | list[str]) -> str:
    """The words, quoted for sh, in one line."""
    return shlex.join(words).replace("\n", "'\"$rs_n\"'")


@dataclass(frozen=True, slots=True)
class Stopped:
    """What the stopper found."""

    supported: bool
    ended: tuple[int, ...] = ()
    left: tuple[int, ...] = ()
    complete: bool = False


def parse_stopped(text: str) -> Stopped:
    """What the stopper printed; incomplete where its last line is missing."""
    words = {line.partition(" ")[0]: line.split()[1:] for line in text.splitlines() if line}
    if "unsupported" in words:
        return Stopped(supported=False)
    return Stopped(
        supported=True,
        ended=tuple(int(word) for word in words.get("ended", ()) if _PID.fullmatch(word)),
        left=tuple(int(word) for word in words.get("left", ()) if _PID.fullmatch(word)),
        complete="left" in words,
    )
