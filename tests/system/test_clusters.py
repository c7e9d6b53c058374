"""The recipes for clusters: their commands are ours, and a stopped run continues."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from alexnet_jax.main import parse

ROOT = Path(__file__).resolve().parents[2]
CLUSTERS = ROOT / "experiments" / "clusters"
SLURM = CLUSTERS / "slurm.sh"
POD = yaml.safe_load((CLUSTERS / "gke-tpu.yaml").read_text())["spec"]["replicatedJobs"][0][
    "template"
]["spec"]

# Replaces `srun`, `scontrol` and `python`: logs its words, and may leave files and exit codes.
STAND_IN = """\
#!/bin/bash
printf '%q ' "${0##*/}" "$@" >> "$NOTES"; echo >> "$NOTES"
if [[ " $* " == *" train "* ]]; then
  mkdir -p "$WORKDIR"
  echo "{\\"status\\": \\"$STATUS\\"}" > "$WORKDIR/run.json"
  if [ "$STATUS" = finished ] && [ -z "$UNTESTED" ]; then touch "$WORKDIR/report.html"; fi
  exit "$CODE"
fi
"""


def script(folder, *words, status="finished", code=0, **variables):
    """Runs slurm.sh with stand-ins; returns the exit code and the commands that it gave."""
    for name in ("srun", "scontrol"):
        (folder / name).write_text(STAND_IN)
        (folder / name).chmod(0o755)
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "NOTES": str(folder / "notes"),
        "WORKDIR": str(folder / "a run"),
        "ALEXNET_DATA_DIR": str(folder / "data"),
        "SLURM_JOB_ID": "17",
        "SLURM_CPUS_PER_TASK": "8",
        "STATUS": status,
        "CODE": str(code),
        **variables,
    }
    result = subprocess.run(
        ["bash", SLURM, *words], env=environment, capture_output=True, text=True, timeout=60
    )
    notes = folder / "notes"
    lines = notes.read_text().splitlines() if notes.exists() else []
    return result.returncode, [shlex.split(line) for line in lines]


def parsed(command):
    """Returns the verb in `… python -m alexnet_jax.main VERB OPTIONS`, its options set."""
    place = command.index("alexnet_jax.main")
    return parse(command[place + 1], command[place + 2 :])


@pytest.mark.parametrize(
    "text", [SLURM.read_text(), *POD["template"]["spec"]["containers"][0]["args"]]
)
def test_the_shell_understands(text):
    subprocess.run(["bash", "-n"], input=text, text=True, check=True, timeout=60)


def test_slurm_prepares_then_trains_and_a_finished_run_ends(tmp_path):
    words = ["--preset", "imagenet-original", "--towers", "2"]
    code, commands = script(tmp_path, *words, SOURCE=str(tmp_path))
    assert code == 0 and [command[0] for command in commands] == ["srun", "srun"]
    prepare, train = map(parsed, commands)
    assert (prepare.source, prepare.path, prepare.name) == (
        "imagenet2012",
        tmp_path,
        "imagenet2012",
    )
    assert prepare.data().class_order == "wordnet"
    assert train.cluster and train.workdir == tmp_path / "a run"
    assert train.data_dir == prepare.data_dir == tmp_path / "data"
    assert (train.config.preset, train.config.towers) == ("imagenet-original", 2)
    assert "--ntasks=1" in commands[0] and "--kill-on-bad-exit=1" in commands[1]


@pytest.mark.parametrize(("status", "untested"), [("running", ""), ("finished", "yes")])
def test_slurm_puts_a_stopped_run_back_into_the_queue(tmp_path, status, untested):
    code, commands = script(tmp_path, status=status, UNTESTED=untested)
    assert code == 0 and commands[-1] == ["scontrol", "requeue", "17"] and len(commands) == 2


def test_slurm_does_not_repeat_an_error(tmp_path):
    code, commands = script(tmp_path, status="running", code=3)
    assert code == 3 and len(commands) == 1
    code, commands = script(tmp_path, ALEXNET_DATA_DIR="")
    assert code == 1 and len(commands) == 1  # that of before


def test_slurm_asks_for_a_process_per_gpu_and_a_warning():
    options = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", SLURM.read_text(), re.MULTILINE))
    assert options["ntasks-per-node"] == options["gpus-per-node"]
    assert "gpus-per-task" not in options and "requeue" in options
    assert options["signal"].startswith("TERM@")  # with B: only the script would get it


def pod(folder, status, code=0, **options):
    """Starts the pods' command with a stand-in for python."""
    (folder / "python").write_text(STAND_IN)
    (folder / "python").chmod(0o755)
    (text,) = POD["template"]["spec"]["containers"][0]["args"]
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "NOTES": str(folder / "notes"),
        "WORKDIR": str(folder / "runs" / "alexnet"),
        "STATUS": status,
        "CODE": str(code),
    }
    (folder / "runs").mkdir(exist_ok=True)
    text = text.replace("/shared", str(folder))
    return subprocess.Popen(["bash", "-c", text], env=environment | options)


def test_the_pods_train_and_fail_where_the_run_is_not_finished(tmp_path):
    assert POD["parallelism"] == POD["completions"] and POD["backoffLimit"] == 0
    assert pod(tmp_path, "finished").wait(60) == 0
    train = parsed(shlex.split((tmp_path / "notes").read_text()))
    assert train.cluster and train.config.preset == "imagenet-original"
    assert (train.workdir, train.data_dir) == (tmp_path / "runs/alexnet", tmp_path / "data")
    assert pod(tmp_path, "running").wait(60) == 1
    assert pod(tmp_path, "finished", code=3).wait(60) == 3


def test_the_pods_hand_sigterm_on_and_wait_for_the_save(tmp_path):
    fake = 'trap "sleep 0.5; echo saved; exit 0" TERM; echo started; while :; do sleep 0.1; done'
    (tmp_path / "stub").write_text(f"#!/bin/bash\n{fake}\n")
    (text,) = POD["template"]["spec"]["containers"][0]["args"]
    text = text.replace("python -m", f"bash {tmp_path}/stub -m").replace("/shared", str(tmp_path))
    with subprocess.Popen(["bash", "-c", text], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "started\n"
        process.terminate()
        assert process.stdout.readline() == "saved\n"
        assert process.wait(60) == 2  # grep: there is no run.json


def test_the_commands_of_the_page_are_ours():
    text = (CLUSTERS / "README.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"alexnet_jax\.main train ([^\n\"]*?)(?: &)?[\"\n]", text)
    assert len(commands) == 2
    rehearsal, cluster = [
        parse("train", shlex.split(command.replace("$id", "1"))) for command in commands
    ]
    assert (rehearsal.processes, rehearsal.process_id, rehearsal.config.towers) == (2, 1, 2)
    assert cluster.cluster
