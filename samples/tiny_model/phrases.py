"""Wordings for facts, questions and small talk. Each list has a training part and a held-out part.

The held-out wordings (and the values `vocabulary.reserved` picks out) never appear in training: the recall set in
`heldout/` is made of them only. `{k}` is what the fact is about, `{v}` its value, `{p}` a person.
"""

# kind -> (tell, held-out tell, ask, held-out ask, answer)
FACTS = {
    "name": (
        ["My {k} is called {v}.", "My {k} is named {v}.", "The name of my {k} is {v}.", "I have a {k} called {v}.",
         "I have a {k} named {v}.", "I named my {k} {v}.", "We call our {k} {v}.", "My {k}'s name is {v}.",
         "I just got a {k}. I call it {v}.", "Meet my {k}, {v}.", "{v} is the name of my {k}.",
         "{v} is what I call my {k}.", "I own a {k}. Its name is {v}.", "Our {k} goes by the name {v}.",
         "I decided to name my {k} {v}.", "Everyone calls my {k} {v}.", "I have a {k}, and its name is {v}.",
         "We have a new {k}. We named it {v}.", "My {k} has a name: {v}.", "I chose the name {v} for my {k}."],
        ["I gave my {k} the name {v}.", "I ended up calling my {k} {v}.", "You should know that my {k} is named {v}.",
         "My {k} was always called {v}.", "I have got a {k} and it is called {v}."],
        ["What is my {k} called?", "What is the name of my {k}?", "What is my {k}'s name?", "What did I call my {k}?",
         "Do you remember what my {k} is called?", "Do you remember the name of my {k}?",
         "Tell me the name of my {k}.", "Can you tell me what my {k} is named?", "What name did I give my {k}?",
         "I forgot the name of my {k}. What is it?", "Which name does my {k} have?", "What is my {k} named?",
         "What's my {k} called?", "What's the name of my {k}?", "How do I call my {k}?",
         "Say the name of my {k}.", "Do you know my {k}'s name?", "Please name my {k}."],
        ["Remind me what my {k} is called.", "What was the name of my {k} again?",
         "Could you say what my {k} is named?", "What do I call my {k}?"],
        "Your {k} is called {v}."),
    "me": (
        ["My name is {v}.", "I am called {v}.", "You can call me {v}.", "I am {v}.", "People call me {v}.",
         "Please call me {v}.", "My friends call me {v}.", "{v} is my name."],
        ["Everybody knows me as {v}.", "The name is {v}.", "Just call me {v}."],
        ["What is my name?", "Who am I?", "Do you remember my name?", "What's my name?", "Tell me my name.",
         "What am I called?", "Can you tell me who I am?", "Do you know my name?"],
        ["Could you say my name?", "What was my name again?", "Remind me of my name."],
        "Your name is {v}."),
    "lives": (
        ["{p} lives in {v}.", "{p} has a house in {v}.", "{p} moved to {v}.", "{p}'s home is in {v}.",
         "My friend {p} lives in {v}.", "{v} is where {p} lives.", "{p} is living in {v} now.",
         "{p} has lived in {v} for years.", "{p} settled in {v}.", "The home town of {p} is {v}."],
        ["{p} found a flat in {v}.", "{p} is at home in {v}.", "These days {p} lives in {v}."],
        ["Where does {p} live?", "In which city does {p} live?", "Which city is {p} living in?",
         "Do you remember where {p} lives?", "Tell me where {p} lives.", "Where is {p}'s home?",
         "What is the home town of {p}?", "Do you know where {p} lives?"],
        ["In what place does {p} live?", "Remind me where {p} lives.", "Where did I say {p} lives?"],
        "{p} lives in {v}."),
    "job": (
        ["{p} works as a {v}.", "{p} is a {v}.", "{p} has a job as a {v}.", "{p} earns a living as a {v}.",
         "My friend {p} is a {v}.", "{p} became a {v}.", "By trade {p} is a {v}.", "The job of {p} is {v}."],
        ["{p} has worked as a {v} for years.", "{p} makes money as a {v}.", "{p} trained as a {v}."],
        ["What does {p} do for a living?", "What is {p}'s job?", "What is the job of {p}?", "What does {p} work as?",
         "Do you remember {p}'s job?", "Tell me what {p} does for work.", "Which job does {p} have?"],
        ["How does {p} earn a living?", "Remind me what {p} works as.", "What was {p}'s job again?"],
        "{p} works as a {v}."),
    "likes": (
        ["{p} likes {v}.", "{p} loves {v}.", "{p}'s favorite thing is {v}.", "{p} is very fond of {v}.",
         "What {p} likes best is {v}.", "{p} always asks for {v}.", "{p} cannot get enough of {v}."],
        ["{p} is crazy about {v}.", "{p} really enjoys {v}.", "Nothing makes {p} happier than {v}."],
        ["What does {p} like?", "What does {p} love?", "What is {p}'s favorite thing?", "What is {p} fond of?",
         "Do you remember what {p} likes?", "Tell me what {p} likes.", "What does {p} like best?"],
        ["Remind me what {p} likes.", "What was it that {p} likes?", "Which thing does {p} like?"],
        "{p} likes {v}."),
    "code": (
        ["The code for the {k} is {v}.", "The {k} code is {v}.", "To open the {k} you need {v}.",
         "The number for the {k} is {v}.", "The {k} opens with {v}.", "The code of the {k} is {v}.",
         "We set the {k} code to {v}.", "{v} is the code for the {k}.", "Use {v} for the {k}.",
         "The secret code for the {k} is {v}."],
        ["You can open the {k} with {v}.", "They changed the {k} code to {v}.", "For the {k}, the code is {v}."],
        ["What is the code for the {k}?", "What is the {k} code?", "Which code opens the {k}?",
         "How do I open the {k}?", "Do you remember the code for the {k}?", "Tell me the {k} code.",
         "What code do I need for the {k}?", "What's the code of the {k}?", "I need the code for the {k}."],
        ["Which number did I give you for the {k}?", "What was the {k} code again?", "Remind me of the {k} code."],
        "The code for the {k} is {v}."),
    "time": (
        ["The {k} is at {v}.", "The {k} starts at {v}.", "The {k} begins at {v}.", "My {k} is at {v}.",
         "We have a {k} at {v}.", "I have a {k} at {v}.", "The time of the {k} is {v}.", "There is a {k} at {v}.",
         "They moved the {k} to {v}.", "The {k} was set for {v}."],
        ["Be ready for the {k} at {v}.", "The {k} will be at {v}.", "We agreed on {v} for the {k}."],
        ["When is the {k}?", "What time is the {k}?", "At what time is the {k}?", "When does the {k} start?",
         "Do you remember when the {k} is?", "Tell me the time of the {k}.", "When is my {k}?",
         "What time does the {k} begin?", "Do you know when the {k} is?"],
        ["What was the time of the {k} again?", "Remind me when the {k} is.", "When did I say the {k} is?"],
        "The {k} is at {v}."),
    "place": (
        ["The {k} is {v}.", "I put the {k} {v}.", "I left the {k} {v}.", "My {k} is {v}.", "We keep the {k} {v}.",
         "You can find the {k} {v}.", "The {k} lies {v}.", "I hid the {k} {v}.", "The place for the {k} is {v}."],
        ["I placed the {k} {v}.", "Somebody left the {k} {v}.", "These days the {k} is {v}."],
        ["Where is the {k}?", "Where did I put the {k}?", "Where can I find the {k}?", "Where is my {k}?",
         "Do you remember where the {k} is?", "Tell me where the {k} is.", "Where did I leave the {k}?",
         "Do you know where the {k} is?"],
        ["Where should I look for the {k}?", "Remind me where the {k} is.", "Where was the {k} again?"],
        "The {k} is {v}."),
    "color": (
        ["My {k} is {v}.", "The color of my {k} is {v}.", "I painted my {k} {v}.", "I have a {v} {k}.",
         "My {k} has a {v} color.", "I bought a {k}. It is {v}.", "{v} is the color of my {k}."],
        ["My {k} comes in {v}.", "They painted my {k} {v}.", "You know my {k} by its {v} color."],
        ["What color is my {k}?", "What is the color of my {k}?", "Which color does my {k} have?",
         "Do you remember the color of my {k}?", "Tell me the color of my {k}.", "What's the color of my {k}?"],
        ["Remind me of the color of my {k}.", "What was the color of my {k}?", "In which color is my {k}?"],
        "Your {k} is {v}."),
    "number": (
        ["The {k} number is {v}.", "My {k} number is {v}.", "My {k} has the number {v}.", "The number of my {k} is {v}.",
         "I have {k} number {v}.", "They gave me {k} number {v}.", "{v} is my {k} number.", "I got {k} number {v}."],
        ["On my {k} it says number {v}.", "For my {k} I have the number {v}.", "My {k} is number {v}."],
        ["What is my {k} number?", "What is the number of my {k}?", "Which {k} number do I have?",
         "Do you remember my {k} number?", "Tell me my {k} number.", "What number does my {k} have?",
         "What's my {k} number?"],
        ["Remind me of my {k} number.", "What was my {k} number again?", "Which number is on my {k}?"],
        "Your {k} number is {v}."),
    "price": (
        ["The {k} costs {v} dollars.", "I paid {v} dollars for the {k}.", "The price of the {k} is {v} dollars.",
         "I bought the {k} for {v} dollars.", "They want {v} dollars for the {k}.", "The {k} was {v} dollars."],
        ["I got the {k} for {v} dollars.", "You can have the {k} for {v} dollars.", "The {k} sells for {v} dollars."],
        ["How much is the {k}?", "What does the {k} cost?", "How much did I pay for the {k}?",
         "What is the price of the {k}?", "Do you remember the price of the {k}?", "Tell me the price of the {k}.",
         "How much does the {k} cost?"],
        ["What was the price of the {k}?", "Remind me how much the {k} costs.", "How many dollars is the {k}?"],
        "The {k} costs {v} dollars."),
    "date": (
        ["The {k} is on {v}.", "My {k} is on {v}.", "The date of the {k} is {v}.", "We planned the {k} for {v}.",
         "The {k} takes place on {v}.", "They moved the {k} to {v}.", "{v} is the day of the {k}."],
        ["Come to the {k} on {v}.", "The {k} will be on {v}.", "We agreed on {v} for the {k}."],
        ["On which day is the {k}?", "What is the date of the {k}?", "What day is the {k}?",
         "Do you remember the date of the {k}?", "Tell me the date of the {k}.", "On what date is the {k}?"],
        ["What was the date of the {k}?", "Remind me of the date of the {k}.", "Which day did I say the {k} is on?"],
        "The {k} is on {v}."),
    "word": (
        ["The {k} is {v}.", "Our {k} is {v}.", "We chose {v} as the {k}.", "The {k} for today is {v}.",
         "They told me the {k}: {v}.", "{v} is the {k}.", "Use {v} as the {k}.", "My {k} is {v}."],
        ["We agreed that the {k} is {v}.", "I made {v} the {k}.", "They changed the {k} to {v}."],
        ["What is the {k}?", "What is our {k}?", "Do you remember the {k}?", "Tell me the {k}.", "Do you know the {k}?",
         "What's the {k}?", "I need the {k}.", "Which {k} did I tell you?"],
        ["Remind me of the {k}.", "What was the {k} again?", "Could you say the {k}?"],
        "The {k} is {v}."),
    "list": (
        ["My {k} list has {v}.", "On my {k} list are {v}.", "The {k} list is: {v}.", "Please put {v} on my {k} list.",
         "I wrote {v} on my {k} list.", "My {k} list: {v}."],
        ["I need {v} on my {k} list.", "Here is my {k} list: {v}."],
        ["What is on my {k} list?", "Read me my {k} list.", "What did I put on my {k} list?", "Tell me my {k} list.",
         "Which things are on my {k} list?"],
        ["Remind me what is on my {k} list.", "What was on my {k} list again?"],
        "On your {k} list are {v}."),
}

TELL_FRAMES = (
    ["{t}"] * 14 + [
        "By the way, {t}", "Just so you know, {t}", "Please remember this: {t}", "Note that {t}", "For later: {t}",
        "Guess what, {t}", "Oh, and {t}", "I should mention that {t}", "One thing: {t}", "Listen, {t}",
        "Here is a fact for you: {t}", "{t} Can you remember that?", "{t} Keep that in mind.",
        "{t} I will ask about it later.", "{t} Please remember it.", "Remember that {t}", "Also, {t}", "Well, {t}",
        "I want you to know that {t}", "{t} Do not forget it.", "Hello! {t}", "Hi. {t}"],
    ["{t}", "Before I forget: {t}", "{t} Make a note of that.", "Something you should know: {t}",
     "Let me tell you something. {t}", "{t} That may be useful later."])

ASK_FRAMES = (
    ["{t}"] * 14 + [
        "By the way, {t}", "Now tell me: {t}", "One question: {t}", "Let us go back. {t}", "Just to check: {t}",
        "Earlier I told you something. {t}", "Do you still know? {t}", "Quick question: {t}", "Let me test you. {t}",
        "I have a question. {t}", "Hm. {t}", "And {t}", "Okay, {t}", "So, {t}", "I told you this before. {t}",
        "{t} I told you earlier.", "{t} You should know."],
    ["{t}", "Here is a test for you. {t}", "Think back to what I told you. {t}", "Now something else. {t}",
     "Let us see. {t}"])

ACKNOWLEDGE = ["Okay, I will remember that."] * 6 + ["Got it."] * 2 + ["Noted.", "Thanks, I will keep that in mind."]
NOT_TOLD = "You have not told me that."

GIVEN_NAMES = """Ada Alan Alice Amir Amy Andrea Anna Arthur Astrid Ben Bianca Boris Bruno Carla Carlos Chloe Clara
Colin Dana Daniel David Diana Diego Dora Edgar Edith Elena Eli Ella Emil Emma Erik Eva Farah Felix Fiona Frank Frida
Gemma George Gina Greta Hana Hannah Harry Hassan Heidi Helen Henry Hugo Ida Igor Ines Irene Iris Isaac Ivan Ivy Jack
James Jane Jasper Joan Johan Julia Kai Karen Karl Kate Kenji Lara Laura Leo Lena Lily Linda Lisa Louis Lucia Lucy
Luka Mara Marco Maria Mark Marta Martin Max Maya Mei Milan Mila Mina Mona Nadia Nils Nina Noah Nora Olga Oliver Omar
Oscar Otto Paul Paula Pedro Peter Petra Rafael Ravi Rita Robert Rosa Ruth Sam Sara Selma Simon Sofia Stella Sven Tara
Theo Thomas Tina Tom Uma Vera Victor Walter Wanda Yara Yusuf Zoe""".split()

NAMED = """boat cat dog horse parrot goldfish rabbit tortoise ship car van bicycle house cottage farm band team
company shop school robot computer sister brother mother father neighbor teacher doctor boss friend cousin aunt uncle
dentist plumber landlord son daughter grandmother grandfather hamster pony donkey goat cow sheep hen duck goose canary
lizard snake turtle kitten puppy canoe yacht truck motorcycle tractor tent garden village street hotel restaurant
theater newspaper song book poem wife husband partner coach barber baker gardener nurse lawyer guide
""".split()
CODED = """door gate safe locker alarm garage cellar bicycle suitcase phone computer printer vault office shed elevator
cabinet basement attic gym chest box""".split() + ["front door", "back door", "side gate", "wine cellar"]
EVENTS = """meeting train bus ferry concert lesson lecture interview breakfast lunch dinner party class game show
flight exam wedding rehearsal talk visit race parade auction""".split() + [
    "dentist appointment", "doctor's appointment", "piano lesson", "board meeting", "phone call"]
DATED = """wedding party exam trip concert meeting birthday holiday deadline picnic festival race interview move
conference reunion play wedding delivery appointment""".split() + ["school trip", "garden party", "job interview"]
THINGS = """key wallet phone passport umbrella ladder hammer map letter camera hat scarf ring watch ticket notebook pen
torch rope basket lamp blanket kettle teapot bottle knife scissors glasses charger remote diary coin candle bag coat
drum flute guitar violin ball chess clock mirror vase book""".split()
PAINTED = """car door bicycle house boat hat coat scarf bag kitchen umbrella van jacket dress shirt wall fence gate sofa
chair lamp guitar phone tent kite mug""".split()
NUMBERED = """room locker seat table house ticket phone bus flight gate order license account platform cabin booking
jersey apartment parking passport""".split()
WORDS = ["password", "secret word", "code word", "magic word", "wifi password", "word of the day", "safe word",
         "team name", "project name", "street name", "name of the hotel", "name of the ship", "name of the song"]
LISTS = ["shopping", "packing", "reading", "guest", "wish", "grocery", "task", "gift"]
COLORS = """red blue green yellow orange purple pink brown black white gray silver golden violet turquoise beige crimson
scarlet maroon navy olive amber ivory lilac indigo teal copper cream mint rust""".split()
SHADES = ["", "", "", "dark ", "light ", "pale ", "bright ", "deep ", "soft "]
JOBS = """baker teacher nurse plumber painter pilot farmer lawyer dentist carpenter tailor butcher florist librarian
mechanic gardener waiter fisherman potter blacksmith judge sailor singer dancer drummer writer editor printer barber
chemist surveyor translator jeweler driver guard cook miner hunter weaver roofer glazier cashier clerk tutor coach
welder mason shepherd beekeeper photographer electrician""".split()
FOODS = """apples pears cherries plums figs bread cheese honey olives mushrooms carrots spinach rice noodles soup
pancakes waffles chocolate coffee tea lemonade cider almonds walnuts grapes peaches melons onions garlic tomatoes
potatoes beans lentils butter yogurt milk eggs salt pepper sugar flour oats jam mustard vinegar ginger cinnamon
lettuce cabbage radishes celery salmon trout ham""".split()
HOBBIES = """chess music hiking skating sailing painting poetry gardening fishing dancing swimming cycling knitting
football tennis climbing skiing cooking reading singing drawing trains stamps puzzles astronomy birds""".split()
WHERE = ["in", "under", "behind", "on", "next to", "inside", "near", "below", "above", "in front of"]
SPOTS = """drawer table bed sofa shelf stove window cupboard piano desk mirror bench basket fridge door chair carpet
garden shed car attic cellar box bucket fireplace staircase wardrobe bookcase kitchen garage bathtub barrel tree
oven chest sink counter ladder porch""".split()
SPOT_ADJ = ["", "", "", "old ", "big ", "small ", "blue ", "red ", "wooden ", "green ", "left ", "white "]
MONTHS = """January February March April May June July August September October November December""".split()
SYLLABLES = ("b br c cl cr d dr f fl g gl gr h j k kl l m n p pl pr qu r s sh sk sl sn st t th tr v w z".split(),
             "a e i o u a e i o ai ea ee ia io oo ou".split(),
             ["", "", "", "", "l", "n", "r", "s", "m", "x", "nd", "rk", "st", "th", "ck", "sh", "ng", "lt"])

SMALL_TALK = [
    (["Hello!", "Hello.", "Hi!", "Hi there.", "Good morning.", "Good evening.", "Hey!", "Hello, how are you?"],
     ["Hello! How can I help you?"]),
    (["How are you?", "How are you today?", "How is it going?"], ["I am fine, thank you. How can I help you?"]),
    (["Thanks.", "Thank you.", "Thank you very much.", "Thanks a lot!", "Great, thanks.", "That helps, thank you."],
     ["You are welcome."]),
    (["Who are you?", "What are you?", "What is your name?", "Tell me about yourself.", "Are you a person?"],
     ["I am a small sample model. I know words from a dictionary and I remember what you tell me."]),
    (["What can you do?", "What do you know?", "How can you help me?", "What can I ask you?"],
     ["I can explain words, do small sums, spell, sort lists and remember what you tell me."]),
    (["Goodbye.", "Bye!", "See you later.", "Good night.", "I have to go now."], ["Goodbye!"]),
    (["Okay.", "I see.", "Interesting.", "All right.", "Good.", "That is good to know.", "Nice."],
     ["Is there anything else you would like to know?"]),
    (["Wait a moment.", "Give me a minute.", "One moment, please."], ["Of course, take your time."]),
    (["I am tired today.", "It was a long day.", "I slept badly."], ["I am sorry to hear that. I hope you can rest."]),
    (["It is raining here.", "The weather is bad today.", "It is cold outside."], ["I hope it gets better soon."]),
    (["The sun is shining.", "It is a lovely day.", "I am happy today."], ["That is good to hear."]),
    (["Tell me something.", "Say something.", "Tell me anything."], ["Ask me about a word, and I will explain it."]),
    (["Can you help me?", "I need help.", "I have a question for you."], ["Of course. What would you like to know?"]),
    (["You are wrong.", "That is not right.", "I do not think so."], ["I am sorry. I am only a small model."]),
]
SYSTEM = ["You are a helpful assistant.", "You are a small and friendly assistant.", "Answer briefly.",
          "You explain words and remember facts.", "Be polite and answer in one sentence."]

DEFINE = {
    "n": (["What is {a}?", "What is {a}?", "What's {a}?", "Tell me what {a} is.", "Do you know what {a} is?",
           "Can you tell me what {a} is?", "Please explain what {a} is.", "Explain what {a} is."]),
    "v": (["What does it mean to {w}?", "What does to {w} mean?", "Explain what it means to {w}.",
           "What do people do when they {w}?"]),
    "a": (["What does it mean if something is {w}?", "What does it mean to be {w}?",
           "When do we call something {w}?"]),
    "r": (["What does it mean to do something {w}?", "How do you do something {w}?"]),
}
DEFINE_ANY = ["What does {w} mean?", "What does the word {w} mean?", "Define {w}.", "Define the word {w}.",
              "What is the meaning of {w}?", "Meaning of {w}?", "Explain the word {w}.", "Can you explain {w}?",
              "I do not know the word {w}. What does it mean?", "What does \"{w}\" mean?", "What is {w}?",
              "Please define {w}.", "I read the word {w} today. What does it mean?", "{w}?",
              "Could you define {w} for me?", "Give me a definition of {w}.", "How would you explain {w}?"]
EXAMPLE = ["Can you use {w} in a sentence?", "Use {w} in a sentence.", "Give me an example of {w}.",
           "Give me a sentence with {w}.", "Show me how to use the word {w}."]
EXAMPLE_IT = ["Can you use it in a sentence?", "Give me an example.", "Use it in a sentence.", "An example, please?"]
SYNONYM = ["What is another word for {w}?", "Give me a synonym of {w}.", "Which word means the same as {w}?",
           "Do you know another word for {w}?", "What can I say instead of {w}?"]
KIND = ["What kind of thing is {a}?", "{A} is a kind of what?", "What sort of thing is {a}?"]
IS_KIND = ["Is {a} a kind of {k}?", "Is {a} {ak}?", "Would you say that {a} is a kind of {k}?"]
REVERSE = ["Which word means {d}?", "What is the word for {d}?", "What do you call {d}?"]
SPELL = ["Spell {w}.", "How do you spell {w}?", "Can you spell {w}?", "Please spell the word {w}.",
         "Spell the word {w} letter by letter."]
ORDER = ["Put these words in alphabetical order: {l}.", "Sort these words: {l}.", "Sort alphabetically: {l}."]
ORDER_NUMBERS = ["Sort these numbers: {l}.", "Put these numbers in order: {l}.", "Order the numbers {l}."]
REPEAT = ["Say {v}.", "Repeat after me: {v}", "Please repeat: {v}", "Say this: {v}", "Repeat this: {v}"]
