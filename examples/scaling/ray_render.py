"""A sharded run on a Ray cluster, or on this machine alone.

    python examples/scaling/ray_render.py --shards 100 --out /shared/out -- \
        --model resnet50 /shared/photos

Every machine needs actviz, the models, the images and OUT under the same paths (a shared
file system). A shard is a task: when a worker or its machine dies, Ray runs it again
elsewhere, and it keeps what is whole. At the end the shards are merged.

To change: --address of a running cluster (default: one on this machine), --cpus of a
task (also its threads), --retries.
"""

import argparse
import subprocess
import sys

import ray

# What actviz's exit codes mean to a scheduler.
DONE, SOME_IMAGES_FAILED, WRONG = 0, 1, 2


class TryAgain(Exception):
    """The shard may work on the next try: no room, no memory, killed, interrupted."""


def render(shard, shards, threads, out, flags):
    command = ["actviz", "render", "--quiet", "--threads", str(threads), "-o", out]
    command += ["--shard", f"{shard}/{shards}", *flags]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    sys.stderr.write(done.stderr)
    if done.returncode in (DONE, SOME_IMAGES_FAILED):
        return shard, None
    if done.returncode == WRONG:
        # Another try would end the same way.
        return shard, done.stderr.strip()
    raise TryAgain(f"shard {shard}/{shards}: exit code {done.returncode}\n{done.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shards", type=int, required=True, help="about 10 for each core")
    parser.add_argument("--out", required=True, help="a folder that every machine sees")
    parser.add_argument("--address", help="of a running cluster; default: this machine")
    parser.add_argument("--cpus", type=int, default=1, help="cores, and threads, of a task")
    parser.add_argument("--retries", type=int, default=3)
    parser.add_argument("flags", nargs="+", help="after --: the flags of actviz render")
    args = parser.parse_args()

    local = {} if args.address else {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    ray.init(address=args.address, log_to_driver=True, **local)
    task = ray.remote(render).options(
        num_cpus=args.cpus, max_retries=args.retries, retry_exceptions=[TryAgain]
    )
    waiting = [
        task.remote(shard, args.shards, args.cpus, args.out, args.flags)
        for shard in range(1, args.shards + 1)
    ]
    problems = []
    while waiting:
        ready, waiting = ray.wait(waiting)
        try:
            shard, problem = ray.get(ready[0])
        except ray.exceptions.RayError as error:
            shard, problem = "a shard", str(error)
        if problem:
            problems.append(problem)
        print(f"{args.shards - len(waiting)} of {args.shards} shards ended", file=sys.stderr)
    if problems:
        sys.exit(f"{len(problems)} shards failed; run again, the others are kept\n{problems[0]}")
    sys.exit(subprocess.run(["actviz", "merge", args.out]).returncode)


if __name__ == "__main__":
    main()
