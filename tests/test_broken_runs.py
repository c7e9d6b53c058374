"""The records of long and broken runs hold what is promised."""

from experiments.benchmarks.records import read
from experiments.faults import matrix
from experiments.long_run import run as long_run
from experiments.soak import run as soak


def test_no_life_was_lost_and_every_end_is_the_unbroken_one():
    record = read(soak.OUTPUT)
    assert record
    lives = [life for found in record["lives"].values() for life in found]
    assert sum(len(life["faults"]) for life in lives) >= 200
    assert all(life["digest"] == life["unbroken"] for life in lives)
    assert all(code is not None for life in lives for f in life["faults"] for code in f["codes"])


def test_a_long_run_stays_as_it_is():
    record = read(long_run.OUTPUT)
    assert record
    medians = record["medians"]
    assert medians["memory_kib"][2] <= 1.02 * medians["memory_kib"][0]
    for name in ("threads", "open_files"):  # a file may just be open when the system is asked
        assert medians[name][2] <= medians[name][0] + 2, name
    assert record["medians"]["disk_bytes"][2] < 1.2 * record["medians"]["disk_bytes"][0]


def test_the_matrix_names_tests_that_exist_and_all_have_passed():
    record = read(matrix.OUTPUT)
    assert record
    rows = [row for found in matrix.faults().values() for row in found]
    assert len(matrix.faults()["matrix"]) == 32
    for name in {name for row in rows for name in row.tests}:
        file, _, function = name.partition("::")
        text = (matrix.ROOT / "tests" / file).read_text("utf-8")
        assert f"def {function}" in text, name
        skipped = "heic" in name  # where the package that reads it is not installed
        assert record["tests"].get(name) in ("passed", "skipped" if skipped else "passed"), name


def test_medians_are_of_the_windows_of_steps():
    samples = [
        {"step": step, "memory_kib": step, "threads": 1, "open_files": 2, "disk_bytes": 3}
        for step in range(0, 2001, 10)
    ]
    found = long_run.medians(samples)
    assert found["memory_kib"] == [1005, 1405, 1805] and found["threads"] == [1, 1, 1]
