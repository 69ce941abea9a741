"""Makes models/story.gguf from nothing: corpus, tokenizer, training, export, evaluation.

An interrupted run goes on from its last checkpoint when it is started again.
"""
import argparse
import hashlib
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def run(script, threads, *options):
    # Large buffers are kept rather than given back and faulted in anew at every step; and BLAS and
    # OpenMP have a pool of threads each, of which one that spins would starve the other.
    env = dict(os.environ, MALLOC_MMAP_THRESHOLD_="1000000000", MALLOC_TRIM_THRESHOLD_="4000000000",
               OMP_WAIT_POLICY="PASSIVE", OPENBLAS_NUM_THREADS=str(threads))
    subprocess.run([sys.executable, HERE / script, *map(str, options)], check=True, env=env)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/train_story",
                        help="folder for the tokenizer and checkpoints")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "models/story.gguf")
    parser.add_argument("--threads", type=int, default=1,
                        help="for training; another number may change the last bits")
    args = parser.parse_args()
    run("train.py", args.threads, "--work", args.work, "--threads", args.threads)
    run("export.py", 1, "--work", args.work, "--out", args.out)
    run("evaluate.py", 1, "--model", args.out)
    print("sha256 %s" % hashlib.sha256(args.out.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
