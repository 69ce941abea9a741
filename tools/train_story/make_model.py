"""Makes models/story.gguf from nothing: corpus, tokenizer, training, export, evaluation.

An interrupted run goes on from its last checkpoint when it is started again.
"""
import argparse
import hashlib
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def run(script, *options):
    subprocess.run([sys.executable, HERE / script, *map(str, options)], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/train_story",
                        help="folder for the tokenizer and checkpoints")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "models/story.gguf")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    run("train.py", "--work", args.work, "--threads", args.threads)
    run("export.py", "--work", args.work, "--out", args.out)
    run("evaluate.py", "--model", args.out)
    print("sha256 %s" % hashlib.sha256(args.out.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
