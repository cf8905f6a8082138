"""Trains the model on conversations made on the fly.

    python3 train.py --data data --out run --minutes 9          # one CUDA GPU; needs fla-core and triton

Batches are many conversations packed end to end; attention and recurrence never cross a conversation's border. Short
conversations come first, then all lengths up to 4,600 tokens. Matrices are trained with Muon, the rest with AdamW;
the last part alternates steps on bfloat16 weights with steps on weights rounded to 4 bits, so that both work.
"""
import argparse
import json
import math
import multiprocessing as mp
import os
import pathlib
import queue
import random
import time

import numpy as np

MAX_LENGTH = 4600
STAGES = ((0.08, 350), (0.20, 1400), (2.0, MAX_LENGTH))     # (until this share of the time, longest conversation)


def make_batches(worker, args, progress, out):
    """A data process: puts packed batches into `out` for ever."""
    import conversations
    import tokenizer
    data = json.loads((args.data / "dictionary.json").read_text())
    tok = tokenizer.Tokenizer(args.data / "tiktoken.model")
    rng = random.Random(args.seed * 1000 + worker)
    maker = conversations.Maker(data["entries"], data["cities"], tok, rng)
    while True:
        longest = next(length for until, length in STAGES if progress.value < until)
        ids, weights, pos, cuts = [], [], [], [0]
        while len(ids) < args.batch_tokens:
            one, weight = maker.document(round(math.exp(rng.uniform(math.log(70), math.log(longest)))))
            room = min(args.batch_tokens - len(ids), MAX_LENGTH + 100)
            one, weight = one[:room], weight[:room]
            ids += one
            weights += weight[1:] + [0.0]                    # a position is weighed by the token it predicts
            pos += range(len(one))
            cuts.append(len(ids))
        ids = np.array(ids, np.int32)
        out.put((ids, np.roll(ids, -1), np.array(weights, np.float32), np.array(pos, np.int32),
                 np.array(cuts, np.int32)))


def limit_autotuning():
    """Lets Triton try at most two settings a kernel: compiling and timing them all takes minutes."""
    from triton.runtime.autotuner import Autotuner
    original = Autotuner.__init__

    def init(self, fn, arg_names, configs, *rest, **named):
        usual = [c for c in configs if c.num_warps == 4] or configs
        usual = [c for c in usual if c.num_stages <= 2] or usual
        original(self, fn, arg_names, usual[:1] + usual[1:][-1:] if usual[0].kwargs else usual[:1], *rest, **named)
    Autotuner.__init__ = init


class Muon:
    """Momentum whose update is made orthogonal (Newton-Schulz), scaled to the size of an AdamW update."""

    def __init__(self, params):
        import torch
        self.groups = {}
        for p in params:
            self.groups.setdefault(p.shape[-2:], []).append(p)
        self.momentum = [torch.zeros(sum(p.numel() // (s[0] * s[1]) for p in ps), *s, device=ps[0].device)
                         for s, ps in self.groups.items()]

    @staticmethod
    def _orthogonal(m):
        flip = m.shape[1] > m.shape[2]
        x = m.mT if flip else m
        x = x.bfloat16() if x.is_cuda else x
        x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
        for _ in range(5):
            a = x @ x.mT
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
        return (x.mT if flip else x).float()

    def step(self, lr, decay=0.05, momentum=0.95):
        import torch
        for m, (shape, params) in zip(self.momentum, self.groups.items()):
            grad = torch.cat([p.grad.view(-1, *shape) for p in params])
            m.lerp_(grad, 1 - momentum)
            update = self._orthogonal(grad.lerp(m, momentum)) * (0.2 * max(shape) ** 0.5)
            at = 0
            for p in params:
                n = p.numel() // (shape[0] * shape[1])
                p.mul_(1 - lr * decay).add_(update[at:at + n].view(p.shape), alpha=-lr)
                at += n


class Trainer:
    """Weights, their low-precision copies, the forward pass over a packed batch and the optimisers."""

    def __init__(self, args):
        import torch
        import model
        self.torch, self.model, self.args = torch, model, args
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        shapes = model.shapes()
        start = model.initial(args.seed)
        self.big = [n for n, (_, role) in shapes.items() if role == "big"]
        flat = torch.cat([start[n].flatten() for n in self.big]).to(self.device)
        self.flat, self.flat16 = flat, flat.bfloat16()
        self.master, self.leaf, at = {}, {}, 0
        for n in self.big:
            size = start[n].numel()
            self.master[n] = flat[at:at + size].view(start[n].shape)
            self.leaf[n] = self.flat16[at:at + size].view(start[n].shape).detach().requires_grad_()
            at += size
        for n, (_, role) in shapes.items():
            if role != "big":
                self.master[n] = start[n].to(self.device)
                self.leaf[n] = self.master[n].clone().to(
                    torch.float32 if role == "f32" else torch.bfloat16).detach().requires_grad_(not n.endswith(".bias"))
        self.leaf["embed"] = self.leaf["embed"].detach().float().requires_grad_()   # its gradient is summed in float32
        self.muon = Muon([self.master[n] for n in shapes if self._by_muon(n, shapes)])
        self.adam_names = [n for n in shapes if not self._by_muon(n, shapes) and not n.endswith(".bias")]
        self.adam = torch.optim.AdamW([self.master[n] for n in self.adam_names], lr=1.0, betas=(0.9, 0.95),
                                      weight_decay=0.0, fused=self.device == "cuda")
        self.small = [n for n in shapes if n not in self.big]
        wrap = (lambda f: torch.compile(f, dynamic=False)) if self.device == "cuda" else (lambda f: f)
        for f in ("kda_in", "kda_out", "mla_in", "mla_expand", "mla_out", "dense", "moe"):
            setattr(self, f, wrap(getattr(model, f)))
        self.quantise, self.loss = wrap(model.fake_q4), wrap(self._loss)

    @staticmethod
    def _by_muon(name, shapes):
        last = name.split(".")[-1]
        return len(shapes[name][0]) >= 2 and last not in ("embed", "head", "conv", "b", "router")

    def refresh(self, four_bit):
        """Rounds the master weights into the copies the next step computes with."""
        torch = self.torch
        with torch.no_grad():
            self.flat16.copy_(self.quantise(self.flat) if four_bit else self.flat)
            for n in self.small:
                self.leaf[n].copy_(self.master[n])
            e = self.master["embed"]
            self.leaf["embed"].copy_(self.flat16[:e.numel()].view(e.shape))

    def _kda(self, q, k, v, raw, b, a_log, dt_bias, cuts):
        torch = self.torch
        if self.device == "cuda":
            from fla.ops.kda import chunk_kda
            o, _ = chunk_kda(q[None], k[None], v[None], raw[None], b[None], use_qk_l2norm_in_kernel=True,
                             use_gate_in_kernel=True, use_beta_sigmoid_in_kernel=True, A_log=a_log, dt_bias=dt_bias,
                             cu_seqlens=cuts[0], cu_seqlens_cpu=cuts[1], disable_recompute=True)
            return o[0]
        m, out = self.model, []
        g, beta = m.decay(raw, a_log, dt_bias), torch.sigmoid(b.float())
        for s, e in zip(cuts[1], cuts[1][1:]):
            zero = torch.zeros(m.C["kda_heads"], m.C["kda_dim"], m.C["kda_dim"])
            out.append(m.delta_rule(q[s:e], k[s:e], v[s:e], g[s:e], beta[s:e], zero)[0])
        return torch.cat(out).to(v.dtype)

    def _attention(self, q, k, v, cuts):
        torch, F = self.torch, self.torch.nn.functional
        if self.device == "cuda":
            from torch.nn.attention.varlen import varlen_attn
            v = F.pad(v, (0, k.shape[-1] - v.shape[-1]))
            o = varlen_attn(q.contiguous(), k.contiguous(), v.contiguous(), cuts[2], cuts[2], MAX_LENGTH + 100,
                            MAX_LENGTH + 100, window_size=(-1, 0))
            return o[..., :self.model.C["v"]]
        out = [F.scaled_dot_product_attention(*(t[s:e].transpose(0, 1)[None] for t in (q, k, v)), is_causal=True)
               [0].transpose(0, 1) for s, e in zip(cuts[1], cuts[1][1:])]
        return torch.cat(out)

    def _loss(self, x, norm, head, targets, weights):
        scores = self.model.logits(x, norm, head).float()
        nll = self.torch.logsumexp(scores, -1) - scores.gather(1, targets[:, None])[:, 0]
        right = (scores.argmax(-1) == targets).float()
        recall = (weights > 1.5).float()
        answer = (weights > 0.9).float()
        return ((nll * weights).sum() / weights.sum(), (right * recall).sum() / recall.sum().clamp_min(1),
                (nll.detach() * answer).sum() / answer.sum().clamp_min(1))

    def forward(self, ids, targets, weights, pos, cuts):
        """Loss, recall accuracy per token, loss on answers, and each MoE layer's expert load."""
        w, m, loads = self.leaf, self.model, {}
        x = self.torch.nn.functional.embedding(ids, w["embed"])
        tail = self.torch.zeros(3, 3 * m.KDA, device=self.device, dtype=w["head"].dtype)
        for i in range(m.C["num_hidden_layers"]):
            g = lambda *names: [w[f"{i}.{n}"] for n in names]
            if m.is_mla(i):
                q, latent, shared = self.mla_in(x, *g("ln1", "q", "kv_a", "kv_ln"))
                k, v = self.mla_expand(latent, shared, *g("kv_b"))
                x = self.mla_out(x, self._attention(q, k, v, cuts), *g("o"))
            else:
                q, k, v, raw, b, gate, _ = self.kda_in(x, pos, tail, *g("ln1", "q", "k", "v", "conv", "f_a", "f_b", "b",
                                                                        "g_a", "g_b"))
                x = self.kda_out(x, self._kda(q, k, v, raw, b, *g("A_log", "dt_bias"), cuts), gate, *g("o_norm", "o"))
            if i == 0:
                x = self.dense(x, *g("ln2", "gate", "up", "down"))
            else:
                x, loads[i] = self.moe(x, *g("ln2", "router", "bias", "w1", "w3", "w2"))
        return *self.loss(x, w["norm"], w["head"], targets, weights), loads

    def step(self, batch, lr, four_bit):
        """One optimiser step; returns (loss, recall accuracy, answer loss) as tensors."""
        torch = self.torch
        ids, targets, weights, pos, cuts = (torch.from_numpy(t).to(self.device, non_blocking=True) for t in batch)
        cuts = (cuts.long(), torch.from_numpy(batch[4]).long(), cuts)
        self.refresh(four_bit)
        loss, right, answer, loads = self.forward(ids.long(), targets.long(), weights, pos, cuts)
        loss.backward()
        with torch.no_grad():
            names = [n for n in self.master if self.leaf[n].grad is not None]
            grads = [self.leaf[n].grad.float() for n in names]
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
            torch._foreach_mul_(grads, (1.0 / norm.clamp_min(1.0)))
            for n, grad in zip(names, grads):
                self.master[n].grad, self.leaf[n].grad = grad, None
            self.muon.step(lr)
            self.adam.param_groups[0]["lr"] = lr
            self.adam.step()
            for i, load in loads.items():                    # steer tokens towards the idle experts
                self.master[f"{i}.bias"] += 1e-3 * torch.sign(load.mean() - load)
        return loss.detach(), right.detach(), answer, norm, {i: l.detach() for i, l in loads.items()}

    def save(self, path):
        """Writes the weights: bfloat16, float32 where the released layout wants it."""
        from safetensors.torch import save_file
        torch, shapes = self.torch, self.model.shapes()
        tensors = {n: t.detach().to(torch.float32 if shapes[n][1] == "f32" else torch.bfloat16).cpu().contiguous()
                   for n, t in self.master.items()}
        save_file(tensors, str(path) + ".part")
        os.replace(str(path) + ".part", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("data"))
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("run"))
    parser.add_argument("--minutes", type=float, default=9, help="wall time from start to last checkpoint")
    parser.add_argument("--batch-tokens", type=int, default=65536)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 2))
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    begin = time.time()
    args.out.mkdir(parents=True, exist_ok=True)

    progress = mp.Value("d", 0.0)
    queues = [mp.Queue(maxsize=3) for _ in range(args.workers)]
    for i, q in enumerate(queues):
        mp.Process(target=make_batches, args=(i, args, progress, q), daemon=True).start()
    try:
        limit_autotuning()
    except ImportError:                                      # no Triton: the CPU path
        pass
    trainer = Trainer(args)
    torch = trainer.torch
    torch.set_float32_matmul_precision("high")

    step, seen, first, mean, waited = 0, 0, None, None, 0.0
    saved = time.time()
    log = open(args.out / "log.txt", "w")
    while True:
        try:
            batch = queues[step % args.workers].get(timeout=120)
        except queue.Empty:
            raise SystemExit("the data processes have stopped")
        now = time.time()
        first = now if step == 3 else first                  # compilation is over
        share = (now - (first or now)) / max(1.0, begin + 60 * args.minutes - 4 - (first or now))
        if share >= 1:
            break
        progress.value = share
        rate = min(1.0, (step + 1) / 100) * min(1.0, (1 - share) / 0.6)
        loss, right, answer, norm, loads = trainer.step(batch, args.lr * max(rate, 0.005), share > 0.6 and step % 2)
        step, seen = step + 1, seen + args.batch_tokens
        values = torch.stack([loss, right, answer])
        mean = values if mean is None else mean.lerp(values, 0.1)
        if step <= 5 or step % 50 == 0:
            m, load = mean.tolist(), torch.stack(list(loads.values()))
            line = (f"{time.time() - begin:6.1f} s  step {step}  {seen / 1e6:.1f} M tokens  loss {m[0]:.4f}  "
                    f"answers {m[2]:.4f}  recall {m[1]:.4f}  gradient {norm.item():.2f}  "
                    f"expert load {load.min().item():.3f}-{load.max().item():.3f}")
            print(line, flush=True)
            print(line, file=log, flush=True)
            if not math.isfinite(m[0]):
                raise SystemExit("the loss is not a number")
        if time.time() - saved > 60:
            trainer.save(args.out / "weights.safetensors")
            saved = time.time()
    trainer.save(args.out / "weights.safetensors")
    print(f"done: {step} steps, {seen / 1e6:.1f} M tokens, {time.time() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
