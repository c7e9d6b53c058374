"""How a command is read and run: verbs, options, one-line errors about them."""

import contextlib
import dataclasses
import inspect
import io
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from alexnet_jax import __version__, processes
from alexnet_jax.config import AUTO, Config
from alexnet_jax.errors import AlexNetError, InputError, did_you_mean
from alexnet_jax.locations import use_compilation_cache
from alexnet_jax.presets import PRESETS
from alexnet_jax.program import exit_code, quiet_libraries

USAGE_ERROR = 2
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
    restore_logging = quiet_libraries() if not verb.verbose else lambda: None
    try:
        return verb.run() or 0
    finally:
        if not last:
            restore_logging()


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
        settings["default"] = verbs[name](workdir=tyro.MISSING, config=defaults(words))  # type: ignore[call-arg]
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
    typed = any(word == "--preset" or word.startswith("--preset=") for word in words)
    name = _value_of("--preset", words) if typed else DEFAULT_PRESET
    if name not in PRESETS:
        raise InputError(
            f"unknown preset '{name}'.{did_you_mean(name, PRESETS)} Known: {', '.join(PRESETS)}"
        )
    return PRESETS[name]


def defaults(words: Sequence[str]) -> Config:
    """Returns the preset named in `words`, with the phases chosen for the run in --workdir.

    A preset of photos has none, and options name but what a default has (`--schedule.phases.0.…`).
    """
    preset = chosen_preset(words)
    if preset.network != AUTO:
        return preset
    workdir = _value_of("--workdir", words)
    if not workdir:
        return preset
    with contextlib.suppress(OSError, ValueError, InputError):  # which is said when it is opened
        text = (Path(workdir).expanduser() / "config.json").read_text("utf-8")
        run = Config.from_json(text)
        if run.preset == preset.preset:
            phases = run.schedule.phases
            schedule = dataclasses.replace(preset.schedule, phases=phases)
            return dataclasses.replace(preset, schedule=schedule)
    return preset


def _value_of(option: str, words: Sequence[str]) -> str:
    """Returns what was typed behind an option, the last time; empty: it is not there."""
    value = ""
    for position, word in enumerate(words):
        if word == option:
            value = "".join(words[position + 1 : position + 2])
        elif word.startswith(f"{option}="):
            value = word.removeprefix(f"{option}=")
    return value


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
