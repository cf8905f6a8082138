"""Prepares everything training needs: dictionary entries, the tokenizer and the held-out sets.

    python3 prepare_data.py --data data            # needs WordNet's database files (Debian: wordnet-base)

Writes DATA/dictionary.json and DATA/tiktoken.model, and the evaluation sets to heldout/.
"""
import argparse
import json
import pathlib
import random

import conversations
import phrases
import tokenizer
import wordnet

BASE_VOCABULARY = 1792      # + 256 special tokens = 2048 rows
KNOWN_WORDS = 600
RECALL_CASES = 100


class Characters:
    """Stands in for the tokenizer while there is none: one id a character."""
    im_end = 0

    def encode(self, text):
        return [ord(c) for c in text]

    def role_start(self, role):
        return [ord(c) for c in f"\n{role}\n"]


def choose(entries):
    """The words the model learns (one short definition each), words it is to refuse, and words that serve as names."""
    main = [e for e in entries if e["main"] and " " not in e["word"]]
    wanted = set(phrases.WANTED)
    short = [e for e in main if len(e["def"].split()) <= 12]
    known = [e for e in main if e["word"] in wanted]
    common = lambda e: e["pos"] == "n" and e["field"] or e["pos"] == "v" and e["score"] > 80
    known += [e for e in short if e["word"] not in wanted and common(e) and len(e["def"].split()) >= 3
              and 3 <= len(e["word"]) <= 10][:KNOWN_WORDS - len(known)]
    words = {e["word"] for e in known}
    rest = [e["word"] for e in main if e["word"] not in words and e["pos"] == "n" and 3 < len(e["word"]) < 10]
    return known, rest[:4000:2], [w.capitalize() for w in rest[1:6000:2]]


def learn_tokenizer(data, path, documents=1500):
    """Learns the vocabulary from the same kind of text the model is trained on."""
    maker = conversations.Maker(data, Characters(), random.Random(1))
    text = []
    for i in range(documents):
        ids, _ = maker.document(2000, dense=(i % 3) * 0.3)
        text.append("".join(chr(i) for i in ids if i))
    text.extend(f"User: {e['word']}: {e['def']}.\nAssistant:" for e in data["known"])
    tokenizer.save(tokenizer.train_bpe("\n".join(text), BASE_VOCABULARY), path)


def heldout_text(maker, size=40_000):
    """Plain text for perplexity: dictionary lines and written-out conversations about held-out values."""
    lines, text = maker.plain_lines(), ""
    while len(text) < size:
        text += next(lines)
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wordnet", default="/usr/share/wordnet")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("data"))
    parser.add_argument("--heldout", type=pathlib.Path, default=pathlib.Path("heldout"))
    args = parser.parse_args()
    args.data.mkdir(parents=True, exist_ok=True)
    args.heldout.mkdir(parents=True, exist_ok=True)

    known, unknown, names = choose(wordnet.entries(args.wordnet))
    data = {"known": known, "unknown": unknown, "names": names, "cities": wordnet.cities(args.wordnet)}
    (args.data / "dictionary.json").write_text(json.dumps(data))
    learn_tokenizer(data, args.data / "tiktoken.model")
    tok = tokenizer.Tokenizer(args.data / "tiktoken.model")
    print(f"{len(known)} dictionary words, {len(data['cities'])} cities, vocabulary {tok.vocab_size}")

    maker = conversations.Maker(data, tok, random.Random(2026), heldout=True)
    with open(args.heldout / "recall.jsonl", "w") as f:
        for i in range(RECALL_CASES):
            case = maker.recall(200 + round(i * 3780 / (RECALL_CASES - 1)))
            f.write(json.dumps(case) + "\n")
    with open(args.heldout / "chat.jsonl", "w") as f:
        for _ in range(20):
            turns = [maker.filler() for _ in range(5)]
            messages = [{"role": r, "content": c} for t in turns for r, c in zip(("user", "assistant"), t)]
            f.write(json.dumps({"messages": messages}) + "\n")
    (args.heldout / "text.txt").write_text(heldout_text(maker))


if __name__ == "__main__":
    main()
