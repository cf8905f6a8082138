"""The layers as training wants them: rows of equal length side by side, matrix products in bfloat16 (quick on CPUs
with AMX), everything else in float32 and fused by torch.compile.

Only the positions that are scored go through the last layer and the head; the others only give it keys and values.
"""
import functools
import pathlib

import torch
import torch.nn.functional as F
import torch.utils.cpp_extension

import model
from model import C

CHUNK = 32                  # tokens per step of the delta rule; half of it times the decay must stay under 80 nats
DECAY_LIMIT = 2.5           # nats per token from which a penalty sets in
DECAY_PRICE = 0.03          # of the mean square of what is above it


@functools.cache
def extension():
    """kda.cc, compiled on first use."""
    here = pathlib.Path(__file__).parent
    build = here / "run" / "extension"
    build.mkdir(parents=True, exist_ok=True)
    return torch.utils.cpp_extension.load("tiny_model_kda", [here / "kda.cc"], build_directory=build,
                                          extra_cflags=["-O3", "-march=native", "-ffast-math", "-std=c++17"])


def linear(x, w):
    return F.linear(x, w.bfloat16())


def normed(x, ln, eps=C["eps"]):
    return (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * ln).bfloat16()


def kda_in(x, ln, wq, wk, wv, f_a, f_b, b, g_a, g_b):
    """The projections of a KDA layer: q, k, v side by side, raw decay, beta, output gate."""
    a = normed(x, ln)
    return linear(a, torch.cat([wq, wk, wv])), linear(linear(a, f_a), f_b), torch.sigmoid(linear(a, b).float()), \
        linear(linear(a, g_a), g_b)


class Prepare(torch.autograd.Function):
    """Convolution, norms and decay (kda.cc). Queries and keys come scaled by the decay since the chunk's middle."""

    @staticmethod
    def forward(ctx, p, raw, conv, a, dt):
        ctx.save_for_backward(p, raw, conv, a, dt)
        return tuple(extension().forward(p, raw, conv, a, dt))

    @staticmethod
    def backward(ctx, *grads):
        p, raw, conv, a, dt = ctx.saved_tensors
        price = DECAY_PRICE / raw.numel()
        dp, draw, dconv, da, ddt = extension().backward(p, raw, conv, a, dt, [g.contiguous() for g in grads],
                                                        DECAY_LIMIT, price)
        return dp.bfloat16(), draw.bfloat16(), dconv, da, ddt


class Recurrence(torch.autograd.Function):
    """u_c = uv_c - w_c R_c;  R_{c+1} = exp(shift_c) (R_c + kd_c^T u_c). Returns u and R of every chunk."""

    @staticmethod
    def forward(ctx, uv, w, kd, shift):
        fade = shift.exp()
        states, us = torch.empty(len(uv), uv.shape[1], w.shape[-1], uv.shape[-1]), torch.empty_like(uv)
        states[0] = 0
        for c in range(len(uv)):
            torch.baddbmm(uv[c], w[c], states[c], alpha=-1, out=us[c])
            if c + 1 < len(uv):
                torch.baddbmm(states[c], kd[c].mT, us[c], out=states[c + 1])
                states[c + 1].mul_(fade[c])
        ctx.save_for_backward(w, kd, fade, states, us)
        return us, states

    @staticmethod
    def backward(ctx, dus, dstates):
        w, kd, fade, states, us = ctx.saved_tensors
        du, grown = torch.empty_like(us), torch.empty_like(states)
        grown[-1] = 0
        dshift = torch.empty_like(fade)
        d = None
        for c in reversed(range(len(us))):
            if d is None:
                du[c] = dus[c]
                d = torch.baddbmm(dstates[c], w[c].mT, du[c], alpha=-1)
            else:
                dshift[c] = (states[c + 1] * d).sum(-1, keepdim=True)
                torch.mul(d, fade[c], out=grown[c])
                torch.baddbmm(dus[c], kd[c], grown[c], out=du[c])
                d = torch.baddbmm(dstates[c], w[c].mT, du[c], alpha=-1).add_(grown[c])
        return du, -(du @ states.mT), us @ grown.mT, dshift


def delta_rule(p, raw, beta, conv, a_log, dt_bias, eye):
    """The gated delta rule for every row and head; [chunks, rows * heads, CHUNK, dim]."""
    rows, length, h = beta.shape
    q, ku, kd, v, middle, last = Prepare.apply(p, raw, conv, a_log.exp(), dt_bias)
    beta = beta.view(rows, length // CHUNK, CHUNK, h).permute(1, 0, 3, 2).reshape(length // CHUNK, rows * h, CHUNK, 1)
    shift = (last[:-1] - middle[:-1] + middle[1:])[..., None]      # from one chunk's middle to the next one's
    akk = torch.tril(ku @ kd.mT, -1) * beta
    inverse = torch.linalg.solve_triangular(akk + eye, eye.expand_as(akk).contiguous(), upper=False) * beta.mT
    us, states = Recurrence.apply(inverse @ v, inverse @ ku, kd, shift)
    return q @ states + torch.tril(q @ kd.mT) @ us


def kda_out(x, o, gate, o_norm, wo):
    rows, length, d = x.shape
    h, k = C["kda_heads"], C["kda_dim"]
    o = o.view(length // CHUNK, rows, h, CHUNK, k).permute(1, 0, 3, 2, 4).reshape(rows, length, h, k)
    o = o * torch.rsqrt(o.square().mean(-1, keepdim=True) + C["eps"]) * o_norm
    z = o.reshape(rows, length, h * k) * torch.sigmoid(gate.float())
    return x + linear(z.bfloat16(), wo).float()


def dense(x, ln, gate, up, down):
    a = normed(x, ln)
    return x + linear(F.silu(linear(a, gate).float()).bfloat16() * linear(a, up), down).float()


def moe(x, ln, router, bias, w1, w3, w2):
    """All experts are computed and weighted: at this size quicker than gathering. Returns (x, load)."""
    a = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + C["eps"]) * ln
    score = torch.sigmoid(F.linear(a, router))
    choice = score.detach() + bias
    first = choice == choice.amax(-1, keepdim=True)
    rest = choice.masked_fill(first, -1e9)
    chosen = (first | (rest == rest.amax(-1, keepdim=True))).float()
    weight = score * chosen
    weight = weight / (weight.sum(-1, keepdim=True) + 1e-20) * C["routed_scaling_factor"]
    weight = torch.cat([weight, torch.ones_like(weight[..., :1])], -1)
    e, w, d = w1.shape
    a = a.bfloat16()
    h = F.silu(linear(a, w1.view(e * w, d)).float()) * linear(a, w3.view(e * w, d)).float()
    h = (h.view(*h.shape[:-1], e, w) * weight[..., None]).view(h.shape).bfloat16()
    y = linear(h, w2.transpose(0, 1).reshape(d, e * w))
    return x + y.float(), chosen.mean(tuple(range(chosen.dim() - 1)))


def mla(x, at, ln, wq, kv_a, kv_ln, kv_b, wo):
    """Full attention for the positions `at` [rows, kept]; returns their residual stream."""
    rows, length, d = x.shape
    h = C["mla_heads"]
    a = normed(x, ln)
    some = at[..., None].expand(-1, -1, d)
    q = linear(a.gather(1, some), wq).view(rows, -1, h, C["nope"] + C["rope"]).transpose(1, 2)
    latent, shared = linear(a, kv_a).split([C["kv_lora"], C["rope"]], -1)
    kv = linear(normed(latent.float(), kv_ln, C["kv_eps"]), kv_b).view(rows, length, h, -1).transpose(1, 2)
    k = torch.cat([kv[..., :C["nope"]], shared[:, None].expand(-1, h, -1, -1)], -1)
    s = (q @ k.mT).float() * (C["nope"] + C["rope"]) ** -0.5
    s = s.masked_fill(torch.arange(length) > at[:, None, :, None], -1e30)
    o = s.softmax(-1).bfloat16() @ kv[..., C["nope"]:]
    o = o.transpose(1, 2).reshape(rows, at.shape[1], -1)
    return x.gather(1, some) + linear(o, wo).float()


def score(x, norm, head, targets):
    """Negative log-likelihood and whether the target is the best guess, per position."""
    s = linear(normed(x, norm), head).float()
    right = s.gather(-1, targets[..., None])[..., 0]
    return s.logsumexp(-1) - right, right >= s.amax(-1)


class Network:
    """Runs the layers over a batch."""

    def __init__(self, compiled=True):
        wrap = (lambda f: torch.compile(f, dynamic=False)) if compiled else (lambda f: f)
        self.kda_in, self.kda_out, self.dense, self.moe, self.mla, self.score = map(
            wrap, (kda_in, kda_out, dense, moe, mla, score))
        self.eye = torch.eye(CHUNK)

    def __call__(self, w, ids, at, targets):
        """ids [rows, length]; at, targets [rows, kept]. Returns (nll, right, experts' loads)."""
        x, loads = F.embedding(ids, w["embed"]), {}
        for i in range(C["num_hidden_layers"]):
            g = lambda *names: [w[f"{i}.{n}"] for n in names]
            if model.is_mla(i):
                x = self.mla(x, at, *g("ln1", "q", "kv_a", "kv_ln", "kv_b", "o"))
            else:
                p, raw, beta, gate = self.kda_in(x, *g("ln1", "q", "k", "v", "f_a", "f_b", "b", "g_a", "g_b"))
                o = delta_rule(p, raw, beta, *g("conv", "A_log", "dt_bias"), self.eye)
                x = self.kda_out(x, o, gate, *g("o_norm", "o"))
            if i == 0:
                x = self.dense(x, *g("ln2", "gate", "up", "down"))
            else:
                x, loads[i] = self.moe(x, *g("ln2", "router", "bias", "w1", "w3", "w2"))
        return *self.score(x, w["norm"], w["head"], targets), loads
