"""Trains the small shape on a CPU in minutes: a stand-in for train.py where there is no GPU.

    python3 train_cpu.py --data data --out first --minutes 4
    python3 train_cpu.py --data data --out run --minutes 9 --start first/weights.safetensors

It sees under a million tokens instead of a few hundred million, so it learns little: the layout of a chat, the few
dictionary words of FIRST and MORE, small talk, a first idea of copying. Conversations are cut to one length and computed side by side in float32.
"""
import argparse
import json
import pathlib
import random
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import conversations
import model
import tokenizer
import train

FIRST = """brook river lake lantern kettle boat ship hammer bridge island castle mountain forest candle mirror
umbrella violin guitar horse rabbit bird bread apple rain snow storm moon star sea beach kitchen teacher baker
""".split()
MORE = """garden valley ladder clock piano drum tortoise fish cheese honey pear butter soup tea coffee wind thunder sun
ocean sand iron gold silver house door window roof chair bed lamp letter pencil doctor farmer painter sailor judge
friend queen music water tree flower leaf grass spider eagle owl sheep cow hat shoe ring basket bottle spoon village
school library museum train bus bicycle freedom courage anger joy fear happy small walk
""".split()


class SmallMaker(conversations.Maker):
    """Fewer kinds of facts and turns: what can be learned in minutes."""
    KINDS = ["name"] * 6 + ["me"] + ["code"] * 2 + ["lives"] * 2 + ["word"]

    def filler(self):
        r = self.rng.random()
        if r < 0.6:
            return self.define()[:1]
        return [self.repeat() if r < 0.9 else self.small_talk()]


def delta_rule(q, k, v, g, beta, chunk=16):
    """The gated delta rule for many sequences of one length: [batch, length, heads, dim] each.

    Decays inside a chunk are factored around its middle; exact while they stay under 80 nats in half a chunk.
    """
    batch, length, heads, dim = q.shape
    shape = (batch, length // chunk, chunk, heads, -1)
    q, k, v, g, beta = (t.reshape(shape).permute(1, 0, 3, 2, 4).reshape(length // chunk, batch * heads, chunk, -1)
                        for t in (model.unit(q) * dim ** -0.5, model.unit(k), v, g, beta[..., None]))
    total = g.cumsum(2)
    middle = total[:, :, chunk // 2:chunk // 2 + 1]
    up, down = torch.exp((total - middle).clamp(-60, 60)), torch.exp((middle - total).clamp(-60, 60))
    eye = torch.eye(chunk)
    akk = torch.tril((k * up) @ (k * down).mT, -1) * beta
    aqk = torch.tril((q * up) @ (k * down).mT)
    inverse = torch.linalg.solve_triangular(akk + eye, eye.expand_as(akk).contiguous(), upper=False)
    grown, last = torch.exp(total), total[:, :, -1:]
    qg, kg, kr, fade = q * grown, k * grown * beta, k * torch.exp(last - total), torch.exp(last).mT
    vb = v * beta
    state, out = torch.zeros(batch * heads, dim, dim), []
    for c in range(len(q)):
        u = inverse[c] @ (vb[c] - kg[c] @ state)
        out.append(qg[c] @ state + aqk[c] @ u)
        state = fade[c] * state + kr[c].mT @ u
    o = torch.stack(out).view(length // chunk, batch, heads, chunk, dim)
    return o.permute(1, 0, 3, 2, 4).reshape(batch * length, heads, dim)


def forward(w, ids, pos):
    """Residual stream after all layers for ids [batch, length], and the experts' loads."""
    batch, length = ids.shape
    x, loads = w["embed"][ids.flatten()], {}
    tail = torch.zeros(3, 3 * model.KDA)
    rows = lambda t: t.view(batch, length, *t.shape[1:])
    for i in range(model.C["num_hidden_layers"]):
        g = lambda *names: [w[f"{i}.{n}"] for n in names]
        if model.is_mla(i):
            q, latent, shared = model.mla_in(x, *g("ln1", "q", "kv_a", "kv_ln"))
            k, v = model.mla_expand(latent, shared, *g("kv_b"))
            o = F.scaled_dot_product_attention(*(rows(t).transpose(1, 2) for t in (q, k, v)), is_causal=True)
            x = model.mla_out(x, o.transpose(1, 2).reshape(batch * length, -1), *g("o"))
        else:
            q, k, v, raw, b, gate, _ = model.kda_in(x, pos, tail, *g("ln1", "q", "k", "v", "conv", "f_a", "f_b", "b",
                                                                     "g_a", "g_b"))
            decay = model.decay(raw, *g("A_log", "dt_bias"))
            o = delta_rule(*(rows(t) for t in (q, k, v, decay, torch.sigmoid(b))))
            x = model.kda_out(x, o, gate, *g("o_norm", "o"))
        if i == 0:
            x = model.dense(x, *g("ln2", "gate", "up", "down"))
        else:
            x, loads[i] = model.moe(x, *g("ln2", "router", "bias", "w1", "w3", "w2"))
    return x, loads


def save(weights, shapes, path):
    save_file({n: t.detach().to(torch.float32 if shapes[n][1] == "f32" else torch.bfloat16).contiguous()
               for n, t in weights.items()}, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("data"))
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("run"))
    parser.add_argument("--minutes", type=float, default=14)
    parser.add_argument("--batch", type=int, default=14)
    parser.add_argument("--length", type=int, default=80)
    parser.add_argument("--lr", type=float, default=8e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--start", type=pathlib.Path, help="weights to go on from; brings in the words of MORE")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    begin = time.time()
    model.use("small")
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    tok = tokenizer.Tokenizer(args.data / "tiktoken.model")
    data = json.loads((args.data / "dictionary.json").read_text())
    words = FIRST + MORE if args.start else FIRST
    entries = [e | {"weight": 1.0} for e in data["entries"] if e["word"] in words and e["main"]]
    maker = SmallMaker(entries, data["cities"], tok, random.Random(args.seed))
    shapes = model.shapes()
    start = load_file(args.start) if args.start else model.initial(args.seed)
    weights = {n: t.float().requires_grad_(not n.endswith(".bias")) for n, t in start.items()}
    by_muon = [n for n in shapes if train.Trainer._by_muon(n, shapes)]
    others = [n for n in shapes if n not in by_muon and not n.endswith(".bias")]
    muon = train.Muon([weights[n] for n in by_muon])
    adam = torch.optim.AdamW([weights[n] for n in others], lr=1.0, betas=(0.9, 0.95), weight_decay=0.0)
    pos = torch.arange(args.length).repeat(args.batch)
    print(f"{sum(t.numel() for t in weights.values())} weights, {len(entries)} words", flush=True)
    step, mean = 0, None
    while (share := (time.time() - begin) / (60 * args.minutes)) < 1:
        rows, masks = [], []
        while len(rows) < args.batch:
            ids, mask = maker.document(args.length + 80)
            if len(ids) > args.length:
                rows.append(ids[:args.length + 1])
                masks.append(mask[1:args.length + 1])
        ids, mask = torch.tensor(rows), torch.tensor(masks).flatten()
        four_bit = share > 0.75 and step % 2 == 1
        w = weights
        if four_bit:
            w = {n: t + (model.fake_q4(t.detach()) - t.detach()) if shapes[n][1] == "big" else t
                 for n, t in weights.items()}
        x, loads = forward(w, ids[:, :-1], pos)
        keep = mask > 0
        target = ids[:, 1:].flatten()[keep]
        scores = model.logits(x[keep], w["norm"], w["head"])
        nll = F.cross_entropy(scores, target, reduction="none")
        loss = (nll * mask[keep]).sum() / mask.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([t for t in weights.values() if t.grad is not None], 1.0)
        lr = args.lr * min(1.0, (step + 1) / 30) * max(0.01, min(1.0, (1 - share) / 0.5))
        with torch.no_grad():
            muon.step(lr)
            adam.param_groups[0]["lr"] = lr
            adam.step()
            for i, load in loads.items():
                weights[f"{i}.bias"] += 2e-3 * torch.sign(load.mean() - load)
            recall = mask[keep] > 1.5
            right = (scores.argmax(-1) == target)[recall].float().mean() if recall.any() else torch.tensor(0.0)
            answers = nll[mask[keep] > 0.9].mean()
        for t in weights.values():
            t.grad = None
        step += 1
        values = torch.stack([loss.detach(), answers.detach(), right])
        mean = values if mean is None else mean.lerp(values, 0.1)
        if step % 20 == 0 or step < 4:
            print(f"{time.time() - begin:6.0f} s  step {step}  {step * args.batch * args.length / 1e6:.2f} M tokens  "
                  f"loss {mean[0]:.3f}  answers {mean[1]:.3f}  recall {mean[2]:.3f}", flush=True)
        if step % 40 == 0:
            save(weights, shapes, args.out / "weights.safetensors")
    save(weights, shapes, args.out / "weights.safetensors")


if __name__ == "__main__":
    main()
