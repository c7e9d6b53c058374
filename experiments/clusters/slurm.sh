#!/bin/bash
# One training run on the GPUs of several nodes:
#
#   WORKDIR=/shared/runs/alexnet ALEXNET_DATA_DIR=/shared/data SOURCE=/shared/ilsvrc \
#     sbatch experiments/clusters/slurm.sh --preset imagenet-original
#
# WORKDIR and ALEXNET_DATA_DIR lie on a disk that all nodes see. SOURCE (optional) is prepared first,
# as KIND and NAME say; options of the command line go to `train`. Without GPUs: --ntasks-per-node=1
# --gpus-per-node=0 for sbatch, one process per node.
#SBATCH --job-name=alexnet
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --nodes=2
# One process per GPU, as JAX takes it from Slurm: process i of a node drives the i-th GPU that it
# sees. It must see all of its node, so this is --gpus-per-node and not --gpus-per-task.
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
# To the processes, not to this script, 180 seconds before the time is up (and a preempted job gets
# SIGTERM at once): they finish the step, save, and end with 0.
#SBATCH --signal=TERM@180
#SBATCH --requeue
set -euo pipefail
: "${WORKDIR:?names the run folder}" "${ALEXNET_DATA_DIR:?names the folder of prepared sets}"

if [ -n "${SOURCE:-}" ]; then
  # By one process, before the others would wait for it; a prepared set is left as it is.
  srun --nodes=1 --ntasks=1 --ntasks-per-node=1 --cpus-per-task="${SLURM_CPUS_ON_NODE:-1}" \
    python -m alexnet_jax.main prepare --source "${KIND:-imagenet2012}" "$SOURCE" \
    --name "${NAME:-imagenet2012}" --data-dir "$ALEXNET_DATA_DIR"
fi

# Where one process fails the others cannot go on: end them, too.
code=0
srun --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
  python -m alexnet_jax.main train --cluster \
  --workdir "$WORKDIR" --data-dir "$ALEXNET_DATA_DIR" "$@" || code=$?
# 143: the signal came before or after the training steps, where nothing needs to be saved.
[ "$code" = 0 ] || [ "$code" = 143 ] || exit "$code"

# Ended with 0: either finished, report and all, or stopped and saved; then the job goes back into
# the queue, and the same command resumes. (An error ended this script above, with its exit code.)
if grep -q '"status": "finished"' "$WORKDIR/run.json" && [ -f "$WORKDIR/report.html" ]; then
  echo "finished: $WORKDIR/report.html"
else
  scontrol requeue "$SLURM_JOB_ID"
fi
