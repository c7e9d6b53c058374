"""The command line: parsing, help, one-line errors, exit codes. No training here."""

import dataclasses
import json
import logging
import shlex
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from alexnet_jax import program
from alexnet_jax.command_line import UsageError
from alexnet_jax.config import Config
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.errors import CheckpointError, DataError, DivergedError, InputError
from alexnet_jax.main import VERBS, main, parse
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.network.summary import summary
from alexnet_jax.network.summary_text import FORMATS, format_summary
from alexnet_jax.preset_notes import NOTES
from alexnet_jax.presets import PRESETS
from alexnet_jax.runs.record import RunRecord
from alexnet_jax.runs.run_folder import write_run

ROOT = Path(__file__).resolve().parents[2]


def run(*words, **options):
    command = [sys.executable, "-m", "alexnet_jax.main", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, **options)


def one_line(text):
    assert text.startswith("error: ") and text.count("\n") == 1 and text.endswith("\n"), text
    return text


# --- what is refused before anything is prepared or written ---


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["--epochs", "-1"], 1, "epochs is -1.0"),
        (
            ["--preset", "imagenet-2010", "--optimizer.learning-rate", "0.3"],
            1,
            "--schedule.phases.0.learning-rate",
        ),
        (["--schedule.phases.0.learning-rate", "-1"], 1, "epoch 21 has a rate below 0"),
        (["--preset", "fall-2009", "--data.source", "."], 1, "--transfer.run"),
        (["--preset", "fall-2009"], 5, "prepare --source folder PATH --name fall2009"),
        (["--transfer.run", "nowhere", "--transfer.layers", "conv1"], 1, "nowhere holds no run"),
    ],
)
def test_an_impossible_experiment_leaves_no_trace(words, code, expected, capsys, tmp_path):
    workdir, data = tmp_path / "run", tmp_path / "data"
    assert main(["train", "--workdir", str(workdir), "--data-dir", str(data), *words]) == code
    assert expected in one_line(capsys.readouterr().err)
    assert not workdir.exists() and not data.exists()


# --- help ---


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example_that_parses(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main([verb, "--help"]) == 0
    page = capsys.readouterr().out
    assert f"usage: alexnet {verb}" in page
    example = page.partition("Example:\n")[2].splitlines()[0].split()
    assert example[:2] == ["alexnet", verb]
    parse(verb, [word.strip('"') for word in example[2:]])


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    main([verb, "--help"])
    page = capsys.readouterr().out
    assert "│       (default" not in page and "│       (required)" not in page


def test_help_of_a_preset_shows_its_values(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["train", "--preset", "cifar10-13pct", "--help"]) == 0
    page = capsys.readouterr().out
    assert "(default: cifar-13pct)" in page
    assert "--schedule.phases.1.epoch" in page and "--transfer.checkpoint" in page


def test_overview_names_all_verbs_and_exit_codes(capsys):
    assert main(["--help"]) == 0
    page = capsys.readouterr().out
    assert all(f"\n  {verb} " in page for verb in VERBS)
    assert "4 checkpoint unusable" in page


def test_no_arguments_is_a_usage_error_that_shows_the_overview(capsys):
    assert main([]) == 2
    assert "--workdir runs/" in capsys.readouterr().out


# --- parsing ---


def test_workdir_is_absolute_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse("train", ["--workdir", "runs/"]).workdir == tmp_path / "runs"
    assert parse("evaluate", ["--workdir", "a", "--also", "b", "c"]).also == (
        tmp_path / "b",
        tmp_path / "c",
    )


def test_home_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse("train", ["--workdir=~/runs"]).workdir == tmp_path / "runs"


def test_default_preset_is_digits(tmp_path):
    assert parse("train", ["--workdir", str(tmp_path)]).config == PRESETS["digits"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_without_overrides_is_exactly_that_preset(name, tmp_path):
    words = ["--workdir", str(tmp_path), "--preset", name]
    assert parse("train", words).config == PRESETS[name]
    assert PRESETS[name].preset == name


def test_overrides_are_typed_and_leave_the_rest(tmp_path):
    words = ["--workdir", str(tmp_path), "--preset=imagenet-original", "--data.source", "x y"]
    words += ["--optimizer.learning_rate", "0.02", "--schedule.phases.1.epoch", "30"]
    words += ["--augment.no-mirror", "--final-views", "1", "--augment.scale", "0.5", "1"]
    config = parse("train", words).config
    assert config.optimizer.learning_rate == 0.02
    assert config.schedule.phases[1].epoch == 30
    assert config.schedule.phases[2] == PRESETS["imagenet-original"].schedule.phases[2]
    assert config.augment.mirror is False and config.augment.scale == (0.5, 1.0)
    assert config.final_views == 1 and config.data.source == "x y"
    assert config.network == "original"


def test_images_stand_before_or_after_options(tmp_path):
    words = ["--workdir", str(tmp_path), "a.jpg", "b c.jpg", "--top-k", "3", "-v"]
    verb = parse("predict", words)
    assert verb.images == ("a.jpg", "b c.jpg") and verb.top_k == 3 and verb.verbose


# --- usage errors: one line, exit code 2, the nearest name ---


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian", "--workdir", "W"], "Did you mean 'train'?"),
        (["--workdri", "W"], "unknown option --workdri. Did you mean '--workdir'?"),
        (
            ["--workdir", "W", "--optimizer.learning-rat", "1"],
            "unknown option --optimizer.learning-rat. Did you mean '--optimizer.learning-rate'?",
        ),
        (["--workdir", "W", "--optimizer.learning-rate", "fast"], "'fast'"),
        (["--workdir", "W", "--data.store", "png"], "'--data.store'. Expected one of"),
        (["--workdir", "W", "--epochs"], "'--epochs'"),
        (["--workdir", "W", "stray"], "stray"),
        (["train"], "alexnet train needs --workdir"),
        (["features", "a.jpg"], "alexnet features needs --workdir and --output"),
        (["predict", "--workdir", "W"], "at least one image"),
    ],
)
def test_misuse_is_one_line_with_exit_code_2(words, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    captured = capsys.readouterr()
    assert expected in one_line(captured.err) and not captured.out
    assert not list(tmp_path.iterdir())


# --- bad input: one line, exit code 1 ---


def test_unknown_preset_suggests_the_nearest(capsys, tmp_path):
    assert main(["--workdir", str(tmp_path), "--preset", "imagenete"]) == 1
    assert "Did you mean 'imagenette'?" in one_line(capsys.readouterr().err)


def test_workdir_that_is_a_file_stays_as_it_is(capsys, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    for verb in ("train", "evaluate", "report", "doctor"):
        assert main([verb, "--workdir", str(file)]) == 1
        assert "is a file" in one_line(capsys.readouterr().err)
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--source", "fodler", "x"], "Did you mean 'folder'?"),
        (["--source", "tfds"], "Did you mean 'tfds:NAME'?"),
        (["--source", "folder"], "needs the path"),
        (["--source", "digits", "x"], "takes no path"),
    ],
)
def test_prepare_checks_its_source(words, expected, capsys, tmp_path):
    assert main(["prepare", *words, "--data-dir", str(tmp_path)]) == 1
    assert expected in one_line(capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_prepare_describes_the_data_set(tmp_path):
    words = ["--source", "folder", str(tmp_path), "--name", "photos", "--stored-size", "64"]
    data = parse("prepare", words).data()
    assert (data.source_kind, data.source, data.name) == ("folder", str(tmp_path), "photos")
    assert data.stored_size == 64 and data.store == "jpeg"
    data = parse("prepare", ["--source", "tfds:cats_vs_dogs", "--store", "raw"]).data()
    assert (data.source_kind, data.source, data.store) == ("tfds", "cats_vs_dogs", "raw")
    data = parse("prepare", ["--source", "cifar10", str(tmp_path)]).data()
    assert data.stored_size == 32 and data.store == "raw"
    words = ["--source", "imagenet2012", str(tmp_path), "--class-order", "ilsvrc"]
    assert parse("prepare", words).data().class_order == "ilsvrc"


@pytest.mark.parametrize("verb", ["evaluate", "predict", "features", "export", "report"])
def test_verbs_that_need_a_run_say_so_and_write_nothing(verb, capsys, tmp_path):
    folder, image = tmp_path / "empty", tmp_path / "a.png"
    folder.mkdir()
    image.write_bytes(b"")
    extra = {
        "predict": [image],
        "features": [image, "--output", tmp_path / "out.npz"],
        "export": ["--output", tmp_path / "out.safetensors"],
    }
    words = [verb, "--workdir", folder, *extra.get(verb, [])]
    assert main([str(word) for word in words]) == 1
    assert "holds no run" in one_line(capsys.readouterr().err)
    assert sorted(tmp_path.rglob("*")) == [image, folder]


# --- exit codes ---


def raiser(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("no such\nthing"), 1),
        (UsageError("no such thing"), 2),
        (DivergedError("loss is nan"), 3),
        (CheckpointError("damaged"), 4),
        (DataError("empty"), 5),
        (PermissionError(13, "Permission denied", "file"), 1),
        (ZeroDivisionError("division by zero"), 1),
    ],
)
def test_errors_are_one_line_with_their_exit_code(error, code, capsys):
    assert program.exit_code(raiser(error), debug=False) == code
    line = one_line(capsys.readouterr().err)
    assert "Traceback" not in line
    assert ("--debug" in line) == isinstance(error, ZeroDivisionError)


def test_debug_shows_the_traceback_before_the_line(capsys):
    assert program.exit_code(raiser(DataError("empty")), debug=True) == 5
    text = capsys.readouterr().err
    assert text.startswith("Traceback") and text.endswith("\nerror: empty\n")
    assert main(["--workdir", "W", "--preset", "nope", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_interruption_is_quiet(capsys):
    assert program.exit_code(raiser(KeyboardInterrupt()), debug=False) == 130
    assert capsys.readouterr().err.startswith("interrupted; ")


def test_a_reader_that_leaves_early_is_no_error():
    command = [sys.executable, "-m", "alexnet_jax.main", "presets", "--format", "json"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(240) == program.PIPE_CLOSED


def test_installed_module_runs_from_anywhere_with_the_same_codes(tmp_path):
    result = run("--workdir", tmp_path / "run", "--preset", "digit")
    assert result.returncode == 1 and result.stdout == ""
    assert "Did you mean 'digits'?" in one_line(result.stderr)
    assert not list(tmp_path.iterdir())


# --- quiet libraries ---


def test_libraries_are_silent_but_our_own_warnings_become_a_line(capsys, monkeypatch):
    monkeypatch.setattr("os.environ", {})
    logger = logging.getLogger("some.library")
    filters = list(warnings.filters)
    restore_logging = program.quiet_libraries()
    logger.warning("noise")
    warnings.warn_explicit("noise", UserWarning, "lib.py", 1, module="some.library")
    warnings.warn_explicit("told", UserWarning, "x.py", 1, module="alexnet_jax.training.x")
    assert not logger.isEnabledFor(logging.ERROR) and logger.isEnabledFor(logging.CRITICAL)
    restore_logging()
    assert capsys.readouterr().err == "warning: told\n"
    assert logger.isEnabledFor(logging.WARNING) and list(warnings.filters) == filters


# --- presets ---


def test_presets_as_json_hold_note_and_config(capsys):
    assert main(["presets", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert list(rows) == list(PRESETS)
    for name, row in rows.items():
        assert row["config"]["preset"] == name
        assert row["command"] == NOTES[name].command
        assert row["expected_score"] and row["measured_by"] and row["source"]


def test_presets_as_a_table_keep_commands_whole(capsys):
    assert main(["presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, note in NOTES.items():
        assert f"{name}: {note.summary}" in lines
        assert f"  command  {note.command}" in lines


def test_commands_of_the_presets_parse(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name, note in NOTES.items():
        words = note.command.split()
        assert words[:3] == ["python", "-m", "alexnet_jax.main"]
        config = parse("train", [word for word in words[3:] if word != "train"]).config
        assert config.preset == name


# --- summary ---


def test_summary_prints_the_table_of_a_network(capsys):
    assert main(["summary"]) == 0
    assert capsys.readouterr().out == f"{summary('paper')}\n"
    for form in FORMATS:
        words = ["--network", "digits", "--classes", "7", "--image-size", "32", "--format", form]
        assert main(["summary", *words]) == 0
        expected = format_summary(summary(NETWORKS["digits"].with_classes(7), 32), form)
        assert capsys.readouterr().out == f"{expected}\n"


def test_summary_of_a_run_has_its_network_classes_and_size(tmp_path, capsys):
    inputs = Inputs(np.zeros(3, np.float32), np.ones(3, np.float32), np.zeros((3, 3), np.float32))
    config = dataclasses.replace(Config(), network="digits", image_size=30)
    info = {"class_names": list("abcde"), "stored_size": 32}
    write_run(tmp_path, RunRecord(config, info), inputs)
    assert main(["summary", "--workdir", str(tmp_path), "--format", "csv"]) == 0
    table = summary(NETWORKS["digits"].with_classes(5), 30)
    assert capsys.readouterr().out == f"{format_summary(table, 'csv')}\n"


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["--network", "orignal"], 1, "Did you mean 'original'?"),
        (["--network", ""], 1, "unknown network ''"),
        (["--image-size", "20"], 1, "layer 'pool2' has 3x3 windows but gets only 2x2 pixels"),
        (["--image-size", "-3"], 1, "the smallest that fits is 52x52"),
        (["--classes", "1"], 1, "at least 2 classes"),
        (["--workdir", "nowhere", "--network", "paper"], 1, "give one of them"),
        (["--workdir", "nowhere"], 1, "nowhere holds no run"),
        (["--format", "html"], 2, "html"),
        (["--size", "20"], 2, "--image-size"),
    ],
)
def test_a_summary_that_cannot_be_made_is_one_line(words, code, expected, capsys):
    assert main(["summary", *words]) == code
    assert expected in one_line(capsys.readouterr().err)


def test_a_damaged_configuration_of_a_run_does_not_stop_the_parser(tmp_path):
    (tmp_path / "config.json").write_bytes(b"\xff\xfe")
    verb = parse("train", ["--workdir", str(tmp_path), "--preset", "folder"])
    assert verb.config == PRESETS["folder"]  # the run itself says what is damaged


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_a_users_waiting_is_counted_from_the_programs_own_start():
    python = (
        "import time; from alexnet_jax.program import program_start; "
        "print(time.monotonic() - program_start())"
    )
    # Of its last command the shell makes no new process, but becomes it.
    line = f"sleep 2 && {shlex.quote(sys.executable)} -c {shlex.quote(python)}"
    begin = time.monotonic()
    run = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert 0 < float(run.stdout) <= time.monotonic() - begin - 2
