"""How a process behaves: exit codes, one-line errors, signals, silent libraries."""

import atexit
import contextlib
import io
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from alexnet_jax import FIRST_IMPORT, processes
from alexnet_jax.errors import AlexNetError, printable

STOPPED = tuple(128 + number for number in processes.STOPS)
"""Exit codes of a command that a signal has stopped."""
PIPE_CLOSED = 141  # 128 + SIGPIPE, as every Unix tool has it
_SOON_SECONDS = 0.05


def exit_code(command: Callable[[], int], *, debug: bool) -> int:
    """Runs a command; an error becomes one line on stderr, and with `debug` a traceback, too."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a label in Greek must not end a run
    try:
        with _stops_as_interrupts():
            code = command()
        sys.stdout.flush()
        return code
    except SystemExit as stop:  # the help was asked for
        return int(stop.code or 0)
    except BrokenPipeError:
        # The reader (`head`) has left. What Python flushes at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except KeyboardInterrupt as stop:
        # Training stops by its own signal handler, after saving; this is any other moment.
        _complain("interrupted; the same command starts or goes on from what was saved", debug)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    except AlexNetError as error:
        _complain(f"error: {_one_line(error)}", debug)
        return error.exit_code
    except OSError as error:  # no space, no permission: the world's fault, and it names the file
        _complain(f"error: {_one_line(error)}", debug)
        return 1
    except Exception as error:
        hint = "" if debug else " (unexpected; --debug shows where)"
        _complain(f"error: {type(error).__name__}: {_one_line(error)}{hint}", debug)
        return 1


def end_at_once(code: int) -> NoReturn:
    """Ends the process with what was registered for its exit, but leaves its objects as they are.

    JAX may have been stopped while it made a program. To delete the half of it crashes.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    atexit._run_exitfuncs()
    os._exit(code)


@contextlib.contextmanager
def _stops_as_interrupts() -> Iterator[None]:
    """Lets SIGTERM and a closed terminal end a command as Ctrl-C does: after tidying up."""

    def interrupt(number: int, frame: Any) -> None:
        if _importing(frame):
            # An exception in the middle of a library's own beginning crashes some of them.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        processes.stop_asked = True
        raise KeyboardInterrupt(number)

    before, hook = {}, sys.unraisablehook
    sys.unraisablehook = lambda error: _sent_again(error) or hook(error)
    if threading.current_thread() is threading.main_thread():
        usual = (signal.SIG_DFL, signal.default_int_handler)
        others = (number for number in processes.STOPS if signal.getsignal(number) in usual)
        before = {number: signal.signal(number, interrupt) for number in others}
    try:
        yield
    finally:
        processes.stop_asked = False
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def _sent_again(error: Any) -> bool:
    """Returns whether a garbage collector's callback swallowed a stop, and sends that again."""
    if not isinstance(error.exc_value, KeyboardInterrupt):
        return False
    number = error.exc_value.args[0] if error.exc_value.args else signal.SIGINT
    threading.Timer(_SOON_SECONDS, os.kill, (os.getpid(), number)).start()
    return True


def _importing(frame: Any) -> bool:
    """Returns whether a module is being imported where the program is."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def program_start() -> float:
    """Returns the time at which this program began, on the clock of `time.monotonic`.

    A shell that becomes its last command (`bash -c "pip install … && python …"`) may have worked in
    the process before. So this is the first import of this package, less processor time until then.
    """
    return FIRST_IMPORT[0] - FIRST_IMPORT[1]


def _complain(line: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    with contextlib.suppress(BrokenPipeError):
        print(line, file=sys.stderr)


def _one_line(error: BaseException) -> str:
    return printable(" ".join(str(error).split()))


def quiet_libraries() -> Callable[[], None]:
    """Silences libraries that are imported later; our own warnings become one line each, once.

    Their errors are silenced, too: they come as exceptions besides. Returns what undoes it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    before, hook = logging.root.manager.disable, sys.unraisablehook
    sys.unraisablehook = lambda error: _is_late_answer(error) or hook(error)
    # Not logger by logger: absl replaces its own when it is imported, and resets the level.
    logging.disable(logging.ERROR)
    filters = warnings.catch_warnings()
    filters.__enter__()
    warnings.simplefilter("ignore")
    warnings.filterwarnings("always", category=UserWarning, module=r"alexnet_jax\b")
    warnings.showwarning = _show_once()

    def restore_logging() -> None:
        filters.__exit__(None, None, None)
        logging.disable(before)
        sys.unraisablehook = hook

    return restore_logging


def _is_late_answer(error: Any) -> bool:
    """Says whether TensorStore's threads answer after Orbax has given a save or restore up."""
    return str(error.exc_value) == "Event loop is closed"


def _show_once() -> Callable[..., None]:
    shown = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        line = printable(f"warning: {' '.join(str(message).split())}")
        if line not in shown:
            print(line, file=sys.stderr)
        shown.add(line)

    return show
