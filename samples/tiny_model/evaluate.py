"""Measures a checkpoint with the PyTorch model of this folder.

    python3 evaluate.py --checkpoint checkpoint --weights bf16     # or q4, or f32

Recall: held-out conversations whose last question asks for a fact told 200 to 4,000 tokens earlier; right when the
answer stands in the greedy reply. Perplexity: of heldout/text.txt, in windows of 1,024 tokens.
"""
import argparse
import json
import math
import pathlib

import torch

import export
import model
import tokenizer


def load(folder, kind):
    """Weights as they would be stored: bf16, f32 (bf16 values, float32 arithmetic) or q4 (4-bit matrices)."""
    weights = export.weights_of(folder)
    roles = {n: role for n, (_, role) in model.shapes().items()}
    if kind == "q4":
        weights = {n: model.fake_q4(t) if roles[n] == "big" else t.float() for n, t in weights.items()}
    if kind == "bf16" and torch.cuda.is_available():
        return {n: t.cuda() for n, t in weights.items()}
    return {n: t.float().to("cuda" if torch.cuda.is_available() else "cpu") for n, t in weights.items()}


def recall(reader, tok, path, limit, show):
    """Share of right answers, and per distance."""
    right, by_distance = 0, {}
    cases = [json.loads(line) for line in open(path)][:limit]
    for case in cases:
        reader.reset()
        reply = tok.decode(reader.greedy(tok.encode_chat(case["messages"]), 48, tok.im_end))
        good = case["answer"] in reply
        right += good
        by_distance.setdefault(case["distance"] // 1000, []).append(good)
        if show or not good:
            print(f"{'right' if good else 'WRONG'} at {case['distance']}: {case['messages'][-1]['content']} -> {reply} "
                  f"[{case['answer']}]", flush=True)
    print(f"recall {right}/{len(cases)}; " + ", ".join(
        f"{k}000-{k}999: {sum(v)}/{len(v)}" for k, v in sorted(by_distance.items())), flush=True)


def perplexity(reader, tok, path, window=1024):
    """exp of the mean negative log-likelihood per token, and bits per byte."""
    text = path.read_text()
    ids, nll, count = tok.encode(text), 0.0, 0
    for at in range(0, len(ids) - 1, window):
        part = torch.tensor(ids[at:at + window + 1])
        reader.reset()
        scores = reader.feed(part[:-1], last_only=False).cpu()
        nll += torch.nn.functional.cross_entropy(scores, part[1:], reduction="sum").item()
        count += len(part) - 1
    print(f"perplexity {math.exp(nll / count):.3f} per token over {count} tokens, "
          f"{nll / math.log(2) / len(text.encode()):.3f} bits per byte", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=pathlib.Path, default=pathlib.Path("checkpoint"))
    parser.add_argument("--heldout", type=pathlib.Path, default=pathlib.Path("heldout"))
    parser.add_argument("--weights", choices=("bf16", "f32", "q4"), default="bf16")
    parser.add_argument("--limit", type=int, default=100, help="recall cases")
    parser.add_argument("--show", action="store_true", help="print right answers too")
    parser.add_argument("--ask", action="append", help="ask this instead; repeat for a conversation")
    args = parser.parse_args()
    tok = tokenizer.Tokenizer(args.checkpoint / "tiktoken.model")
    reader = model.Reader(load(args.checkpoint, args.weights))
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
