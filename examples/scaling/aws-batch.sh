#!/bin/sh
# A sharded run as an AWS Batch array job, and a job that merges it.
#
#   examples/scaling/aws-batch.sh QUEUE SHARDS
#
# The merge waits for all shards. It ends as FAILED with exit code 1 if some images failed:
# the rest is merged all the same, and its log lists them.
#
# AWS tries again whatever no rule of evaluateOnExit names: no room (75), killed,
# interrupted, a host that is gone. Exit codes 1 and 2 would be the same on every try.
#
# To change: in aws-batch.json the image (Containerfile), the file system (EFS, or FSx),
# the parameters (OUT also below), and what a shard may use. AWS allows 2 to 10,000 shards
# in one array.
set -eu
if [ $# -ne 2 ]; then
  echo "usage: $0 QUEUE SHARDS" >&2
  exit 2
fi
queue=$1 shards=$2
definition=$(dirname "$0")/aws-batch.json

aws batch register-job-definition --cli-input-json "file://$definition" >/dev/null
array=$(aws batch submit-job --job-name actviz-render --job-queue "$queue" \
  --job-definition actviz-shard --array-properties "size=$shards" \
  --query jobId --output text)
aws batch submit-job --job-name actviz-merge --job-queue "$queue" \
  --job-definition actviz-shard --depends-on "jobId=$array" \
  --container-overrides '{"command": ["actviz", "merge", "/data/out"]}'
