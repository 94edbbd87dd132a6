#!/bin/sh
# A sharded run on one machine, or on several over ssh, with GNU parallel.
#
#   examples/scaling/parallel.sh SHARDS JOBS OUT --model resnet50 photos/
#
# makes SHARDS shards, JOBS at a time, and merges them. Run again after an interruption,
# it goes on: OUT.joblog says which shards are done, and a shard that was cut off keeps
# what is whole. One thread a job, so that the jobs do not fight for the cores.
#
# A shard that fails twice ends the run, when those under way are done, with the shard's
# exit code: what ails it (wrong flags, a full disk) mostly ails the others too.
#
# To change: --sshloginfile FILE --workdir . --env ACTVIZ_MODELS spreads the jobs over
# machines that share this folder, OUT and the images; --memfree 2G starts a job only where
# there is room.
set -eu
if ! { [ $# -ge 4 ] && [ "$1" -ge 1 ] && [ -n "$3" ]; }; then
  echo "usage: $0 SHARDS JOBS OUT FLAGS-AND-IMAGES" >&2
  exit 2
fi
shards=$1 jobs=$2 out=${3%/}
shift 3

# --resume-failed runs again what is not in the log or ended with an error; -q keeps
# blanks in the flags from being split.
seq "$shards" | parallel -q --jobs "$jobs" --joblog "$out.joblog" --resume-failed \
  --retries 2 --halt soon,fail=1 \
  "$(dirname "$0")/shard.sh" render --quiet --threads 1 --shard "{}/$shards" -o "$out" "$@"
# The log knows numbers, not flags or images: the next run is to ask every shard anew.
rm "$out.joblog"
actviz merge "$out"
