"""Trains the model on conversations made on the fly, on one CPU core.

    python3 train.py --data data --out run

The stages (STAGES) go from short rows dense in facts and copying drills to conversations of 4,608 tokens. Matrices are
trained with Muon, the rest with AdamW; the last part alternates steps on plain weights with steps on weights rounded
to 4 bits, so that both work.
"""
import argparse
import json
import os
import pathlib
import random
import time

import torch
from safetensors.torch import load_file, save_file

import conversations
import layers
import model
import tokenizer

# Minutes, and the batches to alternate: rows, tokens a row, scored positions a row, shares of drills and of
# conversations dense in facts.
STAGES = [(2.5, [(32, 128, 64, 0.4, 1.0)]), (5, [(8, 512, 224, 0.2, 0.6)]), (7, [(4, 1024, 384, 0.1, 0.4)]),
          (6, [(2, 2048, 640, 0.05, 0.3)]),
          (18, [(1, 4608, 1344, 0.0, 0.1), (1, 4608, 1344, 0.0, 0.1), (8, 512, 224, 0.05, 0.4)]),
          (17, [(1, 4608, 1344, 0.0, 0.6), (1, 4608, 1344, 0.0, 0.6), (8, 512, 224, 0.02, 0.3)])]
# By what a token is: 0 (layout), USER, ANSWER, DRILL, VALUE. The smaller the rank, the sooner a position is scored.
WEIGHT = torch.tensor([0.0, 0.2, 1.0, 1.0, 2.0])
RANK = (100.0, 2.0, 1.0, 0.2, 0.001)
BUCKETS = (128, 512, 1024, 2048, 3000, 4608)


class Muon:
    """Momentum whose update is made orthogonal (Newton-Schulz), scaled to the size of an AdamW update."""

    def __init__(self, params):
        self.groups = {}
        for p in params:
            self.groups.setdefault(p.shape[-2:], []).append(p)
        self.momentum = [torch.zeros(sum(p.numel() // (s[0] * s[1]) for p in ps), *s)
                         for s, ps in self.groups.items()]

    @staticmethod
    def _orthogonal(m):
        x = (m.mT if m.shape[1] < m.shape[2] else m)
        x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
        for _ in range(5):                       # x becomes tall: x.mT @ x is the small product
            a = x.mT @ x
            x = 3.4445 * x + x @ (-4.7750 * a + 2.0315 * a @ a)
        return (x.mT if m.shape[1] < m.shape[2] else x).float()

    def step(self, lr, decay=0.05, momentum=0.95):
        for m, (shape, params) in zip(self.momentum, self.groups.items()):
            grad = torch.cat([p.grad.view(-1, *shape) for p in params])
            m.lerp_(grad, 1 - momentum)
            update = self._orthogonal(grad.lerp(m, momentum)) * (0.2 * max(shape) ** 0.5)
            at = 0
            for p in params:
                n = p.numel() // (shape[0] * shape[1])
                p.mul_(1 - lr * decay).add_(update[at:at + n].view(p.shape), alpha=-lr)
                at += n


class Batches:
    """Rows of one length with the positions to score."""

    def __init__(self, data, tok, seed):
        self.rng = random.Random(seed)
        self.maker = conversations.Maker(data, tok, self.rng)

    def row(self, length, drills, dense):
        r = self.rng.random()
        if r < drills:
            return self.maker.drill(length + 1)
        if r < drills + 0.04:
            return self.maker.plain(length + 1)
        return self.maker.document(length + 1, self.rng.uniform(0.5, 1) if self.rng.random() < dense else 0.0)

    def draw(self, rows, length, kept, drills, dense):
        """ids [rows, length]; positions, targets and marks [rows, kept]: values first, then other scored tokens."""
        all_ids, all_at, all_marks = [], [], []
        for _ in range(rows):
            ids, marks = self.row(length, drills, dense)
            order = []
            for i, m in enumerate(marks[1:length + 1]):
                order.append((self.rng.random() * RANK[min(m, conversations.VALUE)], i))
            order.sort()
            at = sorted(i for _, i in order[:kept])
            all_ids.append(ids[:length + 1])
            all_at.append(at)
            all_marks.append([marks[i + 1] for i in at])
        ids, at = torch.tensor(all_ids), torch.tensor(all_at)
        return ids[:, :-1].contiguous(), at, ids[:, 1:].gather(1, at), torch.tensor(all_marks)


class Trainer:
    """Weights, optimisers and one step."""

    def __init__(self, start, compiled=True):
        self.shapes = model.shapes()
        self.weights = {n: t.float().requires_grad_(not n.endswith(".bias")) for n, t in start.items()}
        muon = [n for n, (s, _) in self.shapes.items()
                if len(s) >= 2 and n.split(".")[-1] not in ("embed", "head", "conv", "b", "router", "A_log")]
        others = [n for n in self.shapes if n not in muon and not n.endswith(".bias")]
        self.muon = Muon([self.weights[n] for n in muon])
        self.adam = torch.optim.AdamW([self.weights[n] for n in others], lr=1.0, betas=(0.9, 0.98), weight_decay=0.0,
                                      fused=True)
        self.net = layers.Network(compiled)
        self.quantise = torch.compile(model.fake_q4) if compiled else model.fake_q4

    def rounded(self):
        """The weights as 4-bit storage leaves them; gradients pass straight through."""
        with torch.no_grad():
            delta = {n: self.quantise(t) - t for n, t in self.weights.items() if self.shapes[n][1] == "big"}
        return {n: t + delta[n] if n in delta else t for n, t in self.weights.items()}

    def step(self, batch, lr, four_bit):
        ids, at, targets, marks = batch
        w = self.rounded() if four_bit else self.weights
        nll, right, loads = self.net(w, ids, at, targets)
        weight = WEIGHT[marks.clamp_max(conversations.VALUE)]
        loss = (nll * weight).sum() / weight.sum()
        loss.backward()
        with torch.no_grad():
            norm = torch.nn.utils.clip_grad_norm_([t for t in self.weights.values() if t.grad is not None], 1.0)
            if torch.isfinite(norm):
                self.muon.step(lr)
                self.adam.param_groups[0]["lr"] = lr
                self.adam.step()
                for i, load in loads.items():
                    self.weights[f"{i}.bias"] += 1e-3 * torch.sign(load.mean() - load)
            for t in self.weights.values():
                t.grad = None
        return nll.detach(), right

    def save(self, path):
        tensors = {n: t.detach().to(torch.float32 if self.shapes[n][1] == "f32" else torch.bfloat16).contiguous()
                   for n, t in self.weights.items()}
        save_file(tensors, str(path) + ".part")
        os.replace(str(path) + ".part", path)


class Log:
    """Sums since the last line."""

    def __init__(self, path):
        self.file = open(path, "a")
        self.clear()

    def clear(self):
        self.since, self.tokens, self.nll, self.count = time.time(), 0, 0.0, 0
        self.hits, self.seen = [0] * len(BUCKETS), [0] * len(BUCKETS)

    def add(self, tokens, nll, right, marks):
        self.tokens += tokens
        answer = marks == conversations.ANSWER
        self.nll += nll[answer].sum().item()
        self.count += int(answer.sum())
        value = marks >= conversations.VALUE
        ages, good = marks[value] - conversations.VALUE, right[value]
        low = 0
        for i, high in enumerate(BUCKETS):
            inside = (ages >= low) & (ages < high)
            self.seen[i] += int(inside.sum())
            self.hits[i] += int(good[inside].sum())
            low = high

    def line(self, head):
        recall = "  ".join(f"<{b}: {h / s:.3f}" for b, h, s in zip(BUCKETS, self.hits, self.seen) if s)
        text = (f"{head}  {self.tokens / (time.time() - self.since):.0f} tok/s  "
                f"answers {self.nll / max(1, self.count):.3f}  value tokens right {recall}")
        print(text, flush=True)
        print(time.strftime("%H:%M:%S "), text, file=self.file, flush=True)
        self.clear()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("data"))
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("run"))
    parser.add_argument("--lr", type=float, default=6e-3)
    parser.add_argument("--fade", type=float, default=0.35, help="last share of the time, in which the rate falls to 0")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=pathlib.Path, help="weights to go on from")
    parser.add_argument("--stages", help="JSON, instead of STAGES")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    tok = tokenizer.Tokenizer(args.data / "tiktoken.model")
    batches = Batches(json.loads((args.data / "dictionary.json").read_text()), tok, args.seed)
    trainer = Trainer(load_file(args.start) if args.start else model.initial(args.seed))
    stages = json.loads(args.stages) if args.stages else STAGES
    total, done, step, seen = sum(s[0] for s in stages) * 60, 0.0, 0, 0
    log, saved = Log(args.out / "log.txt"), time.time()
    for number, (minutes, shapes) in enumerate(stages):
        begin, first = None, step
        while begin is None or time.time() - begin < minutes * 60:
            share = (done + (time.time() - begin if begin else 0)) / total
            fading = max(0.02, min(1.0, (1 - share) / args.fade))
            lr = args.lr * min(1.0, (step + 1) / 50) * fading
            shape = shapes[step % len(shapes)]
            batch = batches.draw(*shape)
            nll, right = trainer.step(batch, lr, fading < 0.6 and step % 2 == 1)
            step, seen = step + 1, seen + shape[0] * shape[1]
            log.add(shape[0] * shape[1], nll, right, batch[3])
            if begin is None and step >= first + 3:
                begin = time.time()
                log.clear()
            elif time.time() - log.since > (30 if number == 0 else 60):
                log.line(f"stage {number}  step {step}  {seen / 1e6:.2f} M tokens  lr {lr:.4f}")
            if time.time() - saved > 120:
                trainer.save(args.out / "weights.safetensors")
                saved = time.time()
        done += minutes * 60
        trainer.save(args.out / f"stage{number}.safetensors")
    trainer.save(args.out / "weights.safetensors")


if __name__ == "__main__":
    main()
