"""Builds the training corpus: documents as token ids with a mask of the tokens to learn."""
import json
import random

import numpy as np

import bpe
import chat
import stories

VOCAB_SIZE = 1536
SEED = 20240601
# Share of documents by kind; a story has about 160 tokens, a question chat about 50.
# Documents are cut short at first: (until this batch, this many tokens). Who is meant is learned
# far sooner where a name and its first repetition are all there is to look at.
GROWTH = [(200, 32), (400, 64), (600, 128)]
REQUEST_LENGTH = 72
MIX = [("story", 0.22), ("story_chat", 0.25), ("question_chat", 0.53)]


def draw_document(rng):
    """A plain story (str) or a chat (list of (role, text))."""
    roll = rng.random()
    if roll < MIX[0][1]:
        return stories.story(rng)
    if roll < MIX[0][1] + MIX[1][1]:
        return chat.story_chat(rng)
    return chat.question_chat(rng)


def train_tokenizer():
    rng = random.Random(SEED)
    texts = []
    for _ in range(6000):
        doc = draw_document(rng)
        texts += [doc] if isinstance(doc, str) else [text for _, text in doc]
    return bpe.Tokenizer(bpe.train(texts, VOCAB_SIZE))


def encode_chat(tok, turns):
    """Ids and learn-mask of a chat: only what the assistant says (with its end) is learned."""
    ids, mask = [], []
    for role, text in turns:
        part = [tok.special(role)] + tok.encode(text) + [tok.special("end")]
        ids += part
        mask += [0] + [1 if role == "assistant" else 0] * (len(part) - 1)
    return ids, mask


def encode_document(tok, doc, rng):
    if not isinstance(doc, str):
        return encode_chat(tok, doc)
    if rng.random() < 0.15:  # start at some later sentence, as a reader's prompt may
        at = rng.randrange(len(doc) // 2)
        doc = doc[doc.find(". ", at) + 2:]
    ids = tok.encode(doc) + [tok.special("end")]
    mask = [1] * len(ids)
    if rng.random() < 0.5:
        ids, mask = [tok.special("endoftext")] + ids, [0] + mask
    return ids, mask


def documents(tok, seed):
    """Endless documents; the same seed gives the same ones."""
    rng = random.Random(seed)
    while True:
        yield encode_document(tok, draw_document(rng), rng)


def _pad(rows, width):
    ids = np.zeros((len(rows), width), dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.float32)
    for n, (row, learn) in enumerate(rows):
        ids[n, :len(row)] = row
        mask[n, :len(row)] = learn
    return ids, mask


def _packed(tok, source, rows, width):
    """Rows of whole documents, one after the other: teaches far positions and a fresh start."""
    out = []
    for _ in range(rows):
        ids, mask = [], []
        while len(ids) < width:
            more, learn = next(source)
            if more[0] != tok.special("endoftext"):
                more, learn = [tok.special("endoftext")] + more, [1] + learn
            ids += more
            mask += learn
        out.append((ids[:width], mask[:width]))
    return _pad(out, width)


def batches(tok, tokens_per_batch, context, packed_every, seed=SEED, growth=GROWTH):
    """Endless batches (ids, mask): mostly documents of like length side by side, each starting at
    position 0 as in use; every `packed_every`-th batch is packed rows of the whole context."""
    source = documents(tok, seed + 1)
    rng = random.Random(seed + 2)
    count = 0
    while True:
        limit = next((length for until, length in growth if count < until), context)
        pool = [(ids[:limit], mask[:limit]) for ids, mask in
                (next(source) for _ in range(3000 if limit == context else 1500))]
        pool.sort(key=lambda d: len(d[0]))
        pool = [d for d in pool if len(d[0]) <= context]
        ready, start = [], 0
        while start < len(pool):
            end = start + 1
            while end < len(pool) and len(pool[end][0]) * (end + 1 - start) <= tokens_per_batch:
                end += 1
            ready.append(_pad(pool[start:end], len(pool[end - 1][0])))
            start = end
        rng.shuffle(ready)
        for batch in ready:
            count += 1
            if limit == context and count % packed_every == 0:
                yield _packed(tok, source, max(1, tokens_per_batch // context), context)
            yield batch


def request_batches(tok, tokens_per_batch, context, seed=SEED):
    """Batches for the end of the training, by turns: requests for a story with only the story's
    start, where it shows whether the request was heeded, and whole documents of all kinds."""
    rng = random.Random(seed + 3)
    whole = batches(tok, tokens_per_batch, context, packed_every=12, seed=seed + 4, growth=())
    while True:
        rows = []
        while (len(rows) + 1) * REQUEST_LENGTH <= tokens_per_batch:
            ids, mask = encode_chat(tok, chat.story_chat(rng))
            rows.append((ids[:REQUEST_LENGTH], mask[:REQUEST_LENGTH]))
        yield _pad(rows, REQUEST_LENGTH)
        yield next(whole)


def load_tokenizer(path):
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(train_tokenizer().merges))
    return bpe.Tokenizer(json.loads(path.read_text()))
