"""Several processes as one program (`jax.distributed`): they start, agree, and end together.

Process 0 is the chief: it alone prints the progress and writes the files of the run folder,
except the checkpoints. With one process all of this does nothing.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import resource_tracker
from types import ModuleType
from typing import Any, TypeVar

from alexnet_jax import errors
from alexnet_jax.errors import AlexNetError, InputError, PeerLostError

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals to stop: Ctrl-C, a batch system, a closed terminal."""

stop_asked = False
"""A command was stopped (see `program.exit_code`), even if something swallows the exception."""

T = TypeVar("T")

_START_TIMEOUT_SECONDS = 300  # for all processes to start
_HEARTBEAT_TIMEOUT_SECONDS = 30  # without a sign of life before a process counts as lost
_connected = False


def connect(coordinator: str = "", processes: int = 0, process_id: int = -1) -> None:
    """Joins this process to the others. Call it once, before JAX is used.

    `coordinator` is `host:port` of process 0. What is empty, 0 or -1 is as the cluster has it
    (Slurm, Open MPI, Google's Kubernetes Engine and Cloud TPUs are detected).

    Raises:
      InputError: half of the numbers are given, no cluster is found, or the others do not come.
    """
    global _connected
    import jax

    given = (bool(coordinator), processes > 0, process_id >= 0)
    if any(given) and not all(given):
        raise InputError(
            "several processes need --coordinator HOST:PORT, --processes and --process-id, all "
            "three, or --cluster alone where Slurm, Open MPI or a TPU pod names them"
        )
    if all(given) and process_id >= processes:
        raise InputError(
            f"process-id is {process_id}; with {processes} processes it is 0 to {processes - 1}"
        )
    if all(given) and not coordinator.rpartition(":")[2].isdigit():
        raise InputError(f"coordinator is '{coordinator}'; it must be HOST:PORT")
    numbers: dict[str, Any] = (
        dict(coordinator_address=coordinator, num_processes=processes, process_id=process_id)
        if all(given)
        else {}
    )
    # It would catch SIGTERM, which here ends a process, or training after its step.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        with _stopped_at_once():
            jax.distributed.initialize(
                **numbers,
                initialization_timeout=_START_TIMEOUT_SECONDS,
                heartbeat_timeout_seconds=_HEARTBEAT_TIMEOUT_SECONDS,
            )
    except (ValueError, RuntimeError) as error:
        if not any(given) and "coordinator_address" in str(error):
            raise InputError(
                "no Slurm, Open MPI, GKE or TPU pod was found; give --coordinator HOST:PORT, "
                "--processes and --process-id instead of --cluster"
            ) from error
        what = str(error).strip().splitlines()[0][:200]
        raise InputError(f"the processes did not come together: {what}") from error
    _connected = True


@contextlib.contextmanager
def _stopped_at_once() -> Iterator[None]:
    """Lets signals end this process at once while it waits in code that handles no signals."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        handled = (number for number in STOPS if callable(signal.getsignal(number)))
        before = {number: signal.signal(number, signal.SIG_DFL) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start_processes(start: Callable[[], T]) -> T:
    """Calls a function that spawns processes; they hear no signals and run no code of the caller.

    A terminal signals all processes of a program, and each would stop with a traceback; the first
    alone hears signals, also while `start` waits in a thread, and decides for the others. And each
    would import the caller's main module anew: a script that trains without asking
    `if __name__ == "__main__"` would begin the same training again.
    """
    # Else started by the thread, with which it would let go of the signals again.
    resource_tracker.ensure_running()

    def block() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)

    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        with ThreadPoolExecutor(1, "start", block) as thread:
            return thread.submit(start).result()
    finally:
        sys.modules["__main__"] = main


def leave(exit_code: int) -> None:
    """Ends the connection: after success together with the other processes, else at once."""
    global _connected
    if not _connected:
        return
    _connected = False
    if exit_code:
        # The others may be gone, or wait for this one: shutting down together would last minutes.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    import jax

    try:
        jax.distributed.shutdown()
    except RuntimeError:  # another one did not shut down in order; this one has done its work
        sys.stdout.flush()
        os._exit(exit_code)


def count() -> int:
    import jax

    # Asking for the number itself would start the devices.
    return jax.process_count() if jax.distributed.is_initialized() else 1


def is_chief() -> bool:
    """Returns whether this is process 0."""
    import jax

    return not jax.distributed.is_initialized() or jax.process_index() == 0


def exchange(value: Any) -> list[Any]:
    """Returns the JSON value of each process, in order; all must call it at the same point."""
    if count() == 1:
        return [value]
    import numpy as np
    from jax.experimental import multihost_utils

    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.array([text.size], np.int32)).ravel()
    padded = np.zeros(int(lengths.max()), np.uint8)
    padded[: text.size] = text
    rows = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(lengths), -1)
    return [json.loads(row[:length].tobytes()) for row, length in zip(rows, lengths, strict=True)]


def from_chief(value: T, to_json: Callable[[T], Any], from_json: Callable[[Any], T]) -> T:
    """Returns the value of process 0; all must call it at the same point."""
    if count() == 1:
        return value
    sent = exchange(to_json(value) if is_chief() else None)[0]
    return value if is_chief() else from_json(sent)


def chief_first(action: Callable[[], Any], others: Callable[[], Any]) -> Any:
    """Returns `action()` in process 0, then `others()` in the rest; its error is raised in all."""
    result, failure = None, None
    if is_chief():
        try:
            result = action()
        except BaseException as error:  # of any kind: the others must not wait forever
            if count() == 1:
                raise
            failure = error
    sent = exchange(failure and [type(failure).__name__, str(failure)])[0]
    if failure is not None:
        raise failure
    if sent is not None:
        raise getattr(errors, sent[0], InputError)(f"process 0: {sent[1] or sent[0]}")
    return result if is_chief() else others()


def check_agreement(what: dict[str, Any]) -> None:
    """Raises `InputError` in every process where `what` (JSON by name) is not the same in all."""
    chief, *others = exchange(what)
    for number, other in enumerate(others, start=1):
        differing = [name for name in chief if other.get(name) != chief[name]]
        if differing:
            listing = "; ".join(
                f"{name} is {other.get(name)!r}, in process 0 {chief[name]!r}"
                for name in differing[:3]
            )
            raise InputError(
                f"process {number} disagrees with process 0 ({listing}); start all of them by the "
                "same command"
            )


class StopVote:
    """Lets all processes stop after the same step when any of them received a signal.

    A vote is a sum over all devices, read one step later, so nothing waits for it.
    """

    def __init__(self) -> None:
        self._pending: Any = None
        if count() > 1:
            import jax
            import jax.numpy as jnp
            import numpy as np
            from jax.sharding import Mesh, NamedSharding, PartitionSpec

            mesh = Mesh(np.array(jax.devices()), ("device",))
            self._split = NamedSharding(mesh, PartitionSpec("device"))
            whole = NamedSharding(mesh, PartitionSpec())
            self._sum = jax.jit(lambda votes: jnp.sum(votes), out_shardings=whole)

    def __call__(self, stop: bool) -> bool:
        """Votes, and returns the outcome at the step before (with one process: its own vote)."""
        if count() == 1:
            return stop
        import jax
        import numpy as np

        previous, shape = self._pending, (jax.device_count(),)

        def ballot(index):
            return np.full(len(range(*index[0].indices(shape[0]))), stop, np.int32)

        votes = jax.make_array_from_callback(shape, self._split, ballot)
        self._pending = self._sum(votes)
        return previous is not None and int(previous) > 0


_LOST_PEER_WORDS = (
    "gloo",
    "connection",
    "heartbeat",
    "unavailable",
    "deadline",
    "coordination",
    "barrier",
)


def explain(error: BaseException) -> None:
    """Raises `PeerLostError` for an error that a lost process causes in others, else returns."""
    if count() == 1 or isinstance(error, AlexNetError):
        return
    texts, cause = [], error
    while cause is not None and len(texts) < 10:
        texts.append(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__ or cause.__context__
    if any(word in text.lower() for text in texts for word in _LOST_PEER_WORDS):
        line = texts[0].strip().splitlines()[0][:160]
        raise PeerLostError(
            f"another process of this run has ended, or cannot be reached any more ({line}); the "
            "last checkpoint, if there is one, is good: start all processes again by the same "
            "command"
        ) from error


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turns what a lost process causes in this one into `PeerLostError`."""
    try:
        yield
    except Exception as error:
        explain(error)
        raise
