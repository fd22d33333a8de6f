#!/bin/bash
# One patch set, cut by the tasks of a Slurm job array. They share a disk and nothing else: no task waits for another.
#
#   sbatch configs/schedule/slurm-array.sh scenes.zarr patches.zarr --patch 256 --step 128
#
# What follows the script's name is what `patchmill patchify` takes, the same for every task. Give paths that every node
# sees. Whoever comes last completes the set; the others say what is still missing, and end with 0.
#
#SBATCH --job-name=patchmill
#SBATCH --array=0-7
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --output=patchmill-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:TERM@60
#
# --requeue: a task whose node fails, or that is preempted, starts again and goes on behind the last shard that it wrote.
# --signal: a minute before its time is up a task ends in order (exit code 143); `scontrol requeue JOBID_INDEX` sends it
# off again. A task that is killed outright loses the shards it was at, nothing else. Exit code 75 says that an earlier
# run of the same slice still lives: requeue it later.
#
# To run a few slices anew, say into how many the set was cut, since Slurm then counts only those that are submitted:
#
#   sbatch --array=3,5 --export=ALL,SLICES=8 configs/schedule/slurm-array.sh scenes.zarr patches.zarr --patch 256 --step 128
#
# A rerun of any slice also completes a set whose last task died while it did that.

set -eu

slices=${SLICES:-${SLURM_ARRAY_TASK_COUNT:-}}
if [ -z "${SLURM_ARRAY_TASK_ID:-}" ] || [ -z "$slices" ]; then
    missing=${SLURM_ARRAY_TASK_ID:+SLURM_ARRAY_TASK_COUNT}
    echo "this script runs as a task of a Slurm job array, and ${missing:-SLURM_ARRAY_TASK_ID} is not set:" \
        "submit it with: sbatch $0 SOURCE TARGET --patch N" >&2
    exit 2
fi
first=0
[ -n "${SLICES:-}" ] || first=${SLURM_ARRAY_TASK_MIN:-0} # arrays may begin with 1, slices begin with 0

# Slurm counts everything that the task holds, in MiB; a quarter stays free for the system's buffers.
if [ -n "${SLURM_MEM_PER_NODE:-}" ]; then
    set -- "$@" --memory "$((SLURM_MEM_PER_NODE * 3 / 4))MiB"
elif [ -n "${SLURM_MEM_PER_CPU:-}" ]; then
    set -- "$@" --memory "$((SLURM_MEM_PER_CPU * ${SLURM_CPUS_PER_TASK:-1} * 3 / 4))MiB"
fi

# exec: so that signals reach patchmill. PATCHMILL may name another command, such as "apptainer run image.sif patchmill".
# shellcheck disable=SC2086
exec ${PATCHMILL:-patchmill} patchify "$@" --slice "$((SLURM_ARRAY_TASK_ID - first))/$slices"
