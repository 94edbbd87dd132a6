#!/bin/sh
# A sharded run on one machine, or on several over ssh, with GNU parallel.
#
#   examples/scaling/parallel.sh SHARDS JOBS OUT --model resnet50 photos/
#
# makes SHARDS shards, JOBS at a time, and merges them. Run again after an interruption,
# it goes on: OUT.joblog says which shards are done, and a shard that was cut off keeps
# what is whole. One thread a job, so that the jobs do not fight for the cores.
#
# To change: --sshloginfile FILE spreads the jobs over machines that share OUT, the images
# and this folder; --memfree 2G starts a job only where there is room.
set -eu
shards=$1 jobs=$2 out=$3
shift 3

# --resume-failed runs again what is not in the log or ended with an error; -q keeps
# blanks in the flags from being split.
seq "$shards" | parallel -q --jobs "$jobs" --joblog "$out.joblog" --resume-failed \
  "$(dirname "$0")/shard.sh" render --quiet --threads 1 --shard "{}/$shards" -o "$out" "$@"
actviz merge "$out"
