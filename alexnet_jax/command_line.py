"""How a command is read and run: its verb, its options, one-line errors about them."""

import contextlib
import dataclasses
import inspect
import io
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tyro

from alexnet_jax import __version__, processes
from alexnet_jax.commands import VERBS
from alexnet_jax.commands.options import Options
from alexnet_jax.config import AUTO, Config
from alexnet_jax.errors import AlexNetError, InputError, did_you_mean
from alexnet_jax.locations import use_compilation_cache
from alexnet_jax.presets import PRESETS
from alexnet_jax.program import STOPPED, end_at_once, exit_code, quiet_libraries

USAGE_ERROR = 2
PROGRAM = "alexnet"
DEFAULT_PRESET = "digits"


class UsageError(AlexNetError):
    """The command was not understood (exit code 2)."""

    exit_code = USAGE_ERROR


def run(words: list[str], *, last: bool) -> int:
    """Runs one command (`train` without a verb) and returns its exit code.

    `last`: the process ends after it, so libraries stay silent, whose threads may still write.
    """
    code = exit_code(lambda: _run(words, last), debug="--debug" in words)
    if "jax" in sys.modules:
        processes.leave(code)
    if last and code in STOPPED:
        end_at_once(code)
    return code


def _run(words: list[str], last: bool) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0 if words else USAGE_ERROR
    if words[0] == "--version":
        print(f"{PROGRAM} {__version__}")
        return 0
    name = "train"
    if not words[0].startswith("-"):
        name = words.pop(0)
    if name not in VERBS:
        known = ", ".join(VERBS)
        raise UsageError(f"unknown verb '{name}'.{did_you_mean(name, VERBS)} Known: {known}")
    verb = parse(name, words)
    # Here and not in the library: the process is ours.
    use_compilation_cache()
    restore_logging = quiet_libraries() if not verb.verbose else lambda: None
    try:
        return verb.run() or 0
    finally:
        if not last:
            restore_logging()


def parse(name: str, words: Sequence[str]) -> Any:
    """Returns the verb `name` with its options set from `words`.

    Raises:
      UsageError: an unknown option, or a value of the wrong type; one line, with the nearest name.
      InputError: an unknown preset, or a run folder that is a file.
      SystemExit: with 0, after printing the help.
    """
    settings: dict[str, Any] = {
        "prog": f"{PROGRAM} {name}",
        "description": _help_text(VERBS[name]),
        "config": (tyro.conf.DisallowNone,),  # an option that is None is one that was not given
    }
    if name == "train":
        settings["default"] = VERBS[name](workdir=tyro.MISSING, config=_defaults(words))  # type: ignore[call-arg]
    verb = _parse_quietly(partial(tyro.cli, VERBS[name], **settings), words)
    if name == "train":
        verb = dataclasses.replace(verb, typed=_typed_fields(words))
    if getattr(verb, "images", None) == ():
        raise UsageError(f"{PROGRAM} {name} needs at least one image; --help has an example")
    workdir = getattr(verb, "workdir", None)
    if workdir is not None and workdir.exists() and not workdir.is_dir():
        raise InputError(f"--workdir {workdir} is a file; name a folder")
    return verb


def _typed_fields(words: Sequence[str]) -> tuple[str, ...]:
    """Returns the dotted names of the fields among `words`, which tyro cannot tell.

    It returns the default itself for an option not typed, and a typed value may equal the default.
    """
    options = [word[2:].partition("=")[0] for word in words if word.startswith("--")]
    names = [option.replace("-", "_") for option in options]
    return tuple(re.sub(r"(^|\.)no_", r"\1", name) for name in names)


def _defaults(words: Sequence[str]) -> Config:
    """Returns the preset named in `words`, with the phases of its run in --workdir if there is one.

    tyro only offers options (`--schedule.phases.0.…`) for phases that the default has.
    """
    name = _value_of("--preset", words)
    name = DEFAULT_PRESET if name is None else name
    if name not in PRESETS:
        raise InputError(
            f"unknown preset '{name}'.{did_you_mean(name, PRESETS)} Known: {', '.join(PRESETS)}"
        )
    preset = PRESETS[name]
    workdir = _value_of("--workdir", words)
    if preset.network != AUTO or not workdir:
        return preset
    with contextlib.suppress(OSError, ValueError, InputError):  # reported when the run is opened
        text = (Path(workdir).expanduser() / "config.json").read_text("utf-8")
        run = Config.from_json(text)
        if run.preset == preset.preset:
            schedule = dataclasses.replace(preset.schedule, phases=run.schedule.phases)
            return dataclasses.replace(preset, schedule=schedule)
    return preset


def _value_of(option: str, words: Sequence[str]) -> str | None:
    """Returns the value typed last for an option; None: the option is not there."""
    value = None
    for position, word in enumerate(words):
        if word == option:
            value = "".join(words[position + 1 : position + 2])
        elif word.startswith(f"{option}="):
            value = word.removeprefix(f"{option}=")
    return value


def _help_text(verb: type[Options]) -> str:
    """Returns a verb's docstring without its attributes, which tyro lists itself."""
    return inspect.cleandoc(verb.__doc__ or "").partition("\nAttributes:")[0].strip()


def _overview() -> str:
    listing = "\n".join(
        f"  {name:<14} {_help_text(verb).splitlines()[0]}" for name, verb in VERBS.items()
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


def _parse_quietly(parser: Callable[..., Any], words: Sequence[str]) -> Any:
    """Returns `parser(args=words)`; tyro's framed message becomes a one-line `UsageError`."""
    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message):
            return parser(args=list(words))
    except SystemExit as stop:
        if not stop.code:
            raise  # --help
        unknown = _unknown_option(parser, words)
        raise UsageError(unknown or _one_line(message.getvalue())) from None


def _unknown_option(parser: Callable[..., Any], words: Sequence[str]) -> str:
    """Returns a message about the first option that the parser's help does not list, or ''."""
    page = io.StringIO()
    with contextlib.redirect_stdout(page), contextlib.suppress(SystemExit):
        parser(args=["--help"])
    options = set(re.findall(r"(?<![\w-])--[a-z][\w.-]*", page.getvalue()))
    for word in words:
        option = word.partition("=")[0].replace("_", "-")
        if option.startswith("--") and option not in options:
            return f"unknown option {option}.{did_you_mean(option, options)} --help lists all"
    return ""


def _one_line(text: str) -> str:
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
