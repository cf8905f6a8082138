"""Makes conversations: dictionary questions, small tasks, and facts that are told early and asked for much later.

Everything is drawn from one `random.Random`, so a seed fixes the text. `Maker.document` returns token ids and what
each is worth for training; `Maker.recall` returns one held-out conversation.
"""
import zlib

import phrases as ph

# What a token is: a user's, the model's, a repeated one of a drill, or (VALUE + age) one of a value that was mentioned
# `age` tokens ago.
USER, ANSWER, DRILL, VALUE = 1, 2, 3, 4


def reserved(value):
    """Whether a fact's value is kept for the held-out set; one in sixteen is."""
    return zlib.crc32(value.lower().encode()) % 16 == 0


def article(word):
    """The word with "a" or "an" before it."""
    vowel = word[0] in "aeiou" and not word.startswith(("uni", "use", "usu", "eu", "one", "ut")) \
        or word.startswith(("hour", "honest", "honor", "heir"))
    return ("an " if vowel else "a ") + word


def meaning(entry):
    """The one sentence that answers what a word means."""
    word, pos, text = entry["word"], entry["pos"], entry["def"]
    if pos == "n":
        counted = entry["field"] not in ("", "substance", "food") and not word.endswith("s")
        first = text.split()[0]
        if counted and first not in ("a", "an", "the", "any", "one", "either", "all", "small", "large") \
                and first.endswith("s") and not first.endswith("ss"):
            counted = False                                         # "plants having ..."
        if counted:
            start = article(word)
            if first not in ("a", "an", "the", "any", "one", "either", "something", "someone", "all", "that"):
                text = article(text)
            return f"{start[0].upper()}{start[1:]} is {text}."
        if text.startswith(("a ", "an ", "the ", "any ", "one ", "something ", "someone ")):
            return f"{word[0].upper()}{word[1:]} is {text}."
    if pos == "v":
        return f"To {word} is to {text}."
    return f"{word[0].upper()}{word[1:]} means {text}."


class Maker:
    """Draws conversations from a random source. Not thread-safe; make one a process."""

    def __init__(self, data, tokenizer, rng, heldout=False):
        self.rng, self.tok, self.heldout = rng, tokenizer, heldout
        self.entries, self.unknown, self.cities = data["known"], data["unknown"], data["cities"]
        self.words = [e["word"] for e in self.entries]
        self.short = [w for w in self.words if len(w) < 8]
        self.name_words = data["names"]
        self._cache = {}

    # ---- facts --------------------------------------------------------------------------------------------------

    def invented(self):
        """A name no one has: one to three syllables."""
        start, middle, end = ph.SYLLABLES
        c, r = self.rng.choice, self.rng.random()
        name = "".join(c(start) + c(middle) for _ in range(1 if r < 0.35 else 2)) + c(end)
        name = name + c(["", "a", "o", "y", "en", "el", "is"]) if len(name) < 6 else name
        return name.capitalize() if len(name) > 2 else (name + c(start) + "a").capitalize()

    def _name(self):
        return self.invented() if self.rng.random() < 0.7 else self.rng.choice(self.name_words)

    def _draw(self, kind):
        c = self.rng.choice
        if kind == "lives":
            return c(self.cities) if self.rng.random() < 0.6 else self.invented()
        if kind == "code":
            return str(self.rng.randint(100, 99999))
        return c(ph.SHADES) + c(ph.COLORS) if kind == "color" else self._name()

    def value(self, kind):
        """A value for a fact of this kind, from this side of the held-out split."""
        while reserved(value := self._draw(kind)) != self.heldout:
            pass
        return value

    KEYS = {"name": ph.NAMED, "lives": ph.GIVEN_NAMES, "code": ph.CODED, "color": ph.PAINTED, "me": [""]}
    KINDS = ["name"] * 9 + ["lives"] * 4 + ["code"] * 4 + ["color"] + ["me"]

    def fact(self, used, kinds=None):
        """A new fact (kind, key, value) whose kind and key are not in `used`; adds them."""
        while True:
            kind = self.rng.choice(kinds or self.KINDS)
            key = self.rng.choice(self.KEYS[kind])
            if (kind, key) not in used:
                used.add((kind, key))
                return kind, key, self.value(kind)

    def _framed(self, frames, text):
        frame = self.rng.choice(frames)
        lower = text if text.split()[0] in ph.GIVEN_NAMES or text.startswith("I ") else text[0].lower() + text[1:]
        return frame.replace("{t}", text).replace("{l}", lower)

    def tell(self, *facts):
        """The user's words for one fact or several."""
        told = [self.rng.choice(ph.FACTS[kind][0]).replace("{k}", key).replace("{v}", value)
                for kind, key, value in facts]
        return self._framed(ph.TELL_FRAMES, " ".join(told))

    def ask(self, fact):
        """The user's question about a fact."""
        return self._framed(ph.ASK_FRAMES, self.rng.choice(ph.FACTS[fact[0]][1]).replace("{k}", fact[1]))

    def answer(self, fact):
        """The right answer to `ask`, before the value and from it on."""
        return ph.FACTS[fact[0]][2].replace("{k}", fact[1]), f" {fact[2]}."

    # ---- turns without memory -----------------------------------------------------------------------------------

    def define(self):
        """What does a word mean?"""
        if self.rng.random() < 0.08:
            return self.refuse()
        e = self.rng.choice(self.entries)
        return self.question(e), meaning(e)

    def question(self, entry):
        """Asks for the meaning of a word."""
        forms = ph.DEFINE[entry["pos"]] if self.rng.random() < 0.6 else ph.DEFINE_ANY
        return self.rng.choice(forms).format(w=entry["word"], a=article(entry["word"]))

    def refuse(self):
        """A word the model was not taught."""
        word = self.rng.choice(self.unknown)
        return self.rng.choice(ph.DEFINE["n"] + ph.DEFINE_ANY).format(w=word, a=article(word)), ph.UNKNOWN

    def spell(self):
        """Letters of a word."""
        word = self.rng.choice(self.words)
        return self.rng.choice(ph.SPELL).format(w=word), "-".join(word.replace(" ", "")) + "."

    def sum(self):
        """A small sum."""
        r, i = self.rng.random(), self.rng.randint
        if r < 0.2:
            a, b, op = i(1, 10), i(1, 10), "times"
        else:
            a, b, op = i(0, 20), i(0, 20), "plus" if r < 0.6 else "minus"
        if op == "minus" and b > a:
            a, b = b, a
        result = {"plus": a + b, "minus": a - b, "times": a * b}[op]
        return self.rng.choice(ph.SUM).format(s=f"{a} {op} {b}"), f"{a} {op} {b} is {result}."

    def order(self):
        """Sort words or numbers, or compare two numbers."""
        r, c = self.rng.random(), self.rng.choice
        if r < 0.3:
            a, b = self.rng.sample(range(1, 100), 2)
            big = self.rng.random() < 0.5
            word = "larger" if big else "smaller"
            return f"Which is {word}, {a} or {b}?", f"{max(a, b) if big else min(a, b)} is {word}."
        n = self.rng.randint(2, 4)
        if r < 0.5:
            items, forms = sorted(self.rng.sample(self.short, n)), ph.SORT_WORDS
        else:
            items, forms = [str(x) for x in sorted(self.rng.sample(range(1, 50), n))], ph.SORT
        mixed = items[:]
        self.rng.shuffle(mixed)
        return c(forms).format(l=", ".join(mixed)), ", ".join(items) + "."

    def repeat(self):
        """Say something back: the plainest form of copying."""
        text = self.value("code") if self.rng.random() < 0.3 else " ".join(
            self.value("name") for _ in range(self.rng.randint(1, 3)))
        return self.rng.choice(ph.REPEAT).format(v=text), text + "."

    def filler(self):
        """A turn that has nothing to do with the facts: (user, assistant)."""
        r = self.rng.random()
        if r < 0.68:
            return self.define()
        if r < 0.93:
            return (self.spell if r < 0.74 else self.sum if r < 0.84 else self.order if r < 0.90 else self.repeat)()
        questions, answer = self.rng.choice(ph.SMALL_TALK)
        return self.rng.choice(questions), answer

    # ---- whole conversations ------------------------------------------------------------------------------------

    def _ids(self, text):
        found = self._cache.get(text)
        if found is None:
            found = self.tok.encode(text)
            if len(self._cache) < 200_000:
                self._cache[text] = found
        return found

    def document(self, length, dense=0.0):
        """One training conversation of at least `length` tokens: (ids, 0 or USER, ANSWER, VALUE... for each).

        `dense` in 0..1 is the share of turns that tell or ask; 0 draws few tellings and some questions.
        """
        rng, tok = self.rng, self.tok
        ids, marks, used, told = [], [], set(), []
        user, assistant, end = tok.role_start("user"), tok.role_start("assistant"), tok.im_end

        def say(question, *answer, mark=ANSWER):
            q = self._ids(question)
            ids.extend(user + q + [end] + assistant)
            marks.extend([0] * len(user) + [USER] * len(q) + [0] * (1 + len(assistant)))
            for part, kind in zip(answer, (ANSWER, mark)):
                a = self._ids(part)
                ids.extend(a)
                marks.extend([kind] * len(a))
            ids.append(end)
            marks.append(ANSWER)

        def recall():
            if rng.random() < 0.03:
                say(self.ask(self.fact(set(used))), ph.NOT_TOLD)
                return
            fresh = [f for f in told if not f[2]]
            one = rng.choice(fresh if fresh and rng.random() < 0.6 else told)
            age, one[0], one[2] = len(ids) - one[0], len(ids), True
            say(self.ask(one[1]), *self.answer(one[1]), mark=VALUE + age)

        if rng.random() < 0.05:
            text = tok.encode(rng.choice(ph.SYSTEM))
            start = tok.role_start("system")
            ids.extend(start + text + [end])
            marks.extend([0] * len(start) + [USER] * len(text) + [0])
        if dense:
            p_tell, p_ask = 0.4 * dense, 0.6 * dense
        else:
            turns = max(4.0, length / 30)
            p_tell, p_ask = rng.uniform(3, 16) / turns, min(0.5, rng.uniform(6, 40) / turns)
        early, limit = not dense and rng.random() < 0.6, rng.randint(8, 30)
        while len(ids) < length:
            r = rng.random()
            if early:                           # most facts first, most questions much later
                more = len(ids) < 0.35 * length
                tell, ask = p_tell * (2.5 if more else 0.2), p_ask * (0.2 if more else 1.3)
            else:
                tell, ask = p_tell, p_ask
            if not told and r < 0.6 or r < tell and len(told) < limit:
                new = [self.fact(used) for _ in range(1 if rng.random() < 0.8 else 2)]
                told.extend([len(ids), fact, False] for fact in new)     # last mention, fact, asked
                say(self.tell(*new), ph.ACKNOWLEDGE)
            elif r < tell + ask and told:
                recall()
            else:
                say(*self.filler())
        return ids, marks

    def drill(self, length):
        """Random tokens, said twice or more: nothing to learn here but looking up what came next."""
        ids, marks = [], []
        while len(ids) < length:
            part = [self.rng.randrange(self.tok.base) for _ in range(self.rng.randint(6, max(8, length // 4)))]
            for again in range(self.rng.randint(2, 3)):
                ids += part
                marks += [0] * 2 + [DRILL] * (len(part) - 2) if again else [0] * len(part)
        return ids, marks

    def plain(self, length):
        """Plain text without special tokens: dictionary lines and written-out conversations."""
        lines, ids = self.plain_lines(), []
        while len(ids) < length:
            ids.extend(self.tok.encode(next(lines)))
        return ids, [ANSWER] * len(ids)

    def plain_lines(self):
        """Lines of plain text without end."""
        while True:
            facts = [self.fact(set()) for _ in range(2)]
            for fact in facts:
                yield f"User: {self.tell(fact)}\nAssistant: {ph.ACKNOWLEDGE}\n"
            for _ in range(self.rng.randint(2, 8)):
                yield "User: {}\nAssistant: {}\n".format(*self.filler())
            for fact in facts:
                yield f"User: {self.ask(fact)}\nAssistant: {''.join(self.answer(fact))}\n"
            for _ in range(4):
                e = self.rng.choice(self.entries)
                yield f"{e['word']}: {e['def']}.\n"

    def recall(self, distance):
        """A held-out conversation whose last question asks for a fact told `distance` tokens earlier.

        Three to six other facts, two of the same kind, are told in between or before; some are asked for.
        """
        rng, used, messages = self.rng, set(), []
        fact = self.fact(used, [k for k in self.KINDS if k != "me"])

        def say(question, answer):
            messages.extend([{"role": "user", "content": question}, {"role": "assistant", "content": answer}])

        others = []
        for kinds in [[fact[0]]] * 2 + [None] * rng.randint(1, 4):
            other = fact
            while other[2] == fact[2]:
                other = self.fact(used, kinds)
            others.append(other)
        told = []
        if rng.random() < 0.5:
            told.append(others.pop())
            say(self.tell(told[-1]), ph.ACKNOWLEDGE)
        say(self.tell(fact), ph.ACKNOWLEDGE)
        start = len(self.tok.encode_chat(messages[:-1], answer=False))
        every = distance / 30 / (len(others) + 1)
        while True:
            before = len(self.tok.encode_chat(messages, answer=False)) - start
            left = distance - before
            if left < 10 and not others:
                break
            if others and (rng.random() < 1 / every or left < 30 * len(others)):
                told.append(others.pop(rng.randrange(len(others))))
                say(self.tell(told[-1]), ph.ACKNOWLEDGE)
            elif told and rng.random() < 0.03:
                other = rng.choice(told)
                say(self.ask(other), "".join(self.answer(other)))
            else:
                say(*self.filler())
        messages.append({"role": "user", "content": self.ask(fact)})
        return {"messages": messages, "answer": fact[2], "distance": before, "kind": fact[0],
                "reference": "".join(self.answer(fact))}
