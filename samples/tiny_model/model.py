"""The model's shape, its first weights, and its mathematics in plain PyTorch: a Reader that keeps the state, as an
engine does. Training runs the same mathematics in layers.py.

Weights are a plain dict: name -> tensor. Norms, gates, routing and the residual stream are float32, whatever the
weights' type.
"""
import math

import torch
import torch.nn.functional as F

C = {
    "vocab_size": 2048, "hidden_size": 192, "num_hidden_layers": 4, "full_attn_layers": [4], "kda_heads": 2,
    "kda_dim": 128, "mla_heads": 2, "nope": 128, "rope": 64, "v": 128, "kv_lora": 512, "intermediate": 384,
    "experts": 8, "top_k": 2, "expert_width": 64, "routed_scaling_factor": 2.446, "eps": 1e-5, "kv_eps": 1e-6,
}
KDA = C["kda_heads"] * C["kda_dim"]
GROUP = 32


def is_mla(layer):
    """Whether a layer (0-based) is full attention."""
    return layer + 1 in C["full_attn_layers"]


def shapes():
    """name -> (shape, role) of every weight. Roles: big (may be stored in 4 bits), small, norm, f32."""
    d, out = C["hidden_size"], {}
    out["embed"] = ((C["vocab_size"], d), "big")
    out["head"] = ((C["vocab_size"], d), "big")
    out["norm"] = ((d,), "norm")
    for i in range(C["num_hidden_layers"]):
        layer = {"ln1": ((d,), "norm"), "ln2": ((d,), "norm")}
        if is_mla(i):
            h = C["mla_heads"]
            layer |= {"q": ((h * (C["nope"] + C["rope"]), d), "big"), "kv_a": ((C["kv_lora"] + C["rope"], d), "big"),
                      "kv_ln": ((C["kv_lora"],), "norm"),
                      "kv_b": ((h * (C["nope"] + C["v"]), C["kv_lora"]), "big"), "o": ((d, h * C["v"]), "big")}
        else:
            k = C["kda_dim"]
            layer |= {n: ((KDA, d), "big") for n in "qkv"}
            layer |= {"conv": ((3 * KDA, 4), "small"), "f_a": ((k, d), "small"), "f_b": ((KDA, k), "small"),
                      "b": ((C["kda_heads"], d), "small"), "g_a": ((k, d), "small"), "g_b": ((KDA, k), "small"),
                      "A_log": ((C["kda_heads"],), "f32"), "dt_bias": ((KDA,), "f32"), "o_norm": ((k,), "norm"),
                      "o": ((d, KDA), "big")}
        if i == 0:
            w = C["intermediate"]
            layer |= {"gate": ((w, d), "big"), "up": ((w, d), "big"), "down": ((d, w), "big")}
        else:                                    # expert 8 of each stack is the shared one
            e, w = C["experts"], C["expert_width"]
            layer |= {"router": ((e, d), "small"), "bias": ((e,), "f32"), "w1": ((e + 1, w, d), "big"),
                      "w3": ((e + 1, w, d), "big"), "w2": ((e + 1, d, w), "big")}
        out |= {f"{i}.{n}": s for n, s in layer.items()}
    return out


def initial(seed):
    """Fresh float32 weights."""
    gen = torch.Generator().manual_seed(seed)
    weights = {}
    for name, (shape, _) in shapes().items():
        last = name.split(".")[-1]
        if "ln" in last or "norm" in last:
            w = torch.ones(shape)
        elif last == "A_log":
            w = torch.empty(shape).uniform_(0.3, 1, generator=gen).log()
        elif last == "dt_bias":                  # softplus(dt_bias) between 0.1 and 1.5: short memories, at first
            dt = torch.exp(torch.empty(shape).uniform_(math.log(0.1), math.log(1.5), generator=gen))
            w = dt + torch.log(-torch.expm1(-dt))
        elif last == "bias":
            w = torch.zeros(shape)
        elif last == "conv":
            w = torch.empty(shape).uniform_(-0.5, 0.5, generator=gen)
        else:
            w = torch.randn(shape, generator=gen) * (0.3 if last in ("embed", "head") else shape[-1] ** -0.5)
            if last in ("o", "w2", "down"):
                w *= 0.3
        weights[name] = w
    look_alike(weights, gen)
    return weights


def look_alike(weights, gen):
    """Starts the model as one that looks for a place like the present one and copies what came next there.

    The first layer's two heads write what stands in the last four tokens: one with the present token, one without. The
    full attention layer compares the first of the query's place with the second of every other place, and copies the
    token it finds. All that is only a beginning, but from a random one recall stays in the KDA states, which forget.
    """
    d, h, k = C["hidden_size"], C["mla_heads"], C["kda_dim"]
    orthogonal = lambda rows, columns: torch.linalg.qr(torch.randn(rows, columns, generator=gen))[0]
    weights["head"] = 0.1 * weights["embed"]
    first = {n.split(".")[1]: t for n, t in weights.items() if n.startswith("0.")}
    first["k"].copy_(first["q"])
    first["v"][k:2 * k] = first["v"][:k]
    conv = first["conv"].view(3, -1, 4)
    conv[:2] = conv[:2] * 0.1 + torch.tensor([0.0, 0.0, 0.0, 1.0])
    conv[2, :k] = torch.tensor([0.3, 0.5, 0.7, 1.0])
    conv[2, k:] = torch.tensor([0.5, 0.7, 1.0, 0.0])
    first["o"].copy_(torch.cat([orthogonal(d, k), orthogonal(d, k)], 1))
    for i in range(C["num_hidden_layers"]):
        if not is_mla(i):
            continue
        w = {n.split(".")[1]: t for n, t in weights.items() if n.startswith(f"{i}.")}
        w["kv_a"].mul_(0.1)
        w["kv_a"][:k] += first["o"][:, k:].T
        w["kv_a"][k:k + d] += torch.eye(d)
        kv = w["kv_b"].mul_(0.1).view(h, C["nope"] + C["v"], -1)
        query = w["q"].mul_(0.2).view(h, C["nope"] + C["rope"], -1)
        for head in range(h):
            kv[head, :C["nope"], :k] += torch.eye(k)
            query[head, :C["nope"]] += 2.5 * first["o"][:, :k].T
            copied = orthogonal(d, C["v"]).T
            kv[head, C["nope"]:, k:k + d] += copied
            w["o"][:, head * C["v"]:(head + 1) * C["v"]] = 0.7 * copied.T


def fake_q4(w, candidates=(1.0, 0.95, 0.9, 0.85, 0.8)):
    """What 4-bit storage makes of a matrix: groups of 32 along the input, float16 scale, (n - 8) * scale."""
    g = w.float().reshape(-1, GROUP)
    top = g.abs().amax(1, keepdim=True) / 7
    best = best_error = None
    for c in candidates:
        scale = (top * c).to(torch.float16).float().clamp_min(6e-8)
        q = torch.clamp(torch.round(g / scale), -8, 7) * scale
        error = ((q - g) ** 2).sum(1, keepdim=True)
        if best is None:
            best, best_error = q, error
        else:
            best = torch.where(error < best_error, q, best)
            best_error = torch.minimum(error, best_error)
    return best.reshape(w.shape)


# ---- the parts of a layer; x is the residual stream [tokens, hidden] in float32 ------------------------------------

def rms(x, w, eps):
    x = x.float()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * w.float()


def kda_in(x, pos, tail, ln, wq, wk, wv, conv, f_a, f_b, b, g_a, g_b):
    """Projections and short convolutions. `pos` is each token's place in its conversation, `tail` the last three
    projections before x. Returns q, k, v [n, heads, dim], raw decay, raw beta, output gate and the projections."""
    a = rms(x, ln, C["eps"]).to(wq.dtype)
    p = F.linear(a, torch.cat([wq, wk, wv]))
    ext = torch.cat([tail, p])
    n = p.shape[0]
    y = p.float() * conv[:, 3].float()
    for j in range(3):
        keep = (pos >= 3 - j).float()[:, None]
        y = y + ext[j:j + n].float() * conv[:, j].float() * keep
    y = F.silu(y).to(p.dtype).view(n, 3, C["kda_heads"], C["kda_dim"])
    raw = F.linear(F.linear(a, f_a), f_b).view(n, C["kda_heads"], C["kda_dim"])
    return y[:, 0].contiguous(), y[:, 1].contiguous(), y[:, 2].contiguous(), raw, F.linear(a, b), \
        F.linear(F.linear(a, g_a), g_b), p


def kda_out(x, o, gate, o_norm, wo):
    n = x.shape[0]
    z = rms(o, o_norm, C["eps"]) * torch.sigmoid(gate.float()).view(n, C["kda_heads"], C["kda_dim"])
    return x + F.linear(z.reshape(n, -1).to(wo.dtype), wo).float()


def mla_in(x, ln, wq, kv_a, kv_ln):
    """Queries [n, heads, nope + rope], the normalised latent [n, kv_lora] and the shared key part [n, rope]."""
    a = rms(x, ln, C["eps"]).to(wq.dtype)
    q = F.linear(a, wq).view(x.shape[0], C["mla_heads"], -1)
    latent, shared = F.linear(a, kv_a).split([C["kv_lora"], C["rope"]], -1)
    return q, rms(latent, kv_ln, C["kv_eps"]).to(wq.dtype), shared


def mla_expand(latent, shared, kv_b):
    """Keys and values from cached latents."""
    n, h = latent.shape[0], C["mla_heads"]
    k, v = F.linear(latent, kv_b).view(n, h, -1).split([C["nope"], C["v"]], -1)
    return torch.cat([k, shared[:, None].expand(n, h, C["rope"])], -1), v


def mla_out(x, o, wo):
    return x + F.linear(o.reshape(x.shape[0], -1), wo).float()


def dense(x, ln, gate, up, down):
    a = rms(x, ln, C["eps"]).to(gate.dtype)
    return x + F.linear(F.silu(F.linear(a, gate)) * F.linear(a, up), down).float()


def moe(x, ln, router, bias, w1, w3, w2):
    """All experts are computed and weighted; at this size that is quicker than gathering. Returns (x, load)."""
    normed = rms(x, ln, C["eps"])
    a = normed.to(w1.dtype)
    score = torch.sigmoid(F.linear(a.float(), router.float()))
    choice = score.detach() + bias.to(torch.bfloat16).float()
    first = choice == choice.amax(-1, keepdim=True)
    second = choice.masked_fill(first, -1e9)
    second = second == second.amax(-1, keepdim=True)
    chosen = (first | second).float()
    weight = score * chosen
    weight = weight / (weight.sum(-1, keepdim=True) + 1e-20) * C["routed_scaling_factor"]
    weight = torch.cat([weight, torch.ones_like(weight[:, :1])], 1)
    n, e, w = x.shape[0], C["experts"] + 1, C["expert_width"]
    h = F.silu(F.linear(a, w1.view(e * w, -1))) * F.linear(a, w3.view(e * w, -1))
    h = (h.view(n, e, w) * weight[:, :, None].to(h.dtype)).view(n, e * w)
    y = F.linear(h, w2.transpose(0, 1).reshape(C["hidden_size"], e * w))
    return x + y.float(), chosen.mean(0)


def logits(x, norm, head):
    return F.linear(rms(x, norm, C["eps"]).to(head.dtype), head)


def decay(raw, a_log, dt_bias):
    """Log of the per-channel decay, always negative."""
    return -a_log.float().exp()[:, None] * F.softplus(raw.float() + dt_bias.float().view(raw.shape[1:]))


def unit(x):
    x = x.float()
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)


def delta_rule(q, k, v, g, beta, state, chunk=16):
    """The gated delta rule in float32, `chunk` tokens at a time: [n, heads, dim] each, state [heads, dim, dim].

    Inside a chunk the token recurrence is a lower triangular system; every exponent is a difference g_i - g_j <= 0.
    """
    n, outputs = q.shape[0], []
    q, k, v = unit(q) * q.shape[-1] ** -0.5, unit(k), v.float()
    for at in range(0, n, chunk):
        cut = slice(at, min(at + chunk, n))
        qc, kc, vc, bc = (t[cut].transpose(0, 1) for t in (q, k, v, beta[..., None]))     # [heads, c, dim]
        total = g[cut].transpose(0, 1).cumsum(1)
        pair = torch.exp((total[:, :, None] - total[:, None]).clamp(max=0))
        lower = torch.tril(torch.ones(total.shape[1], total.shape[1], device=q.device))
        akk = torch.einsum("hid,hjd,hijd->hij", kc, kc, pair) * bc * (lower - torch.eye(len(lower), device=q.device))
        aqk = torch.einsum("hid,hjd,hijd->hij", qc, kc, pair) * lower
        grown = torch.exp(total)
        u = torch.linalg.solve_triangular(akk + torch.eye(len(lower), device=q.device),
                                          bc * (vc - (kc * grown) @ state), upper=False)
        outputs.append(((qc * grown) @ state + aqk @ u).transpose(0, 1))
        last = total[:, -1:]
        state = torch.exp(last).transpose(1, 2) * state + (kc * torch.exp(last - total)).transpose(1, 2) @ u
    return torch.cat(outputs), state


class Reader:
    """Reads tokens one after another or many at once, keeping the state between calls. For evaluation."""

    def __init__(self, weights):
        self.w = weights
        self.reset()

    def reset(self):
        """Forgets everything read."""
        device, dtype = self.w["head"].device, self.w["head"].dtype
        self.read = 0
        self.state = []
        for i in range(C["num_hidden_layers"]):
            if is_mla(i):
                self.state.append([torch.zeros(0, C["kv_lora"], device=device, dtype=dtype),
                                   torch.zeros(0, C["rope"], device=device, dtype=dtype)])
            else:
                self.state.append([torch.zeros(3, 3 * KDA, device=device, dtype=dtype),
                                   torch.zeros(C["kda_heads"], C["kda_dim"], C["kda_dim"], device=device)])

    @torch.no_grad()
    def feed(self, ids, last_only=True):
        """Reads ids; returns the logits after each of them, or only after the last."""
        w = self.w
        ids = torch.as_tensor(ids, device=w["head"].device)
        n = len(ids)
        pos = torch.arange(self.read, self.read + n, device=ids.device)
        x = w["embed"][ids].float()
        for i, state in enumerate(self.state):
            l = {k.split(".")[1]: t for k, t in w.items() if k.startswith(f"{i}.")}
            if is_mla(i):
                q, latent, shared = mla_in(x, l["ln1"], l["q"], l["kv_a"], l["kv_ln"])
                state[0], state[1] = torch.cat([state[0], latent]), torch.cat([state[1], shared])
                k, v = mla_expand(state[0], state[1], l["kv_b"])
                mask = torch.arange(len(k), device=ids.device)[None] <= pos[:, None]
                o = F.scaled_dot_product_attention(*(t.transpose(0, 1)[None] for t in (q, k, v)), attn_mask=mask)
                x = mla_out(x, o[0].transpose(0, 1), l["o"])
            else:
                q, k, v, raw, b, gate, p = kda_in(x, pos, state[0], l["ln1"], l["q"], l["k"], l["v"], l["conv"],
                                                  l["f_a"], l["f_b"], l["b"], l["g_a"], l["g_b"])
                state[0] = torch.cat([state[0], p])[-3:]
                o, state[1] = delta_rule(q, k, v, decay(raw, l["A_log"], l["dt_bias"]), torch.sigmoid(b.float()),
                                         state[1])
                x = kda_out(x, o.to(p.dtype), gate, l["o_norm"], l["o"])
            if i == 0:
                x = dense(x, l["ln2"], l["gate"], l["up"], l["down"])
            else:
                x, _ = moe(x, l["ln2"], l["router"], l["bias"], l["w1"], l["w3"], l["w2"])
        self.read += n
        return logits(x[-1:] if last_only else x, w["norm"], w["head"]).float()

    def greedy(self, ids, limit, stop):
        """The greedy continuation of ids, without the stop token."""
        out, scores = [], self.feed(ids)
        while len(out) < limit:
            token = int(scores[-1].argmax())
            if token == stop:
                break
            out.append(token)
            scores = self.feed([token])
        return out
