"""Makes split_vectors.json and utf8_vectors.json from implementations that share nothing with Rill.

    pip install regex && python3 make_vectors.py

Pieces come from Python's `regex` (version 1 behaviour, which has class intersections), replacement of malformed UTF-8
from Python's own decoder. Texts use only characters whose category is the same in Python's (older) and regex's (newer)
Unicode data, so that they hold for any PCRE2 in between.
"""
import json
import random
import unicodedata

import regex

UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
LEAD, CONTRACTION = r"[^\r\n\p{L}\p{N}]?", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
SPLIT = regex.compile("|".join([
    r"[\p{Han}]+", LEAD + UPPER + "*" + LOWER + "+" + CONTRACTION, LEAD + UPPER + "+" + LOWER + "*" + CONTRACTION,
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"]), regex.V1)

CHOSEN = [
    "helloWorld fooBAR XMLHttp ChatGPT iPhone", "I'm CAN'T wait", "世界hello世世——“你好”", "a  b   c\n\n  d",
    "नमस्ते दुनिया", "カタカナabc", " 々", "", " ", "  ", "\n", "\r\n", " \n", "\n ", " \r\n \r\n x", "\t\tx", "x\t\ty",
    "a b", "a  b", "a   b", "trailing  ", "ABC ABc ABcD aBC Abc", "it's IT'S it'ſ it’s don't we'll we'LL I'D i've",
    "x'sy 'tis ''s 's", "'S'T'RE", "1234567 12 a1b2c3 ١٢٣٤ ½²Ⅻ 1,234.5", "３４５６", "〇一二三", "々〆〇〡〢", "日本語のテスト",
    "漢字かなカナ漢字", "한국어 텍스트", "e\u0301a\u0300 \u0301x !\u0301y", "\u0301\u0301\u0301", "A\u0301B\u0301c\u0301", "ǅǈǋ ǅa aǅ",
    "ʰʱa Aʰ ʰA", "😀😃 👨‍👩‍👧‍👦 👍🏽 🇩🇪🇫🇷 ☺️", " 😀 !", "!!! ??? ...\n\n", "...\r\n\r\nx", "foo();\n\tbar();\n", "#include <x>\r\n",
    "http://a.b/c?d=e&f=g#h", "a_b __init__ snake_case", "$100 €5 £3.50", "naïve café ÑANDÚ Straße ŒUVRE", "Привет МИР мИр",
    "Γειά ΣΟΥ", "שלום עולם", "مرحبا بالعالم", "สวัสดีชาวโลก", "ສະບາຍດີ", "გამარჯობა ᲒᲐ", "\u00a0x\u00a0 y", "\u3000x\u3000\u3000y", "a\u2028b\u2029c", "a\u0085b\u0085\u0085",
    "a\u200bb\u200dc\ufeffd", "a\u180eb \u180e\u180ec", "a\u001cb\u001d\u001ec\u001f", "\x00\x01a\x7f", "a\x0b\x0cb", "\ufdd0x\uffffy", "\U0010ffff z", "\ue000\ue001a",
    "\U00020000\U0002a6d6x", "\U00016ff0\U00016fe3a", "\U0001d400\U0001d41ab", "\u2e80\u2e9b\u2f00a", "⺀a⺛", "<|im_end|>[BOS]<|im_user|>", "a\r\r\n\nb",
    " \u0301 \u0301a", "\n\u0301", "\r\u0301a", "1\u0301", "１a", "a¹b", "ªº", "ﬁﬂ FI'ﬅ", "İıſK'S", "ﾊﾟﾋﾟ ﾊ", "\u0378a \u0378",
]
ALPHABET = (list("aabBcDzZ") + list("''’sStTrRvVeEmMlLdD") + list("   \t\n\n\r\v\u00a0\u3000\u0085\u2028\u180e\u001c") + list("0129½Ⅻ٣") + list("!?.,-_#(){}<|>")
            + list("世界々〇漢") + ["\U00020000"] + list("かなカー한नम") + ["\u0301", "\u0308", "\u093e", "\u200d", "\ufe0f", "\ue000", "\uffff", "\x00"]
            + list("éÉßǅʰªйЙאم") + ["😀", "👍", "🏽", "𝐀", "𝐚"])


def same_category(c):
    return regex.match(r"\p{%s}" % unicodedata.category(c), c) is not None


def splits():
    rng = random.Random(20251123)
    texts = CHOSEN + ["".join(rng.choices(ALPHABET, k=rng.randint(1, 24))) for _ in range(400)]
    for text in texts:
        assert all(same_category(c) for c in text), ascii(text)
        pieces = SPLIT.findall(text)
        assert "".join(pieces) == text, ascii(text)
        yield {"text": text, "pieces": pieces}


def malformed():
    leads = ["", "41", "7f", "80", "bf", "c0", "c1", "c2", "df", "e0", "e1", "ed", "ef", "f0", "f1", "f4", "f5", "f8", "fc", "fe", "ff"]
    seconds = ["", "41", "7f", "80", "8f", "90", "9f", "a0", "bf", "c0", "c3", "e2", "f0", "ff"]
    tails = ["", "80", "bf", "8080", "bf41", "80c3", "8080bf", "a9", "e282ac"]
    inputs = {a + b + c for a in leads for b in seconds for c in tails}
    rng = random.Random(7)
    pool = bytes.fromhex("41 7f 80 8f 90 9f a0 bf c0 c2 df e0 e2 ed ef f0 f1 f4 f5 ff")
    inputs |= {bytes(rng.choices(pool, k=rng.randint(1, 12))).hex() for _ in range(400)}
    for data in sorted(inputs):
        yield [data, bytes.fromhex(data).decode("utf-8", "replace")]


def write(name, rows):
    with open(name, "w", encoding="ascii") as f:
        f.write("[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]\n")


write("split_vectors.json", splits())
write("utf8_vectors.json", malformed())
