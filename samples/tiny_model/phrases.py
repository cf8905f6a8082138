"""Wordings: facts, questions, small talk. `{k}` is what a fact is about, `{v}` its value, `{t}` a whole sentence.

In every telling the key stands before the value, so that a value is known for what it is when it is read.
"""

# kind -> (ways to tell, ways to ask, the answer up to the value)
FACTS = {
    "name": (["My {k} is called {v}.", "My {k} is called {v}.", "My {k} is named {v}.",
              "The name of my {k} is {v}.", "I have a {k} called {v}.", "I have a {k} named {v}.",
              "I call my {k} {v}.", "My {k} has the name {v}."],
             ["What is my {k} called?", "What is my {k} called?", "What is the name of my {k}?",
              "What is my {k} named?", "What did I call my {k}?", "Tell me the name of my {k}.",
              "Do you remember what my {k} is called?"],
             "Your {k} is called"),
    "lives": (["{k} lives in {v}.", "{k} lives in {v}.", "My friend {k} lives in {v}.", "{k} has a house in {v}.",
               "{k} moved to {v}.", "{k} is at home in {v}."],
              ["Where does {k} live?", "Where does {k} live?", "In which city does {k} live?",
               "Tell me where {k} lives.", "Do you remember where {k} lives?"],
              "{k} lives in"),
    "code": (["The code for the {k} is {v}.", "The code for the {k} is {v}.", "The {k} code is {v}.",
              "The number for the {k} is {v}.", "The {k} opens with {v}.", "To open the {k} you need {v}."],
             ["What is the code for the {k}?", "What is the code for the {k}?", "What is the {k} code?",
              "Which code opens the {k}?", "Tell me the code for the {k}.", "How do I open the {k}?"],
             "The code for the {k} is"),
    "color": (["The color of my {k} is {v}.", "My {k} has the color {v}.", "I painted my {k} {v}."],
              ["What is the color of my {k}?", "Which color does my {k} have?", "Tell me the color of my {k}."],
              "The color of your {k} is"),
    "me": (["My name is {v}.", "My name is {v}.", "I am called {v}.", "You can call me {v}."],
           ["What is my name?", "What is my name?", "Who am I?", "Do you remember my name?", "Tell me my name."],
           "Your name is"),
}

TELL_FRAMES = ["{t}"] * 8 + ["By the way, {l}", "Please remember this: {l}", "Just so you know, {l}", "Note that {l}",
                             "{t} Please remember it.", "{t} Keep that in mind.", "Hello! {t}"]
ASK_FRAMES = ["{t}"] * 8 + ["Now tell me: {l}", "By the way, {l}", "I have a question. {t}", "Quick question: {l}",
                            "I told you this before. {t}"]
ACKNOWLEDGE = "Okay, I will remember that."
NOT_TOLD = "You have not told me that."
UNKNOWN = "I do not know that word."

NAMED = """boat cat dog horse parrot goldfish rabbit tortoise ship van house farm band team company school robot sister
brother mother father neighbor teacher doctor boss friend cousin aunt uncle dentist landlord son daughter hamster pony
donkey goat cow sheep hen duck goose lizard snake turtle kitten puppy canoe truck tractor village street hotel
restaurant theater song wife husband baker gardener""".split()
CODED = """door gate safe locker alarm garage cellar suitcase phone computer vault office shed elevator cabinet attic
gym chest box""".split()
PAINTED = """car bicycle hat coat scarf bag kitchen umbrella jacket dress shirt wall fence sofa chair lamp guitar tent
kite mug""".split()
GIVEN_NAMES = """Ada Alan Alice Amir Anna Arthur Astrid Ben Bianca Boris Bruno Carla Carlos Clara Colin Daniel David
Diana Diego Dora Edgar Edith Elena Ella Emil Emma Erik Eva Farah Felix Fiona Frank Frida George Gina Greta Hannah Harry
Hassan Helen Henry Hugo Ida Igor Irene Iris Isaac Ivan Jack James Jane Jasper Julia Karen Karl Kate Kenji Laura Leo
Linda Lisa Lucy Marco Maria Mark Martin Max Maya Mina Nadia Nina Noah Nora Olga Oliver Omar Oscar Otto Paul Paula Pedro
Peter Rafael Ravi Rita Robert Rosa Ruth Sam Sara Simon Sofia Stella Sven Tara Theo Thomas Tina Tom Vera Victor Walter
Yara Yusuf Zoe""".split()
COLORS = """red blue green yellow orange purple pink brown black white gray silver golden violet turquoise beige crimson
scarlet maroon olive ivory""".split()
SHADES = ["dark ", "light ", "pale ", "bright ", "deep ", "soft "]
SYLLABLES = ("b br c cl cr d dr f fl g gl gr h j k kl l m n p pl pr qu r s sh sk sl sn st t th tr v w z".split(),
             "a e i o u a e i o ai ea ee ia io oo ou".split(),
             ["", "", "", "", "l", "n", "r", "s", "m", "x", "nd", "rk", "st", "th", "ck", "sh", "ng", "lt"])

SMALL_TALK = [
    (["Hello!", "Hello.", "Hi!", "Good morning.", "Good evening."], "Hello! How can I help you?"),
    (["How are you?", "How are you today?"], "I am fine, thank you. How can I help you?"),
    (["Thanks.", "Thank you.", "Thank you very much."], "You are welcome."),
    (["Who are you?", "What are you?", "Tell me about yourself."],
     "I am a small sample model. I know some words and I remember what you tell me."),
    (["What can you do?", "How can you help me?", "What can I ask you?"],
     "I can explain words, do small sums, spell, sort numbers and remember what you tell me."),
    (["Goodbye.", "Bye!", "Good night."], "Goodbye!"),
    (["I am tired today.", "It was a long day."], "I am sorry to hear that. I hope you can rest."),
    (["It is raining here.", "It is cold outside."], "I hope it gets better soon."),
    (["The sun is shining.", "I am happy today."], "That is good to hear."),
    (["Tell me something.", "Can you help me?", "I need help."], "Ask me about a word, and I will explain it."),
]
SYSTEM = ["You are a helpful assistant.", "Answer briefly.", "Be polite and answer in one sentence."]

DEFINE = {"n": ["What is {a}?", "What is {a}?", "What is {a}?", "Tell me what {a} is.", "Explain what {a} is."],
          "v": ["What does it mean to {w}?"], "a": ["What does {w} mean?"], "r": ["What does {w} mean?"]}
DEFINE_ANY = ["What does {w} mean?", "Define {w}.", "What is the meaning of {w}?", "Explain the word {w}.",
              "What does the word {w} mean?"]
SPELL = ["Spell {w}.", "How do you spell {w}?", "Please spell the word {w}."]
SORT = ["Sort these numbers: {l}.", "Put these numbers in order: {l}."]
SORT_WORDS = ["Put these words in alphabetical order: {l}.", "Sort these words: {l}."]
REPEAT = ["Say {v}.", "Repeat after me: {v}.", "Please repeat: {v}."]
SUM = ["What is {s}?", "How much is {s}?", "Calculate {s}."]

# Words the model must know, whatever their place in WordNet's counts.
WANTED = """brook river lake lantern kettle boat ship hammer bridge island castle mountain forest candle mirror umbrella
violin guitar horse rabbit bird bread apple rain snow storm moon star sea beach kitchen teacher baker garden valley
ladder clock piano drum tortoise fish cheese honey pear butter soup tea coffee wind thunder sun ocean sand iron gold
silver house door window roof chair bed lamp letter pencil doctor farmer painter sailor judge friend queen music water
tree flower leaf grass spider eagle owl sheep cow hat shoe ring basket bottle spoon village school library museum train
bus bicycle freedom courage anger joy fear happy small walk""".split()
