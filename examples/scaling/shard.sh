#!/bin/sh
# actviz for a scheduler: shard.sh render --shard 2/100 ...
#
# Exit code 1 (some images failed, the rest is written) becomes 0: another try would end
# the same way, the shard's part of the manifest has the list, and `actviz merge` tells of
# it. All other codes stay: 2 is for good, 75, 130 and 143 are worth another try.

# A scheduler's notice goes to this shell; actviz is to hear of it. The trap comes first:
# between the two there would be a moment in which the notice ends this shell alone.
trap 'kill -TERM "$!" 2>/dev/null || exit 143' TERM INT
# A command in the background has no stdin unless it is given one.
actviz "$@" <&0 &
child=$!
wait "$child"
code=$?
# A trap ends the first wait before the child has ended.
while kill -0 "$child" 2>/dev/null; do
  wait "$child"
  code=$?
done
[ "$code" -ne 1 ] || exit 0
exit "$code"
