"""Makes trained_vectors.json: what the Python tokenizer of samples/tiny_model gives with its vocabulary.

    pip install regex && python3 make_trained_vectors.py

To be run again when samples/tiny_model/checkpoint/tiktoken.model changes.
"""
import json
import pathlib
import random
import sys

HERE = pathlib.Path(__file__).resolve().parent
SAMPLE = HERE.parents[2] / "samples" / "tiny_model"
sys.path.insert(0, str(SAMPLE))
from tokenizer import Tokenizer  # noqa: E402

tokenizer = Tokenizer(SAMPLE / "checkpoint" / "tiktoken.model")
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
