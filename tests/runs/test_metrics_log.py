"""Metrics of a run, row by row."""

from alexnet_jax.runs.metrics_log import MetricsLog, read_rows


def test_a_final_test_that_is_repeated_replaces_its_rows(tmp_path):
    # A kill between these rows and `final.npz` makes the next call test again.
    for _ in range(2):
        log = MetricsLog(tmp_path, 4)
        log.add({"step": 4, "epoch": 1.0, "test_views": 1, "final/top1_error": 0.5})
        log.close()
    assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == [4]


def test_a_final_test_before_the_run_went_on_is_forgotten(tmp_path):
    log = MetricsLog(tmp_path, 0)
    log.add({"step": 4, "epoch": 1.0, "train/loss": 2.0})
    log.add({"step": 4, "epoch": 1.0, "test_views": 10, "final/top1_error": 0.5})
    log.close()
    MetricsLog(tmp_path, 4).close()
    assert read_rows(tmp_path / "metrics.jsonl") == [{"step": 4, "epoch": 1.0, "train/loss": 2.0}]


def test_records_drop_what_came_after_the_resumed_step_and_half_lines(tmp_path):
    log = MetricsLog(tmp_path, 0)
    for step in (1, 2, 3):
        log.add({"step": step, "epoch": step / 2, "train/loss": 1 / step})
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "ep')
    again = MetricsLog(tmp_path, 2)
    again.add({"step": 3, "epoch": 1.5, "train/loss": 0.5})
    again.close()
    assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    assert read_rows(tmp_path / "metrics.jsonl")[-1]["train/loss"] == 0.5
