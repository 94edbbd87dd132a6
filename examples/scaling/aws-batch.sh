#!/bin/sh
# A sharded run as an AWS Batch array job, and a job that merges it.
#
#   examples/scaling/aws-batch.sh QUEUE SHARDS
#
# To change: in aws-batch.json the image (Containerfile), the file system (EFS, or FSx) and
# what a shard may use. AWS allows 2 to 10,000 shards in one array.
set -eu
queue=$1 shards=$2
definition=$(dirname "$0")/aws-batch.json

aws batch register-job-definition --cli-input-json "file://$definition" >/dev/null
array=$(aws batch submit-job --job-name actviz-render --job-queue "$queue" \
  --job-definition actviz-shard --array-properties "size=$shards" \
  --parameters "shards=$shards" --query jobId --output text)
aws batch submit-job --job-name actviz-merge --job-queue "$queue" \
  --job-definition actviz-shard --depends-on "jobId=$array" \
  --container-overrides '{"command": ["actviz", "merge", "/data/out"]}'
