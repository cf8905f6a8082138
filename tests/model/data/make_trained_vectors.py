"""Makes trained_vectors.json: what the Python tokenizer of samples/tiny_model gives with trained.tiktoken.

    pip install regex && python3 make_trained_vectors.py

trained.tiktoken came out of that tokenizer's train_bpe over the sample model's corpus.
"""
import json
import pathlib
import random
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "samples" / "tiny_model"))
from tokenizer import Tokenizer  # noqa: E402

tokenizer = Tokenizer(HERE / "trained.tiktoken")
rng = random.Random(3)
texts = [row["text"] for row in json.loads((HERE / "split_vectors.json").read_text())]
words = [t.decode("utf-8", "ignore") for t in tokenizer.tokens]
texts += ["".join(rng.choices(words, k=rng.randint(1, 12))) for _ in range(200)]
messages = [{"role": "system", "content": "You answer briefly."}, {"role": "user", "content": "What is a river?"},
            {"role": "assistant", "content": "A large stream of water."}, {"role": "user", "content": " And 12 + 30?\n"}]

with open(HERE / "trained_vectors.json", "w", encoding="ascii") as f:
    rows = [json.dumps({"text": t, "ids": tokenizer.encode(t)}, separators=(",", ":")) for t in texts]
    chat = json.dumps({"messages": messages, "ids": tokenizer.encode_chat(messages)}, separators=(",", ":"))
    f.write('{"texts":[\n' + ",\n".join(rows) + '\n],\n"chat":' + chat + "}\n")
