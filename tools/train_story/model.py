"""The model: a small llama. Shapes follow GGUF's llama architecture exactly.

RMSNorm before each half-block, rotary positions on neighbouring pairs (2i, 2i+1) of each head,
grouped-query attention, SwiGLU, and an output matrix tied to the embedding.
"""
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


# Tokens must stay recognizable among what the blocks add to the stream: larger than the usual 0.02.
EMBEDDING_SCALE = 0.1


@dataclass
class Shape:
    vocab: int = 1536
    width: int = 192
    layers: int = 4
    heads: int = 6
    kv_heads: int = 3
    ffn: int = 512
    context: int = 1024
    rope_base: float = 10000.0
    eps: float = 1e-5

    @property
    def head_dim(self):
        return self.width // self.heads


class RmsNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rope_table(shape):
    """cos and sin, [context, head_dim / 2]."""
    freq = shape.rope_base ** (-torch.arange(0, shape.head_dim, 2).double() / shape.head_dim)
    angle = torch.outer(torch.arange(shape.context).double(), freq)
    return angle.cos().float(), angle.sin().float()


def rotate(x, cos, sin):
    """x: [batch, time, heads, head_dim]; each neighbouring pair is turned by its angle."""
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = cos[:, None], sin[:, None]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


class Block(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.s = shape
        width, kv_width = shape.width, shape.kv_heads * shape.head_dim
        self.attn_norm, self.ffn_norm = RmsNorm(width, shape.eps), RmsNorm(width, shape.eps)
        self.attn_q = nn.Linear(width, width, bias=False)
        self.attn_k = nn.Linear(width, kv_width, bias=False)
        self.attn_v = nn.Linear(width, kv_width, bias=False)
        self.attn_output = nn.Linear(width, width, bias=False)
        self.ffn_gate = nn.Linear(width, shape.ffn, bias=False)
        self.ffn_up = nn.Linear(width, shape.ffn, bias=False)
        self.ffn_down = nn.Linear(shape.ffn, width, bias=False)

    def attention(self, x, cos, sin, block):
        s, (batch, time, _) = self.s, x.shape
        q = rotate(self.attn_q(x).view(batch, time, s.heads, -1), cos, sin)
        k = rotate(self.attn_k(x).view(batch, time, s.kv_heads, -1), cos, sin)
        v = self.attn_v(x).view(batch, time, s.kv_heads, -1)
        group = s.heads // s.kv_heads
        # One matrix per key-value head: its group's queries lie one under the other.
        q = q.view(batch, time, s.kv_heads, group, -1).permute(0, 2, 3, 1, 4)
        q = q.reshape(batch * s.kv_heads, group * time, -1) * s.head_dim ** -0.5
        k = k.permute(0, 2, 3, 1).reshape(batch * s.kv_heads, -1, time)
        v = v.permute(0, 2, 1, 3).reshape(batch * s.kv_heads, time, -1)
        scores = torch.bmm(q, k).view(-1, group, time, time) + block
        mixed = torch.bmm(torch.softmax(scores, -1).view(-1, group * time, time), v)
        mixed = mixed.view(batch, s.kv_heads, group, time, -1).permute(0, 3, 1, 2, 4)
        return self.attn_output(mixed.reshape(batch, time, -1))

    def forward(self, x, cos, sin, block):
        x = x + self.attention(self.attn_norm(x), cos, sin, block)
        h = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h))


class Llama(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocab, shape.width)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = RmsNorm(shape.width, shape.eps)
        cos, sin = rope_table(shape)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                scale = EMBEDDING_SCALE if "embd" in name else p.shape[1] ** -0.5
                if "output" in name or "down" in name:
                    scale *= (2 * shape.layers) ** -0.5
                nn.init.normal_(p, std=scale)
        # The embedding is also the output matrix: its size is taken back here.
        nn.init.constant_(self.output_norm.weight, 1 / (EMBEDDING_SCALE * shape.width ** 0.5))

    def hidden(self, ids):
        time = ids.shape[1]
        block = torch.full((time, time), float("-inf")).triu(1)
        x = self.token_embd(ids)
        for layer in self.blk:
            x = layer(x, self.cos[:time], self.sin[:time], block)
        return self.output_norm(x)

    def forward(self, ids):
        return F.linear(self.hidden(ids), self.token_embd.weight)

    def loss(self, ids, mask):
        """Mean cross entropy of the tokens that are to be learned (mask 1)."""
        x, want, learn = self.hidden(ids[:, :-1]), ids[:, 1:], mask[:, 1:].bool()
        return F.cross_entropy(F.linear(x[learn], self.token_embd.weight), want[learn])
