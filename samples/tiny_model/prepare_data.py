"""Prepares everything training needs: dictionary entries, the tokenizer and the held-out sets.

    python3 prepare_data.py --data data            # needs WordNet's database files (Debian: wordnet-base)

Writes DATA/dictionary.json and DATA/tiktoken.model, and the evaluation sets to heldout/.
"""
import argparse
import json
import pathlib
import random

import conversations
import tokenizer
import wordnet

BASE_VOCABULARY = 2816      # + 256 special tokens = 3072 rows
RECALL_CASES = 100


class Characters:
    """Stands in for the tokenizer while there is none: one id a character."""
    im_end = 0

    def encode(self, text):
        return [ord(c) for c in text]

    def role_start(self, role):
        return [ord(c) for c in f" {role}\n"]


def learn_tokenizer(entries, cities, path, documents=2500):
    """Learns the vocabulary from the same kind of text the model is trained on."""
    maker = conversations.Maker(entries, cities, Characters(), random.Random(1))
    text = []
    for _ in range(documents):
        ids, _ = maker.document(4000)
        text.append("".join(chr(i) for i in ids if i))
    text.extend(f"{e['word']}: {e['def']}. {' '.join(e['examples'])}\n" for e in entries)
    tokenizer.save(tokenizer.train_bpe("\n".join(text), BASE_VOCABULARY), path)


def heldout_text(maker, size=60_000):
    """Plain text for perplexity: written-out conversations with facts in held-out wordings, and dictionary lines."""
    parts, total, used = [], 0, set()
    while total < size:
        lines = maker.plain_lines()
        block = [next(lines) for _ in range(12)]
        fact = maker.fact(used)
        block.insert(2, f"User: {maker.tell(fact)}\nAssistant: Okay, I will remember that.\n")
        block.append(f"User: {maker.ask(fact)}\nAssistant: {maker.answer(fact)}\n")
        parts.append("".join(block))
        total += len(parts[-1])
    return "\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wordnet", default="/usr/share/wordnet")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("data"))
    parser.add_argument("--heldout", type=pathlib.Path, default=pathlib.Path("heldout"))
    args = parser.parse_args()
    args.data.mkdir(parents=True, exist_ok=True)
    args.heldout.mkdir(parents=True, exist_ok=True)

    entries, cities = wordnet.entries(args.wordnet), wordnet.cities(args.wordnet)
    (args.data / "dictionary.json").write_text(json.dumps({"entries": entries, "cities": cities}))
    learn_tokenizer(entries, cities, args.data / "tiktoken.model")
    tok = tokenizer.Tokenizer(args.data / "tiktoken.model")
    print(f"{len(entries)} dictionary entries, {len(cities)} cities, vocabulary {tok.vocab_size}")

    maker = conversations.Maker(entries, cities, tok, random.Random(2026), heldout=True)
    with open(args.heldout / "recall.jsonl", "w") as f:
        for i in range(RECALL_CASES):
            case = maker.recall(200 + round(i * 3780 / (RECALL_CASES - 1)))
            f.write(json.dumps(case) + "\n")
    with open(args.heldout / "chat.jsonl", "w") as f:
        for _ in range(20):
            turns = [t for _ in range(4) for t in maker.filler()]
            messages = [{"role": r, "content": c} for t in turns for r, c in zip(("user", "assistant"), t)]
            f.write(json.dumps({"messages": messages}) + "\n")
    (args.heldout / "text.txt").write_text(heldout_text(maker))


if __name__ == "__main__":
    main()
