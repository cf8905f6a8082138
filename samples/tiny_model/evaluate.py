"""Measures a checkpoint with the PyTorch model of this folder.

    python3 evaluate.py --checkpoint checkpoint --weights bf16     # or q4

Recall: held-out conversations whose last question asks for a fact told 200 to 4,000 tokens earlier; right when the
greedy reply is the expected one, letter for letter. Perplexity: of heldout/text.txt, in windows of 512 tokens.
"""
import argparse
import json
import math
import pathlib
import random

import torch

import conversations
import export
import model
import tokenizer


def load(folder, kind):
    """Weights as they are stored, bf16 or q4 (4-bit matrices); the arithmetic is float32."""
    weights = export.weights_of(folder)
    roles = {n: role for n, (_, role) in model.shapes().items()}
    if kind == "q4":
        return {n: model.fake_q4(t) if roles[n] == "big" else t.float() for n, t in weights.items()}
    return {n: t.float() for n, t in weights.items()}


def recall(reader, tok, path, limit, show):
    """Share of right answers, and per distance."""
    right, by_distance = 0, {}
    cases = [json.loads(line) for line in open(path)][:limit]
    for case in cases:
        reader.reset()
        reply = tok.decode(reader.greedy(tok.encode_chat(case["messages"]), 48, tok.im_end))
        good = reply == case["reference"]
        right += good
        by_distance.setdefault(case["distance"] // 1000, []).append(good)
        if show or not good:
            print(f"{'right' if good else 'WRONG'} at {case['distance']}: {case['messages'][-1]['content']} -> {reply} "
                  f"[{case['answer']}]", flush=True)
    print(f"recall {right}/{len(cases)}; " + ", ".join(
        f"{k}000-{k}999: {sum(v)}/{len(v)}" for k, v in sorted(by_distance.items())), flush=True)


def perplexity(reader, tok, path, window=512):
    """exp of the mean negative log-likelihood per token, and bits per byte. Cuts the text as rill-eval does."""
    text = path.read_text()
    ids, nll, count = tok.encode(text), 0.0, 0
    for at in range(0, len(ids) - 1, window):
        part = torch.tensor(ids[at:at + window])
        reader.reset()
        scores = reader.feed(part[:-1], last_only=False)
        nll += torch.nn.functional.cross_entropy(scores, part[1:], reduction="sum").item()
        count += len(part) - 1
    print(f"perplexity {math.exp(nll / count):.4f} per token over {count} tokens", flush=True)


def tasks(reader, tok, data, count):
    """Share of exact answers to single questions of each kind, drawn anew."""
    maker = conversations.Maker(data, tok, random.Random(99), heldout=True)
    maker.unknown = [w.lower() for w in data["names"]]           # not among those that training refuses
    everything = [(maker.question(e), conversations.meaning(e)) for e in maker.entries]
    kinds = {"dictionary words": everything} | {
        name: [make() for _ in range(count)] for name, make in (
            ("unknown words", maker.refuse), ("sums", maker.sum), ("spelling", maker.spell), ("order", maker.order),
            ("saying back", maker.repeat))}
    for name, turns in kinds.items():
        right = 0
        for question, answer in turns:
            reader.reset()
            ids = tok.encode_chat([{"role": "user", "content": question}])
            right += tok.decode(reader.greedy(ids, 64, tok.im_end)) == answer
        print(f"{name}: {right} of {len(turns)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=pathlib.Path, default=pathlib.Path("checkpoint"))
    parser.add_argument("--heldout", type=pathlib.Path, default=pathlib.Path("heldout"))
    parser.add_argument("--weights", choices=("bf16", "q4"), default="bf16")
    parser.add_argument("--limit", type=int, default=100, help="recall cases")
    parser.add_argument("--show", action="store_true", help="print right answers too")
    parser.add_argument("--ask", action="append", help="ask this instead; repeat for a conversation")
    parser.add_argument("--tasks", type=int, help="ask this many single questions of each kind instead")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("data"), help="for --tasks")
    args = parser.parse_args()
    tok = tokenizer.Tokenizer(args.checkpoint / "tiktoken.model")
    reader = model.Reader(load(args.checkpoint, args.weights))
    if args.tasks:
        tasks(reader, tok, json.loads((args.data / "dictionary.json").read_text()), args.tasks)
        return
    if args.ask:
        messages = []
        for question in args.ask:
            messages.append({"role": "user", "content": question})
            reader.reset()
            reply = tok.decode(reader.greedy(tok.encode_chat(messages), 64, tok.im_end))
            messages.append({"role": "assistant", "content": reply})
            print(f"> {question}\n{reply}")
        return
    perplexity(reader, tok, args.heldout / "text.txt")
    recall(reader, tok, args.heldout / "recall.jsonl", args.limit, args.show)


if __name__ == "__main__":
    main()
