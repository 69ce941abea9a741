"""Runs the finished GGUF with numpy alone: what the evaluation uses, and a second opinion on how
the file is to be read. One sequence at a time, with a key-value cache."""
import numpy as np

import bpe
import gguf


class Runner:
    def __init__(self, path):
        file = gguf.Reader(path)
        self.meta, self.w = file.meta, file.tensors
        self.tok = bpe.Tokenizer(m.split(" ") for m in self.meta["tokenizer.ggml.merges"])
        if self.tok.tokens != self.meta["tokenizer.ggml.tokens"]:
            raise ValueError("%s: tokens and merges do not belong together" % path)
        self.end = self.meta["tokenizer.ggml.eos_token_id"]
        self.context = self.meta["llama.context_length"]
        self.layers = self.meta["llama.block_count"]
        self.heads = self.meta["llama.attention.head_count"]
        self.kv_heads = self.meta["llama.attention.head_count_kv"]
        self.dim = self.meta["llama.embedding_length"] // self.heads
        base = self.meta["llama.rope.freq_base"]
        freq = base ** (-np.arange(0, self.dim, 2) / self.dim)
        angle = np.outer(np.arange(self.context), freq)
        self.turn = np.exp(1j * angle).astype(np.complex64)
        self.reset()

    def reset(self):
        shape = (self.layers, self.context, self.kv_heads, self.dim)
        self.k, self.v = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.length = 0

    def _norm(self, x, name):
        eps = self.meta["llama.attention.layer_norm_rms_epsilon"]
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * self.w[name + ".weight"]

    def _linear(self, x, name):
        return x @ self.w[name + ".weight"].T

    def _rotate(self, x, at):
        pairs = x.reshape(*x.shape[:-1], -1, 2)
        turned = (pairs[..., 0] + 1j * pairs[..., 1]) * self.turn[at:at + len(x), None]
        return np.stack((turned.real, turned.imag), -1).reshape(x.shape)

    def _attention(self, x, name, layer):
        count, at = len(x), self.length
        q = self._rotate(self._linear(x, name + "attn_q").reshape(count, self.heads, -1), at)
        k = self._rotate(self._linear(x, name + "attn_k").reshape(count, self.kv_heads, -1), at)
        self.k[layer, at:at + count] = k
        self.v[layer, at:at + count] = self._linear(x, name + "attn_v").reshape(k.shape)
        group = self.heads // self.kv_heads
        q = q.reshape(count, self.kv_heads, group, self.dim).transpose(1, 2, 0, 3)
        keys = self.k[layer, :at + count].transpose(1, 2, 0)[:, None]
        scores = q @ keys / np.sqrt(self.dim)
        scores += np.triu(np.full((count, at + count), -np.inf, np.float32), at + 1)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        mixed = scores @ self.v[layer, :at + count].transpose(1, 0, 2)[:, None]
        return self._linear(mixed.transpose(2, 0, 1, 3).reshape(count, -1), name + "attn_output")

    def forward(self, ids):
        """Logits after each of the new tokens, which follow those given before."""
        if self.length + len(ids) > self.context:
            raise ValueError("the context of %d tokens is full" % self.context)
        x = self.w["token_embd.weight"][ids]
        for layer in range(self.layers):
            name = "blk.%d." % layer
            x = x + self._attention(self._norm(x, name + "attn_norm"), name, layer)
            h = self._norm(x, name + "ffn_norm")
            gate = self._linear(h, name + "ffn_gate")
            h = gate / (1 + np.exp(-gate)) * self._linear(h, name + "ffn_up")
            x = x + self._linear(h, name + "ffn_down")
        self.length += len(ids)
        return self._norm(x, "output_norm") @ self.w["token_embd.weight"].T

    def generate(self, ids, limit, temperature=0.0, rng=None, ignore_end=False):
        """Up to `limit` new ids; stops after the end token. rng: numpy's Generator."""
        self.reset()
        logits, out = self.forward(ids)[-1], []
        while len(out) < limit:
            if temperature > 0:
                p = np.exp((logits - logits.max()).astype(np.float64) / temperature)
                token = int(rng.choice(len(p), p=p / p.sum()))
            else:
                token = int(logits.argmax())
            out.append(token)
            if (token == self.end and not ignore_end) or self.length == self.context:
                break
            logits = self.forward([token])[-1]
        return out

    def chat_ids(self, turns):
        """The ids of a chat that waits for the assistant's answer."""
        ids = []
        for role, text in turns:
            ids += [self.tok.special(role)] + self.tok.encode(text) + [self.end]
        return ids + [self.tok.special("assistant")]
