"""Ctrl-C, SIGTERM and a closed terminal: finish the step and save; once more, end at once."""

import signal
import sys
from collections.abc import Callable
from typing import Any

from alexnet_jax import processes


class Signals:
    """Notes SIGINT, SIGTERM and SIGHUP; a second one ends the process at once."""

    def __init__(self, say: Callable[[str], None]):
        self.received = processes.stop_asked
        self._say = say
        self._old: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        self._vote = processes.StopVote()
        for number in processes.STOPS:
            # Of a job in the background a shell has SIGINT ignored, but who sends it means it.
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:  # nohup
                continue
            try:
                self._old[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread (a notebook's worker): leave signals alone
                break
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def told_to_stop(self) -> bool:
        """Returns whether all processes stop now; each calls it as often as the others."""
        return self._vote(self.received)

    def _note(self, number: int, frame: Any) -> None:
        del frame
        if self.received:
            sys.exit(128 + number)
        self.received = True
        self._say("stopping after this step (once more: at once) …")
