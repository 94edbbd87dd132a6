"""A sharded run on a Ray cluster, or on this machine alone.

    python examples/scaling/ray_render.py --shards 100 --out /shared/out -- \
        --model resnet50 /shared/photos

Every machine needs actviz (on the PATH that Ray was started with), the models, the images
and OUT under the same paths: a shared file system. A shard is a task: when a worker or its
machine dies, Ray runs it again elsewhere, and it keeps what is whole. At the end the shards
are merged.

Exits as `actviz merge` does; with 2 if a shard failed for good, with 75 if one did not
succeed in all its tries. Then nothing is merged, and running it again keeps what is whole.

To change: --address of a running cluster (`auto`: the one of this machine; one with token
authentication also wants RAY_AUTH_MODE=token), --cpus of a task (also its threads),
--retries.
"""

import argparse
import os
import subprocess
import sys

import ray

# What actviz's exit codes mean to a scheduler.
DONE, SOME_IMAGES_FAILED, WRONG, LATER = 0, 1, 2, 75


class TryAgain(Exception):
    """The shard may work on the next try: no room, no memory, killed, interrupted."""


def render(shard, shards, threads, out, flags):
    """Makes a shard; what is wrong if no other try can help, else None."""
    command = ["actviz", "render", "--quiet", "--threads", str(threads), "-o", out]
    command += ["--shard", f"{shard}/{shards}", *flags]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")
    sys.stderr.write(done.stderr)
    if done.returncode in (DONE, SOME_IMAGES_FAILED):
        return None
    if done.returncode == WRONG:
        return done.stderr.strip()
    raise TryAgain(f"shard {shard}/{shards}: exit code {done.returncode}\n{done.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shards", type=int, required=True, help="about 10 for each core")
    parser.add_argument("--out", required=True, help="a folder that every machine sees")
    parser.add_argument(
        "--address", help="of a running cluster; default: RAY_ADDRESS, or this machine alone"
    )
    parser.add_argument("--cpus", type=int, default=1, help="cores, and threads, of a task")
    parser.add_argument("--retries", type=int, default=3)
    parser.add_argument("flags", nargs="+", help="after --: the flags of actviz render")
    args = parser.parse_args()

    address = args.address or os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address=address)
    else:
        # Without "local", Ray takes any cluster that it finds on this machine.
        ray.init(address="local", include_dashboard=False, _node_ip_address="127.0.0.1")
    task = ray.remote(render).options(
        num_cpus=args.cpus, max_retries=args.retries, retry_exceptions=[TryAgain]
    )
    # A worker's own folder may be another one. Nothing stays nothing, which actviz refuses.
    out = args.out and os.path.abspath(args.out)
    waiting = [
        task.remote(shard, args.shards, args.cpus, out, args.flags)
        for shard in range(1, args.shards + 1)
    ]
    wrong, later = [], []
    while waiting:
        ready, waiting = ray.wait(waiting)
        try:
            problem = ray.get(ready[0])
            wrong += [problem] if problem else []
        except ray.exceptions.RayTaskError as error:
            # Other than TryAgain: the task itself cannot work, e.g. there is no actviz.
            (later if isinstance(error, TryAgain) else wrong).append(str(error))
        except ray.exceptions.RayError as error:
            # Workers and machines that died too often.
            later.append(str(error))
        print(f"{args.shards - len(waiting)} of {args.shards} shards ended", file=sys.stderr)
    if wrong or later:
        print(f"{len(wrong + later)} shards failed\n{(wrong + later)[0]}", file=sys.stderr)
        sys.exit(WRONG if wrong else LATER)
    sys.exit(subprocess.run(["actviz", "merge", out]).returncode)


if __name__ == "__main__":
    main()
