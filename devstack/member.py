"""A process under supervision: restarted when it ends, with regular health checks."""

from __future__ import annotations

from concurrent.futures import Executor, Future

from devstack.child import Child
from devstack.files import cut_log
from devstack.probe import Probe
from devstack.state import ProcessState, ProcessStatus

_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
#: A process that ran this long begins again with the first delay.
_STEADY_SECONDS = 60.0
_PROBE_WHILE_STARTING = 0.1
#: Failed probes in a row after which a process that was healthy counts as not ready: on a busy
#: machine a single response may be late.
_FAILED_PROBES = 2


class Member:
    """Keeps one child running. All moments are monotonic seconds."""

    def __init__(
        self, child: Child, probe: Probe, *, probe_every: float, http_port: int | None = None
    ) -> None:
        """Nothing runs yet."""
        self.child = child
        self.http_port = http_port
        self.healthy = False
        self.restarts = 0
        self.last_exit: int | None = None
        #: What happened since the supervisor last read them.
        self.messages: list[str] = []
        self._probe = probe
        self._probe_every = probe_every
        self._answer: Future[bool] | None = None
        self._probe_at = 0.0
        self._was_healthy = False
        self._started_at = 0.0
        self._restart_at: float | None = None
        self._failures = 0
        self._failed_probes = 0

    @property
    def name(self) -> str:
        """Its name for people."""
        return self.child.launch.name

    def start(self, now: float) -> None:
        """Start the process."""
        self.child.start()
        self._started_at = now
        self._restart_at = None
        self._answer = None
        self._probe_at = now
        self._was_healthy = False

    def tick(self, now: float, pool: Executor) -> None:
        """Notice an exit, start again when it is time, and check its health."""
        code = self.child.poll()
        if code is not None:
            self._ended(code, now)
        if self._restart_at is not None and now >= self._restart_at:
            self.restarts += 1
            self.start(now)
            self.messages.append(f"{self.name} started again, pid {self.child.pid}")
        if self.child.pid is not None:
            self._check_health(now, pool)
            cut_log(self.child.launch.log)

    def status(self) -> ProcessStatus:
        """Its latest status."""
        return ProcessStatus(
            name=self.name,
            pid=self.child.pid,
            healthy=self.healthy,
            state=self._state(),
            restarts=self.restarts,
            last_exit=self.last_exit,
            http_port=self.http_port,
            log=str(self.child.launch.log),
            mark=self.child.mark,
        )

    def stopped(self) -> None:
        """The supervisor has stopped it on purpose: do not start it again."""
        self.healthy = False
        self._restart_at = None

    def _ended(self, code: int, now: float) -> None:
        if now - self._started_at >= _STEADY_SECONDS:
            self._failures = 0
        delay = min(_FIRST_DELAY * 2**self._failures, _LONGEST_DELAY)
        self._failures += 1
        self._restart_at = now + delay
        self.last_exit = code
        self.healthy = False
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        self.messages.append(f"{self.name} {how}; next start in {delay:.1f} s")

    def _check_health(self, now: float, pool: Executor) -> None:
        if self._answer is not None and self._answer.done():
            answered = self._answer.result()
            self._failed_probes = 0 if answered else self._failed_probes + 1
            healthy = answered or (self.healthy and self._failed_probes < _FAILED_PROBES)
            if healthy != self.healthy:
                seconds = now - self._started_at
                self.messages.append(
                    f"{self.name} {'ready' if healthy else 'not ready'} after {seconds:.1f} s"
                )
            self.healthy = healthy
            self._was_healthy = self._was_healthy or healthy
            self._answer = None
            self._probe_at = now + (self._probe_every if answered else _PROBE_WHILE_STARTING)
        if self._answer is None and now >= self._probe_at:
            self._answer = pool.submit(self._probe)

    def _state(self) -> ProcessState:
        if self.child.pid is None:
            return "stopped" if self._restart_at is None else "backing-off"
        if self.healthy:
            return "running"
        return "unready" if self._was_healthy else "starting"
