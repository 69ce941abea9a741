"""Trains the model. Fixed seed; a checkpoint every few minutes, from which a new run goes on."""
import argparse
import pathlib
import time

import torch

import corpus
from model import Llama, Shape

WARMUP = 60
DECAY = 0.45          # share of the main steps, at their end, in which the rates fall to zero
MAIN_STEPS, REQUEST_STEPS = 4200, 3500
REQUEST_RATE = 0.8    # of the main rate, at the start of the request steps
RATE, EMBEDDING_RATE = 2.5e-3, 4e-3
TOKENS_PER_BATCH = 2048
PACKED_EVERY = 16


def rate_at(step):
    if step < WARMUP:
        return (step + 1) / WARMUP
    if step < MAIN_STEPS:
        return min(1.0, (MAIN_STEPS - step) / (DECAY * MAIN_STEPS))
    done = step - MAIN_STEPS
    return REQUEST_RATE * min((done + 1) / WARMUP, 1 - done / REQUEST_STEPS)


def optimizer(model):
    embedding = model.token_embd.weight
    others = [p for p in model.parameters() if p is not embedding]
    return torch.optim.AdamW([{"params": others, "lr": RATE},
                              {"params": [embedding], "lr": EMBEDDING_RATE}],
                             betas=(0.9, 0.97), weight_decay=0.01)


def save(path, model, opt, step):
    tmp = path.with_suffix(".tmp")
    torch.save({"model": model.state_dict(), "opt": opt.state_dict(),
                "step": step}, tmp)
    tmp.replace(path)


def train(work, seed, save_every=100):
    torch.manual_seed(seed)
    tok = corpus.load_tokenizer(work / "tokenizer.json")
    model = Llama(Shape(vocab=len(tok.tokens)))
    print("parameters: %d" % sum(p.numel() for p in model.parameters()))
    opt = optimizer(model)
    rates = [g["lr"] for g in opt.param_groups]
    path, start = work / "checkpoint.pt", 0
    if path.exists():
        saved = torch.load(path)
        start = saved["step"]
        model.load_state_dict(saved["model"])
        opt.load_state_dict(saved["opt"])
    source = corpus.batches(tok, TOKENS_PER_BATCH, model.shape.context, PACKED_EVERY)
    requests = corpus.request_batches(tok, TOKENS_PER_BATCH, model.shape.context)
    seen, average, begun = 0, None, time.time()
    steps = MAIN_STEPS + REQUEST_STEPS
    for step in range(steps):
        ids, mask = next(source if step < MAIN_STEPS else requests)
        if step < start:
            continue
        for group, rate in zip(opt.param_groups, rates):
            group["lr"] = rate * rate_at(step)
        loss = model.loss(torch.from_numpy(ids), torch.from_numpy(mask))
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        seen += ids.size
        average = loss.item() if average is None else 0.97 * average + 0.03 * loss.item()
        if step % 20 == 0 or step == steps - 1:
            print("step %d/%d  loss %.3f  %.0f tokens/s  %.0f s" % (
                step, steps, average, seen / (time.time() - begun), time.time() - begun),
                flush=True)
        if (step + 1) % save_every == 0 or step == steps - 1:
            save(path, model, opt, step + 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("build/train_story"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    args.work.mkdir(parents=True, exist_ok=True)
    train(args.work, args.seed)


if __name__ == "__main__":
    main()
