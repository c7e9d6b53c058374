"""Real full disks: runs on a file system in memory that holds a few hundred kilobytes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import compiling
import pytest

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | compiling.SOONER
PROGRAM = f"{sys.executable} -m alexnet_jax.main"
SHORT = "--batch-size 8 --epochs 0.2 --log-every-steps 1 --checkpoint-every-steps 8 --final-views 1"


def mounted(folder, size, *lines):
    """Runs lines of a shell where `folder` is a file system of `size` kilobytes of its own."""
    script = "\n".join((f"mount -t tmpfs -o size={size}k none '{folder}' || exit 99", *lines))
    return subprocess.run(
        ["unshare", "--map-root-user", "--mount", "bash", "-c", script],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=500,
        env=ENVIRONMENT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder, the command that trains in `disk` below it, and the run as it should become."""
    folder = tmp_path_factory.mktemp("full")
    (folder / "disk").mkdir()
    if not shutil.which("unshare") or mounted(folder / "disk", 100).returncode:
        pytest.skip("mounting a small file system needs Linux, and the right to do it")
    words = f"{PROGRAM} --data-dir '{folder}/data' {SHORT}"
    subprocess.run(
        f"{words} --workdir '{folder}/unbroken'", shell=True, cwd=ROOT, check=True,
        capture_output=True, env=ENVIRONMENT,
    )  # fmt: skip
    info = json.loads((folder / "unbroken" / "run.json").read_text("utf-8"))
    used = sum(p.stat().st_size for p in (folder / "unbroken").rglob("*") if p.is_file())
    return folder, f"{words} --workdir '{folder}/disk/run'", info["params_sha256"], used // 1024


@pytest.mark.slow
@pytest.mark.parametrize("share", [0, 0.3, 0.7, 0.95])
def test_a_run_on_a_full_disk_says_so_and_goes_on_when_there_is_space(place, share):
    """The share is that of the unbroken run's folder; the two large ones hold checkpoints."""
    folder, command, digest, used = place
    disk = folder / "disk"
    done = mounted(
        disk, max(16, int(share * used)),
        f"{command} > '{folder}/out' 2> '{folder}/err'; echo $? > '{folder}/code'",
        f"ls '{disk}/run/checkpoints' > '{folder}/kept' 2>/dev/null",
        f"mount -o remount,size=100m '{disk}' || exit 99",
        f"{command} > '{folder}/out2' 2> '{folder}/err2' || exit 98",
        f"cp '{disk}/run/run.json' '{folder}/run.json'",
        f"ls '{disk}/run/checkpoints' > '{folder}/kept2'",
    )  # fmt: skip
    complaint = (folder / "err").read_text("utf-8")
    assert done.returncode == 0, complaint + (folder / "err2").read_text("utf-8") + done.stderr
    assert int((folder / "code").read_text()) in (1, 4), complaint
    assert complaint.count("\n") == 1 and complaint.startswith("error: "), complaint
    assert "space" in complaint, complaint
    info = json.loads((folder / "run.json").read_text("utf-8"))
    assert info["status"] == "finished" and info["params_sha256"] == digest
    kept = [name for name in (folder / "kept").read_text().split() if name.isdigit()]
    assert kept or share < 0.7
    if kept:
        assert "resumed" in (folder / "out2").read_text("utf-8")
    assert "tmp" not in (folder / "kept2").read_text()


@pytest.mark.slow
def test_a_folder_that_may_only_be_read_is_one_line_and_its_run_can_be_used(place):
    folder, command, _, _ = place
    disk = folder / "disk"
    done = mounted(disk, 100, f"mount -o remount,ro '{disk}'", command)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "cannot write to --workdir" in done.stderr
    done = mounted(
        disk, 100_000, f"cp -r '{folder}/unbroken' '{disk}/run'", f"mount -o remount,ro '{disk}'",
        f"{PROGRAM} doctor --workdir '{disk}/run' --data-dir '{folder}/data'",
        f"{PROGRAM} evaluate --workdir '{disk}/run' --views 1 --data-dir '{folder}/data'",
    )  # fmt: skip
    assert done.returncode == 0 and "digests match" in done.stdout, done.stdout + done.stderr
    assert "top-1 error" in done.stdout
    assert os.listdir(disk) == []
