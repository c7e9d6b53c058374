"""The line of progress: what it tells, quietly or not, on a terminal and elsewhere."""

import dataclasses
import io
import os

import pytest

from alexnet_jax import workflow
from alexnet_jax.runs.records import Progress, memory_in_use

VALUES = {"train/loss": 0.5, "train/top1_error": 0.25, "train/learning_rate": 0.01}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_line_tells_rate_memory_best_and_time_left():
    text = io.StringIO()
    Progress(10, text).update(10, 1.0, VALUES, 1234.5, 125.0, best=0.125)
    assert text.getvalue() == (
        "step 10/10  epoch 1.00  loss 0.5000  error 25.0 %  best 12.5 %  rate 0.01  "
        f"1,234 images/s  {memory_in_use() / 1e9:.1f} GB  ETA 2 min 05 s\n"
    )
    assert memory_in_use() > 10**7


@pytest.mark.parametrize(
    "width, shown",
    [
        (200, "step 5/10  epoch 1.00  loss 0.5000  error 25.0 %  best 12.5 %  rate 0.01  "),
        (80, "step 5/10  loss 0.5000  error 25.0 %  1,234 images/s  ETA 2 min 05 s"),
        (40, "step 5/10  loss 0.5000  ETA 2 min 05 s"),
        (20, "step 5/10  loss 0.5"),
    ],
)
def test_a_narrow_terminal_gets_the_important_parts_in_one_line(monkeypatch, width, shown):
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((width, 20)))
    text = Terminal()
    Progress(10, text).update(5, 1.0, VALUES, 1234.5, 125.0, best=0.125)
    line = text.getvalue().removeprefix("\r\x1b[K")
    assert len(line) < width
    assert line.startswith(shown) if width == 200 else line == shown


def test_of_warnings_only_nothing_else_is_written():
    for text in (io.StringIO(), Terminal()):
        progress = Progress(10, text, only_warnings=True)
        progress.update(10, 1.0, VALUES, 1234.5, 125.0)
        progress.say("a step")
        progress.warn("nothing is being learnt")
        assert text.getvalue() == "nothing is being learnt\n"


def test_a_quiet_run_tells_its_result_only(config, dataset, tmp_path, capfd):
    data = dataclasses.replace(config.data, stored_size=10)
    config = dataclasses.replace(config, epochs=2, data=data)
    workflow.train(config, tmp_path / "aloud", dataset.path.parent)
    aloud = capfd.readouterr().out
    assert "validation error" in aloud and ("(the best)" in aloud or "(best " in aloud)
    workflow.train(config, tmp_path / "quiet", dataset.path.parent, quiet=True)
    quiet = capfd.readouterr().out
    assert quiet.splitlines()[0].startswith("test error") and "step " not in quiet
    assert len(quiet.splitlines()) == 5
