"""Byte-level BPE in the tiktoken file format, and the chat layout of Kimi Linear.

A `tiktoken.model` has one line a token: base64 of its bytes, a space, its rank; rank = id = merge priority. Special
tokens follow the base vocabulary at the offsets the released 48B tokenizer uses.
"""
import base64
import collections
import heapq

import regex

PATTERN = "|".join([
    r"[\p{Han}]+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"\s*[\r\n]+",
    r"\s+(?!\S)",
    r"\s+",
])
SPLIT = regex.compile(PATTERN, regex.V1)

# Offset from the base vocabulary's size -> text, as in the released tokenizer; the others are reserved.
SPECIAL = {
    0: "[BOS]", 1: "[EOS]", 2: "<|im_end|>", 3: "<|im_user|>", 4: "<|im_assistant|>", 6: "<|start_header_id|>",
    7: "<|end_header_id|>", 9: "[EOT]", 10: "<|im_system|>", 11: "<|tool_calls_section_begin|>",
    12: "<|tool_calls_section_end|>", 13: "<|tool_call_begin|>", 14: "<|tool_call_argument_begin|>",
    15: "<|tool_call_end|>", 17: "<|im_middle|>", 254: "[UNK]", 255: "[PAD]",
}
IM_END, IM_USER, IM_ASSISTANT, IM_SYSTEM, IM_MIDDLE = 2, 3, 4, 10, 17
NUM_SPECIAL = 256


def train_bpe(text, size):
    """Learns `size` - 256 merges from a text; returns the tokens' bytes in rank order.

    Pieces with digits are left out, so every digit stays a token of its own: the model copies numbers digit by digit.
    """
    counts = collections.Counter(p for p in SPLIT.findall(text) if not any(c.isdigit() for c in p))
    words = [[bytes([b]) for b in piece.encode()] for piece in counts]
    weight = list(counts.values())
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for i, word in enumerate(words):
        for pair in zip(word, word[1:]):
            pairs[pair] += weight[i]
            where[pair].add(i)
    heap = [(-n, pair) for pair, n in pairs.items()]
    heapq.heapify(heap)
    tokens = [bytes([b]) for b in range(256)]
    known = set(tokens)
    while len(tokens) < size and heap:
        n, pair = heapq.heappop(heap)
        if pairs[pair] != -n:                        # stale: the count changed since it was pushed
            continue
        merged = pair[0] + pair[1]
        changed = set()
        for i in where.pop(pair):
            old, new, at = words[i], [], 0
            while at < len(old):
                if at + 1 < len(old) and (old[at], old[at + 1]) == pair:
                    new.append(merged)
                    at += 2
                else:
                    new.append(old[at])
                    at += 1
            for p in zip(old, old[1:]):
                pairs[p] -= weight[i]
                changed.add(p)
            for p in zip(new, new[1:]):
                pairs[p] += weight[i]
                where[p].add(i)
                changed.add(p)
            words[i] = new
        for p in changed:
            if pairs[p] > 0 and p != pair:
                heapq.heappush(heap, (-pairs[p], p))
        if merged not in known:
            known.add(merged)
            tokens.append(merged)
    if len(tokens) != size:
        raise ValueError(f"the text yields only {len(tokens)} tokens")
    return tokens


def save(tokens, path):
    """Writes the tokens as a tiktoken file."""
    with open(path, "w", encoding="ascii") as f:
        for rank, token in enumerate(tokens):
            f.write(f"{base64.b64encode(token).decode()} {rank}\n")


class Tokenizer:
    """Encodes text and conversations, decodes ids."""

    def __init__(self, path):
        lines = open(path, encoding="ascii").read().split("\n")[:-1]
        self.tokens = [base64.b64decode(line.split(" ")[0]) for line in lines]
        self.rank = {token: i for i, token in enumerate(self.tokens)}
        self.base = len(self.tokens)
        self.vocab_size = self.base + NUM_SPECIAL
        self._cache = {}
        self._role = {
            role: [self.base + start, *self.encode(role), self.base + IM_MIDDLE]
            for role, start in (("user", IM_USER), ("assistant", IM_ASSISTANT), ("system", IM_SYSTEM))}

    def _merge(self, piece):
        parts = [bytes([b]) for b in piece.encode()]
        while len(parts) > 1:
            ranks = [self.rank.get(a + b, self.base) for a, b in zip(parts, parts[1:])]
            best = min(ranks)
            if best == self.base:
                break
            i = ranks.index(best)
            parts[i:i + 2] = [parts[i] + parts[i + 1]]
        return tuple(self.rank[p] for p in parts)

    def encode(self, text):
        """Ids of a plain text; special strings in it are ordinary text."""
        ids = []
        cache = self._cache
        for piece in SPLIT.findall(text):
            found = cache.get(piece)
            if found is None:
                data = piece.encode()
                found = (self.rank[data],) if data in self.rank else self._merge(piece)
                if len(cache) < 400_000:
                    cache[piece] = found
            ids.extend(found)
        return ids

    def role_start(self, role):
        """Ids that open a message of this role."""
        return self._role[role]

    @property
    def im_end(self):
        return self.base + IM_END

    def encode_chat(self, messages, answer=True):
        """Ids of a conversation, ending with the opening of the assistant's answer if `answer`."""
        ids = []
        for m in messages:
            ids += self._role[m["role"]] + self.encode(m["content"]) + [self.im_end]
        return ids + (self._role["assistant"] if answer else [])

    def decode(self, ids):
        """Text of ids; special tokens are left out."""
        return b"".join(self.tokens[i] for i in ids if i < self.base).decode("utf-8", "replace")
