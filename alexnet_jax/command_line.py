"""How a command is read and run: options, one-line errors, exit codes, silent libraries."""

import contextlib
import dataclasses
import inspect
import io
import json
import logging
import os
import re
import shutil
import signal
import sys
import textwrap
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from alexnet_jax import FIRST_IMPORT, __version__, processes
from alexnet_jax.config import AUTO, Config
from alexnet_jax.errors import AlexNetError, InputError, did_you_mean, printable
from alexnet_jax.locations import use_compilation_cache
from alexnet_jax.presets import PRESETS

USAGE_ERROR = 2
PIPE_CLOSED = 141  # 128 + SIGPIPE, as every Unix tool has it


PROGRAM = "alexnet"
DEFAULT_PRESET = "digits"

AbsolutePath = Annotated[
    Path,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        # Absolute from here on: Orbax refuses relative paths, and only in its background thread.
        instance_from_str=lambda words: Path(words[0]).expanduser().absolute(),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    ),
]
Flag = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of every verb.

    Attributes:
      debug: show the traceback of an error.
      verbose: show the messages of the libraries, too.
    """

    debug: Flag = False
    verbose: Annotated[Flag, tyro.conf.arg(aliases=["-v"])] = False


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Options of verbs that can run as several processes, one command each.

    Attributes:
      cluster: join the other processes that Slurm, Open MPI, GKE or a TPU pod has started.
      coordinator: HOST:PORT of process 0, where no cluster says it; the same for all.
      processes: number of processes, with --coordinator.
      process_id: number of this process from 0, with --coordinator.
    """

    cluster: Flag = False
    coordinator: str = ""
    processes: int = 0
    process_id: int = -1

    def connect(self) -> None:
        """Joins the other processes, if there are any."""
        if self.cluster or self.coordinator or self.processes or self.process_id != -1:
            processes.connect(self.coordinator, self.processes, self.process_id)


class UsageError(AlexNetError):
    """The command was not understood (exit code 2)."""

    exit_code = USAGE_ERROR


Verbs = Mapping[str, type[Options]]


def run(verbs: Verbs, words: list[str], *, last: bool) -> int:
    """Runs one command and returns its exit code.

    Args:
      verbs: classes by name.
      words: what was typed after the program's name; without a verb it is `train`.
      last: the process ends after it: libraries stay silent, whose threads are not done yet.
    """
    code = exit_code(lambda: _run(verbs, words, last), debug="--debug" in words)
    if "jax" in sys.modules:
        processes.leave(code)
    return code


def _run(verbs: Verbs, words: list[str], last: bool) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview(verbs))
        return 0 if words else USAGE_ERROR
    if words[0] == "--version":
        print(f"{PROGRAM} {__version__}")
        return 0
    name = "train"
    if not words[0].startswith("-"):
        name = words.pop(0)
    if name not in verbs:
        known = ", ".join(verbs)
        raise UsageError(f"unknown verb '{name}'.{did_you_mean(name, verbs)} Known: {known}")
    verb = parse(verbs, name, words)
    # Here and not in the library: the process is ours.
    use_compilation_cache()
    aloud = quiet_libraries() if not verb.verbose else lambda: None
    try:
        return verb.run() or 0
    finally:
        if not last:
            aloud()


def parse(verbs: Verbs, name: str, words: Sequence[str]) -> Any:
    """Returns the verb `name` with its options set from `words`.

    Args:
      verbs: classes by name.
      name: key of `verbs`.
      words: the options, as they were typed.

    Raises:
      UsageError: an unknown option, or a value of the wrong type; one line, with the nearest name.
      InputError: an unknown preset, or a run folder that is a file.
      SystemExit: with 0, after printing the help that was asked for.
    """
    settings: dict[str, Any] = {
        "prog": f"{PROGRAM} {name}",
        "description": _help_text(verbs[name]),
        "config": (tyro.conf.DisallowNone,),  # an option that is None is one that was not given
    }
    if name == "train":
        settings["default"] = verbs[name](workdir=tyro.MISSING, config=chosen_preset(words))  # type: ignore[call-arg]
    verb = parse_quietly(partial(tyro.cli, verbs[name], **settings), words)
    if name == "train":
        verb = dataclasses.replace(verb, typed=typed_fields(words))
    if getattr(verb, "images", None) == ():
        raise UsageError(f"{PROGRAM} {name} needs at least one image; --help has an example")
    workdir = getattr(verb, "workdir", None)
    if workdir is not None and workdir.exists() and not workdir.is_dir():
        raise InputError(f"--workdir {workdir} is a file; name a folder")
    return verb


def typed_fields(words: Sequence[str]) -> tuple[str, ...]:
    """Returns the dotted names of the options among `words`, as the fields are called."""
    options = [word[2:].partition("=")[0] for word in words if word.startswith("--")]
    names = [option.replace("-", "_") for option in options]
    return tuple(re.sub(r"(^|\.)no_", r"\1", name) for name in names)


def chosen_preset(words: Sequence[str]) -> Config:
    """Returns the preset named in `words`, whose values are the defaults of all other fields."""
    name = DEFAULT_PRESET
    for position, word in enumerate(words):
        if word == "--preset":
            name = "".join(words[position + 1 : position + 2])
        elif word.startswith("--preset="):
            name = word.removeprefix("--preset=")
    if name not in PRESETS:
        raise InputError(
            f"unknown preset '{name}'.{did_you_mean(name, PRESETS)} Known: {', '.join(PRESETS)}"
        )
    return PRESETS[name]


def _help_text(verb: type[Options]) -> str:
    """Returns a verb's docstring without its list of fields, which the help prints itself."""
    return inspect.cleandoc(verb.__doc__ or "").partition("\nAttributes:")[0].strip()


def _overview(verbs: Verbs) -> str:
    """Returns the help of the program as a whole."""
    listing = "\n".join(
        f"  {name:<14} {_help_text(verb).splitlines()[0]}" for name, verb in verbs.items()
    )
    return (
        f"usage: {PROGRAM} [VERB] OPTIONS      (or: python -m alexnet_jax.main [VERB] OPTIONS)\n\n"
        f"AlexNet in JAX. Without a verb: train.\n\n{listing}\n\n"
        f"Example:\n"
        f"  {PROGRAM} --workdir runs/           # trains preset {DEFAULT_PRESET}; needs no data\n"
        f"  {PROGRAM} VERB --help               # options and an example of each verb\n\n"
        "Exit codes: 0 done, or interrupted and saved; 1 bad input; 2 usage; 3 diverged; "
        "4 checkpoint unusable; 5 data error; 6 another process of the run was lost; "
        "130, 143 stopped before anything could be saved."
    )


def show(text: str, notes: str, complaint: str) -> int:
    """Prints a result, and the files that it leaves out or lacks; returns the exit code.

    Args:
      text: of the result, for stdout.
      notes: on what was left out, for stderr.
      complaint: about what is lacking, for stderr; empty: nothing.
    """
    print(text, end="", flush=True)
    print(notes + complaint, end="", file=sys.stderr)
    return 1 if complaint else 0


def exit_code(command: Callable[[], int], *, debug: bool) -> int:
    """Runs `command` and returns its exit code; an error becomes one line on stderr.

    Args:
      command: returns the exit code of success.
      debug: print the traceback of an error, too.
    """
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

    before = {}
    if threading.current_thread() is threading.main_thread():
        usual = (signal.SIG_DFL, signal.default_int_handler)
        others = (number for number in processes.STOPS if signal.getsignal(number) in usual)
        before = {number: signal.signal(number, interrupt) for number in others}
    try:
        yield
    finally:
        processes.stop_asked = False
        for number, handler in before.items():
            signal.signal(number, handler)


def _importing(frame: Any) -> bool:
    """Returns whether a module is being imported where the program is."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def program_start() -> float:
    """Returns the time at which this program began, on the clock of `time.monotonic`.

    The system knows only when the process began, and a shell that becomes its last command
    (`bash -c "pip install … && python …"`) may have worked for minutes in it before. So this is the
    first import of this package, less the processor's time until then: the interpreter's start.
    """
    return FIRST_IMPORT[0] - FIRST_IMPORT[1]


def _complain(line: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    with contextlib.suppress(BrokenPipeError):
        print(line, file=sys.stderr)


def _one_line(error: BaseException) -> str:
    return printable(" ".join(str(error).split()))


def parse_quietly(parser: Callable[..., Any], words: Sequence[str]) -> Any:
    """Returns `parser(args=words)`; its own framed complaint becomes a one-line `UsageError`.

    Args:
      parser: tyro's `cli` for one verb: it prints a framed message to stderr and exits with 2.
      words: the arguments.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return parser(args=list(words))
    except SystemExit as stop:
        if not stop.code:
            raise  # the help was asked for
        unknown = _unknown_option(parser, words)
        raise UsageError(unknown or _unframed(complaint.getvalue())) from None


def _unknown_option(parser: Callable[..., Any], words: Sequence[str]) -> str:
    """Returns the complaint about the first option that the parser's help does not list."""
    page = io.StringIO()
    with contextlib.redirect_stdout(page), contextlib.suppress(SystemExit):
        parser(args=["--help"])
    options = set(re.findall(r"(?<![\w-])--[a-z][\w.-]*", page.getvalue()))
    for word in words:
        option = word.partition("=")[0].replace("_", "-")
        if option.startswith("--") and option not in options:
            return f"unknown option {option}.{did_you_mean(option, options)} --help lists all"
    return ""


def _unframed(text: str) -> str:
    """Returns the message inside tyro's frame as one line, without the pointer to the help."""
    missing = re.search(r"Missing from ([\w ]+):", text)
    if missing:
        required = text.partition("Unrecognized")[0]
        options = re.findall(r"^\W+(--[a-z][\w.-]*)", required, re.MULTILINE)
        return f"{missing[1]} needs {' and '.join(options)}; --help has an example"
    # The frame is drawn in ASCII where the terminal has nothing better; its first line is a title.
    lines = [line.strip("│| ") for line in text.splitlines()[1:]]
    message = " ".join(" ".join(line for line in lines if line.strip("╰╯+─-")).split())
    for unwanted in ("For full helptext", "Argument helptext:"):
        message = message.partition(unwanted)[0].strip()
    return message or "the command was not understood"


def quiet_libraries() -> Callable[[], None]:
    """Silences log messages and warnings of libraries; our own become one line each, once.

    Their errors, too: they come as exceptions besides, and these are told in one line.

    To be called before the libraries are imported.

    Returns:
      What undoes it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    before, hook = logging.root.manager.disable, sys.unraisablehook
    sys.unraisablehook = _late_answers_ignored
    # Not logger by logger: absl replaces its own when it is imported, and resets the level.
    logging.disable(logging.ERROR)
    filters = warnings.catch_warnings()
    filters.__enter__()
    warnings.simplefilter("ignore")
    warnings.filterwarnings("always", category=UserWarning, module=r"alexnet_jax\b")
    warnings.showwarning = _show_once()

    def aloud() -> None:
        filters.__exit__(None, None, None)
        logging.disable(before)
        sys.unraisablehook = hook

    return aloud


def _late_answers_ignored(error: Any) -> None:
    """Drops what TensorStore's threads answer after Orbax has given a failed save or restore up."""
    if str(error.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(error)


def _show_once() -> Callable[..., None]:
    shown = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        line = printable(f"warning: {' '.join(str(message).split())}")
        if line not in shown:
            print(line, file=sys.stderr)
        shown.add(line)

    return show


def format_evaluation(result: Any, checkpoint: str, views: int) -> str:
    """Returns a tested run, or ensemble of runs, as text.

    Args:
      result: `evaluation.ensemble.Ensemble`.
      checkpoint: that was tested.
      views: 1 or 10.
    """
    test, tuning = result.evaluation, result.tuning
    many = len(result.names) > 1
    who = f"{len(result.names)} runs averaged" if many else result.names[0]
    lines = [
        f"{who}, checkpoint {checkpoint}",
        f"{test.count:,} images, {'ten views' if views == 10 else 'centre view'}",
        f"loss         {test.loss:.4f}",
        f"top-1 error  {100 * test.top1_error:.2f} %",
    ]
    if test.top5_error is not None:
        lines.append(f"top-5 error  {100 * test.top5_error:.2f} %")
    if many:
        pairs = zip(result.coefficients, result.names, strict=True)
        lines += [f"weight       {value:.2f}  {name}" for value, name in pairs]
    if tuning is not None:
        equal = f"{100 * result.equal.top1_error:.2f} % top-1"
        if result.equal.top5_error is not None:
            equal += f", {100 * result.equal.top5_error:.2f} % top-5"
        lines += [
            f"equal        {equal} with equal weights",
            f"tuned        top-{tuning.answers} error {100 * tuning.equal_error:.2f} -> "
            f"{100 * tuning.error:.2f} % on {tuning.count:,} images, "
            + (
                "those of the test: its error is optimistic (--tune-on half is not)"
                if result.optimistic
                else "none of them in the test"
            ),
        ]
    return "\n".join(lines)


def format_presets(presets: Mapping[str, Any], notes: Mapping[str, Any], form: str) -> str:
    """Returns the presets and what is known about them as text.

    Args:
      presets: configurations by name.
      notes: `Note` by preset name.
      form: `table`, or `json` with the whole configuration of each.
    """
    if form == "json":
        rows = {
            name: dataclasses.asdict(notes[name]) | {"config": dataclasses.asdict(config)}
            for name, config in presets.items()
        }
        return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    lines = []
    for name, config in presets.items():
        note = notes[name]
        facts = {
            "network": f"{config.network}, {config.epochs:g} epochs, batch {config.batch_size}"
            if config.network != AUTO
            else "chosen to suit the photos",
            "source": note.source,
            "needs": note.needs or "nothing",
            "time": note.expected_time,
            "score": f"{note.expected_score} (measured by: {note.measured_by})",
            "command": note.command,
        }
        lines.append(f"{name}: {note.summary}")
        lines += _wrapped(facts)
    return "\n".join(lines) + "\n"


def _wrapped(facts: Mapping[str, str]) -> list[str]:
    """Returns `  name     text` lines; a command stays whole."""
    width = max(60, min(shutil.get_terminal_size().columns, 100))
    lines = []
    for name, text in facts.items():
        indent = f"  {name:<8} "
        if name == "command":
            lines.append(indent + text)
        else:
            lines += textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=" " * 11)
    return lines
