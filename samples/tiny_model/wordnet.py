"""Reads WordNet 3.0's database files into a small list of dictionary entries.

An entry is a word with one meaning: the first (most usual) sense of one part of speech, its definition cut down to a
readable sentence, example sentences that really contain the word, synonyms, the word one step more general
("brook" -> "stream") and a weight that says how common the word is.
"""
import collections
import math
import pathlib
import re

POS_FILES = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
SS_TYPE = {"n": "1", "v": "2", "a": "3", "r": "4", "s": "5"}
# Lexicographer files whose nouns are things one can point at: people ask about these even if texts rarely name them.
CONCRETE = {5: "animal", 6: "artifact", 8: "body", 13: "food", 17: "object", 18: "person", 19: "phenomenon",
            20: "plant", 27: "substance"}
MAX_WORDS = 22
UNKIND = re.compile(r"slang|offensive|insult|disparag|vulgar|obscen|slur|derogat|sexual|coitus|genital|prostitut|rape")


def read_data(folder, pos):
    """Yields (offset, lexfile, ss_type, [(lemma, lex_id)], [(symbol, offset, pos)], gloss) of one data file."""
    for line in (pathlib.Path(folder) / f"data.{pos}").read_text("latin-1").splitlines():
        if line.startswith("  "):
            continue
        head, _, gloss = line.partition("|")
        f = head.split()
        offset, lexfile, ss_type, count = f[0], int(f[1]), f[2], int(f[3], 16)
        words = [(re.sub(r"\((a|p|ip)\)$", "", f[4 + 2 * i]), int(f[5 + 2 * i], 16)) for i in range(count)]
        at = 4 + 2 * count
        pointers = [(f[at + 1 + 4 * i], f[at + 2 + 4 * i], f[at + 3 + 4 * i]) for i in range(int(f[at]))]
        yield offset, lexfile, ss_type, words, pointers, gloss.strip()


def tag_counts(folder):
    """How often each sense was seen in WordNet's tagged texts: (lemma, ss_type, lexfile, lex_id) -> count."""
    counts = {}
    for line in (pathlib.Path(folder) / "cntlist.rev").read_text("latin-1").splitlines():
        key, _, count = line.split()
        lemma, _, rest = key.partition("%")
        ss_type, lexfile, lex_id = rest.split(":")[:3]
        counts[lemma, ss_type, int(lexfile), int(lex_id)] = int(count)
    return counts


def clean(text):
    """Drops bracketed asides, old-style quotes and double spaces."""
    text = re.sub(r"\([^()]*\)", " ", text).replace("`", "'").replace("''", "'")
    text = re.sub(r"\s+", " ", text).strip(" ,:;.")
    return re.sub(r"\s+([,;.!?])", r"\1", text)


def definition(gloss):
    """The first definition of a gloss as one short phrase, or '' when it does not read well."""
    text = clean(gloss.split('"')[0].split(";")[0])
    words = text.split()
    if len(words) > MAX_WORDS:
        parts = text.split(", ")
        while len(parts) > 1 and len(", ".join(parts).split()) > MAX_WORDS:
            parts.pop()
        text = ", ".join(parts)
        words = text.split()
    good = 2 <= len(words) <= MAX_WORDS + 6 and re.fullmatch(r"[A-Za-z0-9 ,'./-]+", text) and "(" not in gloss[:1]
    return text if good else ""


def examples(gloss, lemma):
    """Example sentences that contain the word itself, as plain sentences."""
    stem = re.escape(lemma.replace("_", " "))
    found = []
    for text in re.findall(r'"([^"]+)"', gloss):
        text = clean(text)
        if re.search(rf"\b{stem}(s|es|d|ed|ing)?\b", text, re.I) and 3 <= len(text.split()) <= 16 \
                and re.fullmatch(r"[A-Za-z0-9 ,'.!?-]+", text):
            text = text[0].upper() + text[1:]
            found.append(text if text[-1] in ".!?" else text + ".")
    return found


def entries(folder, minimum=1.4):
    """All dictionary entries whose word is common enough, the commonest first."""
    synsets, texts = {}, collections.Counter()
    for pos, letter in POS_FILES.items():
        for offset, lexfile, ss_type, words, pointers, gloss in read_data(folder, pos):
            synsets[letter, offset] = (lexfile, ss_type, words, pointers, gloss)
            texts.update(set(re.findall(r"[a-z]+", gloss.lower())))
    counts = tag_counts(folder)
    result = []
    for pos, letter in POS_FILES.items():
        for line in (pathlib.Path(folder) / f"index.{pos}").read_text("latin-1").splitlines():
            if line.startswith("  "):
                continue
            f = line.split()
            lemma, offset = f[0], f[-int(f[2])]
            if not re.fullmatch(r"[a-z]{2,14}(_[a-z]{2,10})?", lemma):
                continue
            lexfile, ss_type, words, pointers, gloss = synsets[letter, offset]
            written = {w.lower(): (w, i) for w, i in words}
            if lemma not in written or written[lemma][0] != lemma:      # names and abbreviations
                continue
            tagged = counts.get((lemma, SS_TYPE[ss_type], lexfile, written[lemma][1]), 0)
            score = tagged + (0.25 if letter == "n" else 0.1) * min(texts[lemma], 60)
            if letter == "n" and lexfile in CONCRETE:
                score = 2.0 * score + (0.6 if "_" not in lemma else 0)
            meaning = definition(gloss)
            if score < minimum or not meaning or UNKIND.search(gloss) or re.search(rf"\b{lemma}\b", meaning):
                continue
            above = [synsets[p, o] for s, o, p in pointers if s in ("@", "@i")]
            kind = above[0][2][0][0].replace("_", " ") if above else ""
            result.append({
                "word": lemma.replace("_", " "), "pos": letter, "def": meaning, "examples": examples(gloss, lemma)[:3],
                "synonyms": [w.replace("_", " ") for w, _ in words if w.lower() != lemma and w.islower()][:3],
                "kind": kind if kind.islower() else "", "field": CONCRETE.get(lexfile, "") if letter == "n" else "",
                "score": round(score, 2), "weight": round(min(math.sqrt(score), 10.0), 3)})
    result.sort(key=lambda e: (-e["score"], e["word"], e["pos"]))
    best = {}
    for e in result:
        best.setdefault(e["word"], e["pos"])
    for e in result:
        e["main"] = best[e["word"]] == e["pos"]
    return result


def cities(folder):
    """Names of real cities, for facts such as 'Anna lives in Lisbon'."""
    found = set()
    for _, _, _, words, pointers, gloss in read_data(folder, "noun"):
        if any(s == "@i" for s, _, _ in pointers) and re.search(r"\b(city|capital|port|town)\b", gloss.split(";")[0]):
            found.update(w for w, _ in words if re.fullmatch(r"[A-Z][a-z]{3,11}", w))
    return sorted(found)
