"""What a command shows: a live line on a terminal, plain lines elsewhere, warnings always."""

import contextlib
import dataclasses
import io
import os
import pty
import re
import shutil
import time

import pytest
from PIL import Image
from tiny import config, dataset, tiny_network  # noqa: F401

from alexnet_jax import workflow
from alexnet_jax.display import Count, Display, duration, fit_line

PARTS = ("step 5/10", "epoch 1.00", "loss 0.5000", "ETA 9 s")


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def lines(self):
        """Returns what was written, without control codes."""
        return re.sub(r"\x1b\[[?0-9]*[A-Za-z]|\r", "", self.getvalue()).splitlines()


@contextlib.contextmanager
def opened(writer):
    stream = open(writer, "w")
    yield stream
    with contextlib.suppress(OSError):  # it writes once more what it could not write
        stream.close()


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((80, 20)))
    monkeypatch.setenv("COLUMNS", "80")  # for rich
    monkeypatch.setenv("LINES", "20")
    monkeypatch.setenv("TERM", "xterm")


def test_elsewhere_than_on_a_terminal_progress_is_a_plain_line_now_and_then():
    text = io.StringIO()
    display = Display(stream=text)
    for _ in range(3):
        display.update(PARTS)
    display.update((*PARTS[:1], "", "done"), last=True)
    assert text.getvalue() == "  ".join(PARTS) + "\nstep 5/10  done\n"


def test_on_a_terminal_one_live_line_makes_room_for_lines():
    terminal = Terminal()
    display = Display(stream=terminal)
    for step in range(3):
        display.update([f"step {step}"])
    display.say("validated")
    display.update(["step 4"])
    display.close()
    assert "\x1b[2K" in terminal.getvalue() and "\x1b[?25l" not in terminal.getvalue()[-20:]
    assert "validated" in terminal.lines()
    assert any(line.endswith("step 4") for line in terminal.lines())


def test_a_terminal_that_cannot_rewrite_a_line_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal()
    display = Display(stream=terminal)
    display.update(PARTS)
    display.say("validated")
    assert terminal.getvalue() == "  ".join(PARTS) + "\nvalidated\n"


def test_a_stop_between_two_codes_of_the_live_line_ends_no_work():
    class Stopped(Terminal):
        def write(self, text):
            count = super().write(text)
            if text.endswith("\x1b[?25h") and "stopping" not in self.getvalue():
                display.say("stopping")  # as the handler of a signal does
            return count

    terminal = Stopped()
    display = Display(stream=terminal)
    display.update(["step 1"])
    display.update(["step 2"])
    display.close()
    assert "stopping" in terminal.lines()


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (80, "step 5/10  epoch 1.00  loss 0.5000  ETA 9 s"),
        (40, "step 5/10  loss 0.5000  ETA 9 s"),
        (30, "step 5/10  loss 0.5000"),
        (15, "step 5/10  loss"),
    ],
)
def test_a_narrow_terminal_gets_the_important_parts(width, shown):
    assert fit_line(PARTS, dispensable=(1, 3), width=width) == shown


def test_a_quiet_display_shows_warnings_only():
    for stream in (io.StringIO(), Terminal()):
        display = Display(stream=stream, quiet=True)
        display.update(PARTS)
        display.say("a step")
        display.warn("nothing is being learnt")
        assert stream.getvalue() == "nothing is being learnt\n"


def test_all_lines_go_to_the_callable(capfd):
    lines = []
    display = Display(lines.append)
    display.update(PARTS)
    display.say("a line")
    display.warn("a warning")
    assert lines == ["  ".join(PARTS), "a line", "a warning"]
    assert capfd.readouterr() == ("", "")


def test_a_closed_terminal_ends_no_work():
    reader, writer = pty.openpty()
    with opened(writer) as stream:
        display = Display(stream=stream)
        display.update(PARTS)
        os.close(reader)
        for _ in range(3):
            display.update(PARTS)
            display.warn("nobody sees this")
        display.close()


def test_a_broken_pipe_ends_no_work():
    reader, writer = os.pipe()
    os.close(reader)
    with opened(writer) as stream:
        display = Display(stream=stream)
        display.update(PARTS)
        display.warn("nobody sees this")


def test_a_count_shows_images_and_their_rate(monkeypatch):
    lines, now = [], [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    count = Count(Display(lines.append), "prepare photos", 4000)
    count.show(0)
    for second in range(1, 5):
        now[0] = 100.0 + second
        count.show(second)  # too few for an estimate
    assert lines == []
    now[0] = 105.0
    count.show(1000, bad=3)
    (line,) = lines
    assert line.startswith("prepare photos  1,003 of 4,000 images  ") and line.endswith("  3 bad")
    assert "  201 images/s  15 s left  " in line
    Count(Display(lines.append), "look at photos", 10).show(5)
    assert len(lines) == 1, "a short task shows none"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min 00 s"), (7800, "2 h 10 min"), (-1, "unknown"), (1e400, "unknown")],
)
def test_durations_are_rounded(seconds, text):
    assert duration(seconds) == text


def test_a_quiet_run_shows_its_result_only(config, dataset, tmp_path, capfd):  # noqa: F811
    data = dataclasses.replace(config.data, stored_size=10)
    config = dataclasses.replace(config, epochs=2, data=data)
    workflow.train(config, tmp_path / "loud", dataset.path.parent)
    loud = capfd.readouterr().out
    assert "validation error" in loud and ("(the best)" in loud or "(best " in loud)
    workflow.train(config, tmp_path / "quiet", dataset.path.parent, quiet=True)
    quiet = capfd.readouterr().out
    assert quiet.splitlines()[0].startswith("test error") and "step " not in quiet
    assert len(quiet.splitlines()) == 5


@pytest.mark.slow
def test_training_and_preparation_print_nothing_past_the_callable(config, tmp_path, capfd):  # noqa: F811
    lines = []
    for colour in ("red", "blue"):
        (tmp_path / "photos" / colour).mkdir(parents=True)
        for number in range(10):
            image = Image.new("RGB", (10, 10 + number), colour)
            image.save(tmp_path / "photos" / colour / f"{number}.png")
    data = dataclasses.replace(
        config.data,
        source=str(tmp_path / "photos"),
        stored_size=10,
        validation_fraction=0.5,
        validation_split="validation",
    )
    config = dataclasses.replace(config, epochs=1, batch_size=5, data=data)
    workflow.train(config, tmp_path / "run", tmp_path / "data", say=lines.append)
    text = "\n".join(lines)
    assert "understood" in text and "first step after" in text and "validation error" in text
    assert capfd.readouterr().out == ""
