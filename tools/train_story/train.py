"""Trains the model. Fixed seed; a checkpoint every few minutes, from which a new run goes on."""
import argparse
import json
import os
import pathlib
import time

# BLAS and OpenMP have a pool of threads each: one that spins while it waits starves the other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch  # noqa: E402  (the variable is read when the library is loaded)

import corpus  # noqa: E402
from model import Llama, Shape  # noqa: E402

WARMUP = 40
DECAY = 0.45          # share of the steps, at the end, in which the rates fall to zero
MUON_RATE, ADAM_RATE = 0.02, 4e-3
TOKENS_PER_BATCH = 4096
PACKED_EVERY = 16


def orthogonal(g, rounds=5):
    """The nearest matrix with all singular values near 1 (Newton-Schulz, odd quintic)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.t() if g.shape[0] > g.shape[1] else g
    x = x / (x.norm() + 1e-7)
    for _ in range(rounds):
        s = x @ x.t()
        x = a * x + (b * s + c * s @ s) @ x
    return x.t() if g.shape[0] > g.shape[1] else x


class Muon(torch.optim.Optimizer):
    """Momentum whose step is orthogonalized: every direction of a weight matrix learns alike."""

    def __init__(self, params, lr, momentum=0.95, decay=0.01):
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if "m" not in state:
                    state["m"] = torch.zeros_like(p)
                state["m"].mul_(group["momentum"]).add_(p.grad)
                step = orthogonal(p.grad.add(state["m"], alpha=group["momentum"]))
                step *= max(1.0, p.shape[0] / p.shape[1]) ** 0.5
                p.mul_(1 - group["lr"] * group["decay"]).add_(step, alpha=-group["lr"])


def rate_at(step, steps):
    if step < WARMUP:
        return (step + 1) / WARMUP
    return min(1.0, (steps - step) / (DECAY * steps))


def optimizers(model):
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and "embd" not in n]
    others = [p for n, p in model.named_parameters() if p.dim() == 1 or "embd" in n]
    return [Muon(matrices, MUON_RATE),
            torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.97), weight_decay=0.0)]


def save(path, model, opts, step):
    tmp = path.with_suffix(".tmp")
    torch.save({"model": model.state_dict(), "opts": [o.state_dict() for o in opts],
                "step": step}, tmp)
    tmp.replace(path)


def train(work, steps, seed, save_every=50):
    torch.manual_seed(seed)
    tok = corpus.load_tokenizer(work / "tokenizer.json")
    model = Llama(Shape(vocab=len(tok.tokens)))
    print("parameters: %d" % sum(p.numel() for p in model.parameters()))
    opts = optimizers(model)
    base = [[g["lr"] for g in o.param_groups] for o in opts]
    path, start = work / "checkpoint.pt", 0
    if path.exists():
        saved = torch.load(path)
        start = saved["step"]
        model.load_state_dict(saved["model"])
        for opt, state in zip(opts, saved["opts"]):
            opt.load_state_dict(state)
    source = corpus.batches(tok, TOKENS_PER_BATCH, model.shape.context, PACKED_EVERY)
    seen, average, begun = 0, None, time.time()
    for step in range(steps):
        ids, mask = next(source)
        if step < start:
            continue
        for opt, rates in zip(opts, base):
            for group, rate in zip(opt.param_groups, rates):
                group["lr"] = rate * rate_at(step, steps)
        loss = model.loss(torch.from_numpy(ids), torch.from_numpy(mask))
        for opt in opts:
            opt.zero_grad()
        loss.backward()
        for opt in opts:
            opt.step()
        seen += ids.size
        average = loss.item() if average is None else 0.97 * average + 0.03 * loss.item()
        if step % 20 == 0 or step == steps - 1:
            print("step %d/%d  loss %.3f  %.0f tokens/s  %.0f s" % (
                step, steps, average, seen / (time.time() - begun), time.time() - begun),
                flush=True)
        if (step + 1) % save_every == 0 or step == steps - 1:
            save(path, model, opts, step + 1)
    (work / "train.json").write_text(json.dumps({"steps": steps, "loss": average, "seed": seed}))
    return model, tok


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("build/train_story"))
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    args.work.mkdir(parents=True, exist_ok=True)
    train(args.work, args.steps, args.seed)


if __name__ == "__main__":
    main()
