"""Makes conversations: dictionary questions, small tasks, and facts that are told early and asked for much later.

Everything is drawn from one `random.Random`, so a seed fixes the text. `Maker.document` returns token ids and loss
weights for training; `Maker.recall` returns one held-out conversation for evaluation.
"""
import bisect
import itertools
import zlib

import phrases as ph

USER_WEIGHT = 0.1       # the user's words are not the model's to produce, but they teach it English
RECALL_WEIGHT = 2.0     # few tokens, and the point of the model


def reserved(value):
    """Whether a fact's value is kept for the held-out set; one in sixteen is."""
    return zlib.crc32(value.lower().encode()) % 16 == 0


def article(word):
    """The word with "a" or "an" before it."""
    vowel = word[0] in "aeiou" and not word.startswith(("uni", "use", "usu", "eu", "one", "ut")) \
        or word.startswith(("hour", "honest", "honor", "heir"))
    return ("an " if vowel else "a ") + word


def lower_first(text):
    """Lowers the first letter when the first word is an ordinary one."""
    first = text.split(" ")[0].rstrip(".,'s")
    ordinary = {"My", "The", "We", "Our", "Everyone", "Meet", "To", "Use", "You", "People", "Please", "By", "What",
                "They", "There", "On", "Where", "When", "Which", "Who", "Do", "Tell", "Can", "How", "In", "At", "Say",
                "Name", "Read", "Could", "Remind", "These", "Be", "Just", "Come", "For", "Here", "Somebody", "Nothing"}
    return text[0].lower() + text[1:] if first in ordinary or text.startswith(("What's", "I've")) and first != "I" \
        else text


def meaning(entry):
    """The one sentence that answers what a word means."""
    word, pos, text = entry["word"], entry["pos"], entry["def"]
    if pos == "n":
        counted = entry["field"] not in ("", "substance", "food") and not word.endswith("s")
        first = text.split()[0]
        if counted and first not in ("a", "an", "the", "any", "one", "either", "all", "small", "large") \
                and first.endswith("s") and not first.endswith("ss"):
            counted = False                                         # "plants having ..."
        if text.startswith(("a ", "an ")) or counted:
            start = article(word)
            if first not in ("a", "an", "the", "any", "one", "either", "something", "someone", "all", "that"):
                text = article(text)
            return f"{start[0].upper()}{start[1:]} is {text}."
        if text.startswith(("the ", "any ", "one ", "something ", "someone ")):
            return f"{word[0].upper()}{word[1:]} is {text}."
    if pos == "v":
        return f"To {word} is to {text}."
    return f"{word[0].upper()}{word[1:]} means {text}."


class Maker:
    """Draws conversations from a random source. Not thread-safe; make one a process."""

    def __init__(self, dictionary, cities, tokenizer, rng, heldout=False):
        self.rng, self.tok, self.heldout = rng, tokenizer, heldout
        self.entries = dictionary
        self.sums = list(itertools.accumulate(e["weight"] for e in dictionary))
        self.nouns = [e for e in dictionary if e["pos"] == "n" and e["kind"]]
        self.with_example = [e for e in dictionary if e["examples"]]
        self.example_sums = list(itertools.accumulate(e["weight"] for e in self.with_example))
        plain = [e["word"] for e in dictionary if e["pos"] == "n" and " " not in e["word"] and len(e["word"]) < 10]
        self.name_words = [w.capitalize() for w in plain[:6000]]
        self.sortable = [e["word"] for e in dictionary[:6000] if " " not in e["word"] and len(e["word"]) < 9]
        self.extra_keys = [e["word"] for e in dictionary if e["field"] in ("animal", "artifact") and e["main"]
                           and " " not in e["word"] and len(e["word"]) < 10][:900]
        self.cities = cities
        self.sentences = [x for e in dictionary for x in e["examples"]]
        self._cache = {}

    # ---- values -------------------------------------------------------------------------------------------------

    def _pick(self, make):
        """Draws values until one belongs to this side of the held-out split."""
        for _ in range(1000):
            value = make()
            if reserved(value) == self.heldout:
                return value
        raise ValueError("no value on this side of the split")

    def invented(self):
        """A name no one has: two or three syllables."""
        start, middle, end = ph.SYLLABLES
        c, r = self.rng.choice, self.rng.random()
        name = "".join(c(start) + c(middle) for _ in range(1 if r < 0.35 else 2)) + c(end)
        if r > 0.9:
            name = c("aeiou") + name
        name = name + c(["", "a", "o", "y", "en", "el", "is"]) if len(name) < 6 else name
        return name.capitalize() if len(name) > 2 else (name + c(start) + "a").capitalize()

    def _name(self):
        r = self.rng.random()
        if r < 0.5:
            return self.invented()
        if r < 0.74:
            return self.rng.choice(self.name_words)
        if r < 0.86:
            return self.rng.choice(ph.GIVEN_NAMES)
        first = self.rng.choice(self.name_words) if r < 0.93 else self.invented()
        return f"{first} {self.rng.choice(self.name_words) if r < 0.9 else self.invented()}"

    def _digits(self, low, high):
        n = self.rng.randint(low, high)
        return str(self.rng.randint(1, 9)) + "".join(str(self.rng.randint(0, 9)) for _ in range(n - 1))

    def _code(self):
        r = self.rng.random()
        if r < 0.6:
            return self._digits(3, 6)
        letters = "".join(self.rng.choice("ABCDEFGHJKLMNPRSTUVWXYZ") for _ in range(self.rng.randint(1, 2)))
        return letters + self.rng.choice(["", "-", " "]) + self._digits(2, 4)

    def _time(self):
        hour, minute = self.rng.randint(1, 12), self.rng.randint(0, 59)
        if self.rng.random() < 0.3:
            return f"{self.rng.choice(['half past', 'a quarter past', 'a quarter to'])} " + self.rng.choice(
                "one two three four five six seven eight nine ten eleven".split())
        minute = minute if self.rng.random() < 0.6 else minute // 15 * 15
        return f"{hour}:{minute:02d}" + self.rng.choice(["", "", " in the morning", " in the evening"])

    def _city(self):
        return self.rng.choice(self.cities) if self.rng.random() < 0.5 else self.invented()

    def person(self):
        """Somebody's name, given or invented."""
        return self.rng.choice(ph.GIVEN_NAMES) if self.rng.random() < 0.6 else self.invented()

    def value(self, kind):
        """A value for a fact of this kind."""
        c = self.rng.choice
        return self._pick({
            "name": self._name, "me": self._name, "lives": self._city, "code": self._code, "time": self._time,
            "job": lambda: c(ph.JOBS) if self.rng.random() < 0.7 else c(["bird", "piano", "shoe", "clock", "boat",
                                                                        "cheese", "glass"]) + " " + c(ph.JOBS),
            "likes": lambda: c(["", "", "fresh ", "cold ", "warm "]) + c(ph.FOODS) if self.rng.random() < 0.6
            else c(ph.HOBBIES) + c(["", " and " + c(ph.HOBBIES)]),
            "place": lambda: f"{c(ph.WHERE)} the {c(ph.SPOT_ADJ)}{c(ph.SPOTS)}",
            "color": lambda: c(ph.SHADES) + c(ph.COLORS) if self.rng.random() < 0.8
            else c(ph.COLORS) + " and " + c(ph.COLORS),
            "number": lambda: self._digits(1, 5), "price": lambda: self._digits(1, 4),
            "date": lambda: f"{c(ph.MONTHS)} {self.rng.randint(1, 28)}",
            "word": lambda: c(self.sortable) if self.rng.random() < 0.5 else self._name(),
            "list": lambda: "{}, {} and {}".format(*self.rng.sample(ph.FOODS + ph.THINGS, 3)),
        }[kind])

    def key(self, kind):
        """What a fact of this kind is about."""
        c = self.rng.choice
        if kind == "name" and self.rng.random() < 0.25:
            return c(self.extra_keys)
        if kind == "place" and self.rng.random() < 0.2:
            return c(self.extra_keys)
        lists = {"name": ph.NAMED, "code": ph.CODED, "time": ph.EVENTS, "place": ph.THINGS, "color": ph.PAINTED,
                 "number": ph.NUMBERED, "price": ph.THINGS + ph.PAINTED, "date": ph.DATED, "word": ph.WORDS,
                 "list": ph.LISTS}
        return c(lists[kind]) if kind in lists else "" if kind == "me" else self.person()

    KINDS = ["name"] * 9 + ["me"] * 2 + ["lives"] * 3 + ["job"] * 2 + ["likes"] * 2 + ["code"] * 4 + ["time"] * 3 + \
        ["place"] * 3 + ["color"] * 2 + ["number"] * 3 + ["price"] * 2 + ["date"] * 2 + ["word"] * 3 + ["list"]

    def fact(self, used):
        """A new fact (kind, key, value) whose kind and key are not in `used`; adds them."""
        while True:
            kind = self.rng.choice(self.KINDS)
            key = self.key(kind)
            if (kind, key) not in used:
                used.add((kind, key))
                return kind, key, self.value(kind)

    def _fill(self, form, fact):
        kind, key, value = fact
        text = form.replace("{k}", key).replace("{p}", key).replace("{v}", value)
        for word in (key, value):
            if word and word[0] in "aeiou":
                text = text.replace(f" a {word}", f" an {word}")
        return text[0].upper() + text[1:]

    def _framed(self, frames, text):
        frame = self.rng.choice(frames[self.heldout])
        return frame.replace("{t}", text if frame.startswith("{t}") or frame[-5:-3] in (". ", "! ", "? ")
                             else lower_first(text))

    def tell(self, *facts):
        """The user's words for one fact or several."""
        told = [self._fill(self.rng.choice(ph.FACTS[f[0]][self.heldout]), f) for f in facts]
        return self._framed(ph.TELL_FRAMES, " ".join(told))

    def ask(self, fact):
        """The user's question about a fact."""
        return self._framed(ph.ASK_FRAMES, self._fill(self.rng.choice(ph.FACTS[fact[0]][2 + self.heldout]), fact))

    def answer(self, fact):
        """The right answer to `ask`."""
        return self._fill(ph.FACTS[fact[0]][4], fact)

    # ---- turns without memory -----------------------------------------------------------------------------------

    def entry(self):
        """A dictionary entry, common words more often."""
        return self.entries[bisect.bisect(self.sums, self.rng.random() * self.sums[-1])]

    def define(self):
        """What does a word mean? Sometimes followed by a question about the same word."""
        e, c = self.entry(), self.rng.choice
        form = c(ph.DEFINE[e["pos"]]) if not e["main"] or self.rng.random() < 0.55 else c(ph.DEFINE_ANY)
        turns = [(form.format(w=e["word"], a=article(e["word"])), meaning(e))]
        r = self.rng.random()
        if r < 0.10 and e["examples"]:
            turns.append((c(ph.EXAMPLE_IT), e["examples"][0]))
        elif r < 0.16:
            turns.append(self.kind_of(e))
        elif r < 0.22:
            turns.append(self.synonym(e))
        elif r < 0.25:
            turns.append(self.spell(e["word"]))
        return [t for t in turns if t]

    def synonym(self, e=None):
        """Another word for a word."""
        e = e or self.entry()
        if e["synonyms"] and e["main"]:
            return (self.rng.choice(ph.SYNONYM).format(w=e["word"]),
                    f"Another word for {e['word']} is {e['synonyms'][0]}.")

    def kind_of(self, e=None):
        """What kind of thing is it, and is it a kind of something?"""
        e = e or self.rng.choice(self.nouns)
        if e["pos"] != "n" or not e["kind"]:
            return None
        a, right = article(e["word"]), f"{article(e['word'])} is a kind of {e['kind']}."
        r = self.rng.random()
        if r < 0.4:
            return self.rng.choice(ph.KIND).format(a=a, A=a[0].upper() + a[1:]), right[0].upper() + right[1:]
        kind = e["kind"] if r < 0.7 else self.rng.choice(self.nouns)["kind"]
        yes = kind == e["kind"]
        return (self.rng.choice(ph.IS_KIND).format(a=a, k=kind, ak=article(kind)), ("Yes, " if yes else "No, ") + right)

    def example(self):
        """Use a word in a sentence."""
        e = self.with_example[bisect.bisect(self.example_sums, self.rng.random() * self.example_sums[-1])]
        return self.rng.choice(ph.EXAMPLE).format(w=e["word"]), e["examples"][0]

    def reverse(self):
        """Which word has this meaning?"""
        e = self.entry()
        return self.rng.choice(ph.REVERSE).format(d=e["def"]), f"{e['word'][0].upper()}{e['word'][1:]}."

    def spell(self, word=None):
        """Letters of a word."""
        word = word or (self.entry()["word"] if self.rng.random() < 0.8 else self.invented())
        return self.rng.choice(ph.SPELL).format(w=word), "-".join(word.replace(" ", ""))

    def sum(self):
        """A small sum."""
        r, i = self.rng.random(), self.rng.randint
        if r < 0.25:
            a, b, op = i(1, 12), i(1, 12), "times"
        else:
            top = 20 if r < 0.5 else 99
            a, b, op = i(1, top), i(1, top), "plus" if r < 0.7 else "minus"
        if op == "minus" and b > a:
            a, b = b, a
        result = {"plus": a + b, "minus": a - b, "times": a * b}[op]
        said = op if self.rng.random() < 0.6 else {"plus": "+", "minus": "-", "times": "*"}[op]
        form = self.rng.choice(["What is {}?", "How much is {}?", "Calculate {}.", "{}?", "Can you work out {}?"])
        return form.format(f"{a} {said} {b}"), f"{a} {said} {b} is {result}."

    def order(self):
        """Sort words or numbers, or compare two numbers."""
        r = self.rng.random()
        if r < 0.25:
            a, b = self.rng.sample(range(1, 1000 if r < 0.1 else 100), 2)
            big = self.rng.random() < 0.5
            word = self.rng.choice(["larger", "bigger"] if big else ["smaller", "less"])
            return f"Which is {word}, {a} or {b}?", f"{max(a, b) if big else min(a, b)} is {word}."
        n = self.rng.randint(2, 5)
        if r < 0.6:
            items = sorted({self.rng.choice(self.sortable) for _ in range(n)})
            forms = ph.ORDER
        else:
            items = [str(x) for x in sorted(self.rng.sample(range(1, 100), n))]
            forms = ph.ORDER_NUMBERS
        mixed = items[:]
        self.rng.shuffle(mixed)
        return self.rng.choice(forms).format(l=", ".join(mixed)), ", ".join(items) + "."

    def repeat(self):
        """Say something back: the plainest form of copying."""
        r = self.rng.random()
        if r < 0.5:
            text = " ".join(self.value("name") for _ in range(self.rng.randint(1, 3))) + "."
        elif r < 0.7:
            text = self.value("code") + "."
        else:
            text = self.rng.choice(self.sentences)
        return self.rng.choice(ph.REPEAT).format(v=text), text

    def small_talk(self):
        """Greetings, thanks and the like."""
        says, answers = self.rng.choice(ph.SMALL_TALK)
        return self.rng.choice(says), self.rng.choice(answers)

    def filler(self):
        """Turns that have nothing to do with the facts: a list of (user, assistant)."""
        r = self.rng.random()
        if r < 0.58:
            return self.define()
        make = (self.example if r < 0.63 else self.synonym if r < 0.68 else self.kind_of if r < 0.73 else
                self.reverse if r < 0.75 else self.spell if r < 0.79 else self.sum if r < 0.86 else
                self.order if r < 0.90 else self.repeat if r < 0.94 else self.small_talk)
        turn = make()
        return [turn] if turn else self.define()

    # ---- whole conversations ------------------------------------------------------------------------------------

    def _ids(self, text):
        found = self._cache.get(text)
        if found is None:
            found = self.tok.encode(text)
            if len(self._cache) < 200_000:
                self._cache[text] = found
        return found

    def document(self, length):
        """One training conversation of about `length` tokens: (ids, loss weights)."""
        if self.rng.random() < 0.04:
            return self.plain(min(length, 600))
        rng, tok = self.rng, self.tok
        ids, weights, used, told = [], [], set(), []
        user, assistant, end = tok.role_start("user"), tok.role_start("assistant"), tok.im_end

        def say(question, answer, weight=1.0):
            q, a = self._ids(question), self._ids(answer)
            ids.extend(user + q + [end] + assistant + a + [end])
            weights.extend([0.0] * len(user) + [USER_WEIGHT] * len(q) + [0.0] * (1 + len(assistant))
                           + [weight] * (len(a) + 1))

        def recall():
            r = rng.random()
            if r < 0.07:
                missing = self.fact(set(used))
                say(self.ask(missing), ph.NOT_TOLD)
            else:
                fact = told[0] if r < 0.2 else rng.choice(told)
                say(self.ask(fact), self.answer(fact), RECALL_WEIGHT)

        if rng.random() < 0.15:
            text = rng.choice(ph.SYSTEM)
            if rng.random() < 0.3:
                told.append(("me", "", self.value("me")))
                used.add(("me", ""))
                text += f" The user's name is {told[0][2]}."
            text = tok.encode(text)
            start = tok.role_start("system")
            ids.extend(start + text + [end])
            weights.extend([0.0] * len(start) + [USER_WEIGHT] * len(text) + [0.0])
        # A short conversation is dense in facts; a long one spreads a few more over its length.
        pairs = max(1.0, length / 42)
        p_tell = min(0.3, rng.uniform(2, 9 if length < 1500 else 14) / pairs)
        p_ask = min(0.4, rng.uniform(3, 14 if length < 1500 else 40) / pairs)
        if rng.random() < 0.12:
            p_tell = p_ask = 0.0                     # dictionary only
        while len(ids) < length - 40:
            r = rng.random()
            if r < p_tell or (p_tell and not told and r < 0.5):
                new = [self.fact(used) for _ in range(1 if rng.random() < 0.8 else 2)]
                told.extend(new)
                say(self.tell(*new), rng.choice(ph.ACKNOWLEDGE), 0.4)
            elif r < p_tell + p_ask and told:
                recall()
            else:
                for question, answer in self.filler():
                    say(question, answer)
        if told:
            recall()
        return ids, weights

    def plain(self, length):
        """Plain text without special tokens: a written-out conversation or dictionary lines."""
        lines = self.plain_lines()
        ids = []
        while len(ids) < length - 20:
            ids.extend(self.tok.encode(next(lines)))
        return ids, [0.5] * len(ids)

    def plain_lines(self):
        """Lines of plain text without end."""
        chat = self.rng.random() < 0.5
        while True:
            if chat:
                for question, answer in self.filler():
                    yield f"User: {question}\nAssistant: {answer}\n"
            else:
                e = self.entry()
                yield f"{e['word']}: {e['def']}.\n" + "".join(f"{x}\n" for x in e["examples"])

    def recall(self, distance):
        """A held-out conversation whose last question asks for a fact told `distance` tokens earlier."""
        rng, used = self.rng, set()
        fact = self.fact(used)
        while fact[0] in ("color", "job", "likes", "list") and rng.random() < 0.7:    # mostly open value sets
            fact = self.fact(used)
        messages = []

        def say(question, answer):
            messages.extend([{"role": "user", "content": question}, {"role": "assistant", "content": answer}])

        for _ in range(rng.randint(0, 1)):
            for turn in self.filler():
                say(*turn)
        say(self.tell(fact), ph.ACKNOWLEDGE[0])
        start = len(self.tok.encode_chat(messages[:-1], answer=False))
        others = rng.randint(2, 5)
        while True:
            before = len(self.tok.encode_chat(messages, answer=False)) - start
            if before >= distance - 20:
                break
            if others and rng.random() < others * 60 / distance:
                others -= 1
                say(self.tell(self.fact(used)), ph.ACKNOWLEDGE[0])
            else:
                for turn in self.filler():
                    say(*turn)
        messages.append({"role": "user", "content": self.ask(fact)})
        return {"messages": messages, "answer": fact[2], "distance": before, "kind": fact[0],
                "reference": self.answer(fact)}
