"""The matrix of faults: what is promised, and the tests that inject the fault.

    python -m experiments.faults.matrix          # runs the tests and writes the page
    python -m experiments.faults.matrix --check  # exits with 1 if the page is out of date

Writes `results/matrix.json` and the table of the README.
"""

import argparse
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any, NamedTuple

from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.generated import made_with, rewrite, table, with_parts

HERE = Path(__file__).parent
OUTPUT = HERE / "results" / "matrix.json"
README = HERE / "README.md"
ROOT = HERE.parents[1]


class Fault(NamedTuple):
    """A row: a fault, what is promised, and the tests, as `file::function` below `tests/`."""

    number: int
    fault: str
    promise: str
    tests: tuple[str, ...]


FAULTS = (
    Fault(
        1,
        "kill -9 while a checkpoint is written",
        "the same command goes on from the one before and ends in the same bits; nothing half "
        "written stays",
        ("system/test_faults.py::test_killed_in_the_middle_of_a_save",),
    ),
    Fault(
        2,
        "kill -9 between saves",
        "parameters and metrics end bit for bit as unbroken",
        (
            "system/test_end_to_end.py::"
            "test_kill_nine_and_the_same_command_end_in_the_same_parameters",
            "training/test_train.py::test_a_run_broken_at_any_step_and_resumed_is_the_unbroken_run",
        ),
    ),
    Fault(
        3,
        "SIGTERM, SIGINT, SIGHUP, a second signal",
        "the step is finished and saved, exit code 0; a second signal ends at once; no process "
        "and no shared memory stays",
        (
            "system/test_stopping.py::test_training_saves_and_leaves_nothing_behind",
            "system/test_stopping.py::test_a_second_signal_ends_training_at_once",
            "training/test_train.py::test_a_signal_saves_and_the_same_command_goes_on",
        ),
    ),
    Fault(
        4,
        "the newest checkpoint is truncated, emptied or gone",
        "a warning names it, the one before is used, the damaged one is kept aside; with none "
        "left code 4 and nothing is overwritten",
        (
            "training/test_train.py::"
            "test_a_damaged_checkpoint_is_set_aside_and_the_older_one_taken",
            "training/test_train.py::test_without_a_readable_checkpoint_nothing_is_overwritten",
        ),
    ),
    Fault(
        5,
        "a flipped bit in weights or in the checkpoint's description",
        "noticed by SHA-256, then as 4",
        (
            "training/test_train.py::"
            "test_a_damaged_checkpoint_is_set_aside_and_the_older_one_taken",
            "runs/test_checkpoint.py::test_a_changed_number_in_meta_is_damage",
        ),
    ),
    Fault(
        6,
        "no space on the disk",
        "one line, the older checkpoint intact, and the same command goes on when there is space",
        (
            "system/test_faults.py::test_a_checkpoint_that_does_not_fit_on_the_disk",
            "preparation/test_prepare.py::"
            "test_a_full_disk_is_one_clear_line_and_keeps_finished_parts",
            "preparation/test_prepare.py::test_a_set_too_large_for_the_disk_is_refused_at_once",
        ),
    ),
    Fault(
        7,
        "loss or gradient not finite",
        "code 3 with step and rate; the checkpoint before stays; NaN is never the best",
        (
            "training/test_train.py::"
            "test_divergence_ends_the_run_and_keeps_the_last_good_checkpoint",
            "training/test_schedule.py::test_plateau_ignores_nan",
            "evaluation/test_evaluate.py::test_parameters_that_are_not_finite_are_wrong_everywhere",
        ),
    ),
    Fault(
        8,
        "resumed on another number of devices or processes",
        "goes on with the same parameters, equal up to the order of sums",
        (
            "training/test_meshes.py::test_a_run_goes_on_with_other_devices",
            "training/test_meshes.py::test_evaluation_does_not_depend_on_the_devices",
            "system/test_processes.py::test_two_processes_go_on_where_one_has_stopped",
        ),
    ),
    Fault(
        9,
        "bad images: empty, cut off, HTML, bombs, folders and links that are called .jpg",
        "listed with reasons; too many of them stop a preparation; `predict` reports each and "
        "exits with 1",
        (
            "data/test_decode.py::test_bad_files_are_refused_with_one_line",
            "preparation/test_prepare.py::test_bad_images_are_skipped_and_listed",
            "preparation/test_prepare.py::test_too_many_bad_images_stop_the_preparation",
            "preparation/test_prepare.py::test_twenty_bad_images_in_a_row_stop_at_once",
            "insight/test_files.py::test_files_are_predicted_and_bad_ones_reported",
        ),
    ),
    Fault(
        10,
        "resumed in the middle of an epoch, at every step",
        "the stream of images and the parameters are those of the straight run",
        (
            "training/test_train.py::test_a_run_broken_at_any_step_and_resumed_is_the_unbroken_run",
            "data/test_pipeline.py::test_any_start_equals_the_straight_run",
        ),
    ),
    Fault(
        11,
        "resumed with another configuration",
        "refused with the fields that differ; rates and epochs change on request and are logged",
        (
            "training/test_train.py::test_another_configuration_is_refused_with_its_fields",
            "training/test_train.py::test_rates_and_epochs_change_in_mid_run_only_when_asked",
        ),
    ),
    Fault(
        12,
        "a checkpoint of another network",
        "code 4, and the line says so; shapes and types are compared",
        ("runs/test_checkpoint.py::test_a_checkpoint_of_another_network_is_refused",),
    ),
    Fault(
        13,
        "two runs in one folder",
        "the second one is refused",
        ("training/test_train.py::test_two_runs_in_one_workdir",),
    ),
    Fault(
        14,
        "the work folder is a file, a link, relative, has spaces, or vanishes",
        "works, or one line; nothing of the user's is changed",
        (
            "training/test_train.py::test_workdir_that_is_a_file",
            "system/test_faults.py::"
            "test_a_relative_work_folder_behind_a_link_with_spaces_and_umlauts",
            "system/test_faults.py::test_a_work_folder_that_vanishes",
        ),
    ),
    Fault(
        15,
        "foreign files and folders among the checkpoints",
        "left alone; an empty folder with a step's name is no checkpoint",
        ("system/test_faults.py::test_foreign_files_among_the_checkpoints",),
    ),
    Fault(
        16,
        "any order of errors",
        "the best and the last checkpoint both exist",
        (
            "training/test_train.py::test_best_and_last_are_kept",
            "runs/test_checkpoint.py::test_saves_between_validations_never_push_out_the_best",
        ),
    ),
    Fault(
        17,
        "a step is saved again after going back",
        "saved, or an error; never skipped silently",
        (
            "training/test_train.py::"
            "test_a_damaged_checkpoint_is_set_aside_and_the_older_one_taken",
            "runs/test_checkpoint.py::test_a_step_that_exists_is_not_skipped_silently",
        ),
    ),
    Fault(
        18,
        "the last save fails",
        "exit code is not 0 (saves are synchronous)",
        ("system/test_faults.py::test_a_checkpoint_that_does_not_fit_on_the_disk",),
    ),
    Fault(
        19,
        "a worker process of the loader dies or raises",
        "the error surfaces, the place in the stream is kept (a worker that hangs is not noticed)",
        (
            "data/test_pipeline.py::"
            "test_worker_processes_do_not_matter_resume_with_another_number_and_may_die",
            "data/test_pipeline.py::test_errors_of_a_worker_process_surface",
            "data/test_pipeline.py::test_errors_of_a_thread_surface_and_keep_the_place",
        ),
    ),
    Fault(
        20,
        "another number of workers or threads at resume",
        "the same stream of images",
        (
            "data/test_pipeline.py::"
            "test_worker_processes_do_not_matter_resume_with_another_number_and_may_die",
            "data/test_pipeline.py::test_threads_do_not_matter",
        ),
    ),
    Fault(
        21,
        "the data set changed between two commands",
        "refused by its fingerprint; a changed source starts a preparation afresh",
        (
            "training/test_train.py::test_a_changed_data_set_is_refused",
            "preparation/test_prepare.py::test_a_changed_source_starts_afresh",
        ),
    ),
    Fault(
        22,
        "an empty class, few images, an uneven last batch",
        "one line; a test counts every image once",
        (
            "preparation/test_prepare.py::test_a_class_without_a_readable_image_is_an_error",
            "evaluation/test_evaluate.py::test_every_image_counts_once_whatever_the_batch",
            "data/test_pipeline.py::test_impossible_arguments",
        ),
    ),
    Fault(
        23,
        "the clock jumps",
        "rates and times stay finite and positive",
        ("training/test_train.py::test_a_clock_that_jumps_spoils_no_rate",),
    ),
    Fault(
        24,
        "no terminal, a reader that leaves, no home, the C locale",
        "no traceback",
        (
            "system/test_faults.py::test_no_home_no_locale_no_terminal",
            "system/test_main.py::test_a_reader_that_leaves_early_is_no_error",
            "test_locations.py::test_a_user_without_a_home_gets_a_folder_of_their_own",
        ),
    ),
    Fault(
        25,
        "hostile files: pickles with code, archives that reach outside, bombs, huge headers",
        "refused in little memory; nothing of them is ever run",
        (
            "weights/readers/test_pickle.py::test_nothing_is_ever_called",
            "weights/readers/test_pickle.py::test_damage_and_bombs_are_one_line_and_cost_nothing",
            "weights/readers/test_caffe.py::test_damaged_messages_are_refused_in_little_memory",
            "preparation/test_sources.py::test_an_archive_can_not_reach_outside",
            "preparation/test_sources.py::test_a_gzip_bomb_is_refused",
            "insight/test_tables.py::test_csv_reads_back_and_holds_no_formulas",
            "insight/test_report.py::test_the_page_forbids_scripts_and_requests",
        ),
    ),
    Fault(
        26,
        "random weights in the right shapes",
        "told, by their statistics",
        (
            "weights/test_importing.py::test_random_weights_in_the_right_shapes_are_told",
            "weights/test_importing.py::test_every_initial_layer_of_the_full_size_is_called_random",
        ),
    ),
    Fault(
        27,
        "an export that computes something else",
        "each is read back and its logits compared before it gets its name",
        (
            "weights/test_importing.py::test_our_own_export_comes_back_bit_for_bit",
            "weights/writers/test_onnx.py",
            "weights/writers/test_stablehlo.py",
        ),
    ),
    Fault(
        28,
        "no TensorFlow",
        "everything but its own exports and the preparation of some catalogue sets works",
        (
            "system/test_architecture.py::"
            "test_training_never_so_much_as_asks_for_tensorflow_or_torch",
            "preparation/test_sources.py::test_tfds_without_tensorflow_says_what_to_install",
        ),
    ),
    Fault(
        29,
        "no network",
        "the default command works",
        ("system/test_faults.py::test_without_a_network",),
    ),
    Fault(
        30,
        "another process of the run is killed",
        "the others end within seconds with code 6, and the run goes on with what is left",
        (
            "system/test_processes.py::test_a_process_whose_peer_is_killed_ends_with_a_message",
            "system/test_processes.py::"
            "test_a_stop_of_one_process_ends_both_and_one_process_goes_on",
        ),
    ),
    Fault(
        31,
        "processes whose shares of the images differ",
        "each image once, and nobody waits for ever",
        (
            "data/test_pipeline.py::test_processes_share_each_batch_and_each_image_is_seen_once",
            "system/test_processes.py::test_two_processes_evaluate_what_one_does",
        ),
    ),
    Fault(
        32,
        "large photos",
        "memory is bounded; above the cap they are refused before decoding",
        (
            "system/test_faults.py::test_a_large_photo_needs_bounded_memory",
            "data/test_decode.py::test_more_pixels_than_the_cap_are_refused_before_decoding",
        ),
    ),
)


def outcomes() -> dict[str, str]:
    """Runs all tests of the matrix and returns "passed", "skipped" or "failed" by test."""
    names = sorted({name for fault in FAULTS for name in fault.tests})
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}"]
        subprocess.run(
            [*command, "-o", "junit_family=xunit1", *(f"tests/{name}" for name in names)],
            cwd=ROOT,
            check=False,
        )
        cases = ElementTree.parse(report).getroot().iter("testcase")
        found: dict[str, set[str]] = {}
        for case in cases:
            file, name = case.get("file", ""), case.get("name", "").partition("[")[0]
            kinds = {child.tag for child in case}
            bad = kinds & {"failure", "error"}
            word = "failed" if bad else "skipped" if "skipped" in kinds else "passed"
            for key in (f"{file}::{name}", file):
                found.setdefault(key.removeprefix("tests/"), set()).add(word)
    ranked = ("failed", "passed", "skipped")
    return {
        name: next((w for w in ranked if w in found.get(name, ())), "missing") for name in names
    }


def rows(record: dict[str, Any]) -> str:
    """Returns the table of a record."""
    lines = []
    for fault in FAULTS:
        results = [record["tests"].get(name, "missing") for name in fault.tests]
        tests = "<br>".join(f"`{name.replace('::', '` `')}`" for name in fault.tests)
        word = ", ".join(sorted(set(results)))
        lines.append([str(fault.number), fault.fault, fault.promise, tests, word])
    head = ["", "fault", "promise", "tests", "result"]
    return f"{table(head, lines)}\n\n{made_with(record, OUTPUT.name)}."


def updated(text: str) -> str:
    """Returns the README with the table of today's record."""
    record = read(OUTPUT)
    return with_parts(text, {"matrix": rows(record)}, __spec__.name) if record else text


def main() -> None:
    """Runs the tests, and writes the record and the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only compare the page")
    if not parser.parse_args().check:
        write(OUTPUT, {"environment": environment(), "tests": outcomes()})
    rewrite({README: updated}, sys.argv)


if __name__ == "__main__":
    main()
