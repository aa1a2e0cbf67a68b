"""Longer English documents: adventures, fables, letters, diaries, dialogues and reports."""

from __future__ import annotations

from corpus_source.dealing import Dealer, DocumentKind
from corpus_source.english_facts import (
    CHILDREN,
    COLOURS,
    COUNTRIES,
    DAYS,
    FARM_ANIMALS,
    FOODS,
    GOODS,
    GROCER,
    JOBS,
    MONTHS,
    NEIGHBOURS,
    NUMBERS,
    OPPOSITES,
    ORDINALS,
    SEASONS,
    Child,
    Country,
)
from corpus_source.english_plots import PLOTS

GREETINGS = (
    "Dear {friend},",
    "My dear {friend},",
    "Hello {friend}, here I am again.",
    "Dear {friend}, thank you for your long letter.",
)
ARRIVALS = (
    "I am writing to you from {capital}, the capital of {country}.",
    "Yesterday we arrived in {capital}, which is the capital of {country}.",
    "Greetings from {country}! We are staying in the capital, {capital}.",
    "At last we have reached {country} and its capital, {capital}.",
    "After a long journey we are in {capital}, the capital of {country}.",
)
IMPRESSIONS = (
    "In the morning we saw {sight}, and it was even finer than in the pictures.",
    "The city lies {lies}, and there are bridges and towers wherever one looks.",
    "Everyone here speaks {language}, and I can already count to ten in it.",
    "For lunch we had {dish}, which people in {country} eat all the time.",
    "I bought a postcard of {sight} and a small flag.",
    "The hotel is tiny, but from the balcony you can hear the bells.",
    "The waiter taught me to say thank you in {language}.",
    "We walked until our feet hurt, and then we took the tram.",
    "On the market they sell melons, carpets and copper lamps.",
    "A street musician played the accordion all evening.",
    "My phrase book is full of {language} words, which I mispronounce.",
    "Nowhere in {continent} have I eaten better than here, above all {dish}.",
)
TRAVEL_WEATHER = (
    "It is {weather} here, as it should be in {season}.",
    "It is {season} now, and {signs}.",
    "Luckily I packed {wear}, because in {season} it is {weather}.",
)
FAREWELLS = (
    "Give {pet} a pat from me. Yours, {child}",
    "See you on {day}. Love, {child}",
    "Please greet everyone in Millbrook. Your friend {child}",
    "I hope that {pet} the {pet_kind} is well. With a hug, {child}",
    "I have kept a stamp for you. Many greetings, {child}",
)
JOURNEYS = (
    "Today we flew to {country}.",
    "Today we travelled on to {country}.",
    "Early in the morning we set off for {country}.",
    "Our journey led us to {country}.",
)
STOPS = (
    "We spent the day in the capital, {capital}.",
    "The capital of {country} is {capital}, and there we stayed.",
    "In the capital, {capital}, we looked for a bed.",
    "{capital} is the capital of {country}, and it never sleeps.",
)
TALES = (
    (
        "A {strong} and a {weak} lived in the same valley.",
        "Long ago a {strong} met a {weak} at the well.",
        "One hot day a {strong} came upon a {weak}.",
        "In the days when animals could talk, a {strong} made friends with a {weak}.",
    ),
    (
        'The {strong} boasted, "I am mighty, and you are a nobody."',
        'The {weak} said politely, "Good morning, neighbour."',
        '"Let us share our supper," proposed the {weak}.',
        'The {strong} was bored and said, "Let us see who is cleverer."',
    ),
    (
        "The {strong} wanted to have all the {food}, and the {weak} wanted only peace.",
        "They agreed that whoever crossed the river first should be king.",
        "Soon afterwards the {strong} was caught in a hunter's net.",
        "Then a thorn stuck in the paw of the {strong}, and it could hardly walk.",
        "A fire broke out in the forest, and smoke filled the valley.",
    ),
    (
        "The {weak} did not run away but thought for a while.",
        '"Be patient," said the {weak}, "I have a plan."',
        "The {weak} fetched all its cousins, and together they were many.",
        "Quietly and quickly the {weak} set to work.",
    ),
    (
        "Before the moon rose, the danger was over.",
        "In the end the {strong} was ashamed and asked for forgiveness.",
        "The {strong} bowed its head and thanked the {weak}.",
        "When the sun came up, the two were friends.",
    ),
    (
        "Small friends may be great friends.",
        "Pride comes before a fall.",
        "Those who share are never alone.",
        "A clever head is worth more than strong legs.",
        "One good turn deserves another.",
    ),
)
BIG_ANIMALS = ("lion", "bear", "wolf", "tiger", "elephant", "crocodile", "bull", "eagle")
SMALL_ANIMALS = ("mouse", "rabbit", "hedgehog", "squirrel", "sparrow", "snail", "ant", "frog")
PREY = ("berries", "fish", "honey", "nuts", "meat", "corn")

SHOP_TALK = (
    ('"Good morning, what can I do for you?" asked {adult}.',
     '"Next, please," called {adult} from behind the counter.',
     "{child} entered {spot}, and a little bell rang above the door."),
    ('"I need {number} {goods}, please," said {child}.',
     '"Do you have any {goods}?" asked {child}. "My mother needs {number}."',
     '{child} unfolded a note and read, "{number} {goods} and a bag of {food}."'),
    ('"Would you like some {food} as well? It is very {taste} today."',
     '"Careful with the {food}," said the {work}, "it is {taste}."',
     '"Taste this {food}. Is it not {taste}?"'),
    ('"That makes {price} coins." "Here are {price}," said {child} and counted them out.',
     '"How much is it?" "It is {price} coins, and for you a smile besides."',
     '"One costs a coin, and so {number} cost {number}," the {work} explained.'),
    ('"Thank you, and give my regards to {sibling}!"',
     '"Do come again," said {adult}, who {habit}.',
     "{child} thanked {adult_him} and ran home, because {pet} was waiting.",
     '"Mind the step," said {adult}, but it was too late.'),
)  # fmt: skip

RECIPE = (
    ("Mr Hill has told us how to bake {cake}.", "Here is grandmother's recipe for {cake}.",
     "On {day} {child} and {sibling} baked {cake}."),
    ("First mix two cups of flour with a pinch of salt.",
     "Melt the butter in a saucepan and let it cool.",
     "Beat three eggs with sugar until they foam."),
    ("Add the milk slowly and stir with a wooden spoon.",
     "Peel the apples, slice them thinly and sprinkle them with cinnamon.",
     "Knead the dough for ten minutes and leave it under a cloth."),
    ("Pour everything into a greased tin.", "Press the dough into a round mould.",
     "Brush the top with egg yolk."),
    ("Bake it in a hot oven for forty minutes.", "Bake until the crust is brown and crisp.",
     "Leave it in the oven until the kitchen smells heavenly."),
    ("Let it cool before you cut it, if you can wait.", "It should taste sweet, but not too sweet.",
     "Serve it with whipped cream.", "{child} licked the bowl, as always."),
)  # fmt: skip
CAKES = ("an apple cake", "a cherry pie", "a walnut loaf", "a honey cake", "plum tarts",
         "ginger biscuits", "a lemon sponge")  # fmt: skip

FORECAST = (
    ("Here is the weather for {day}.", "The {day} forecast for Millbrook and the valley:",
     "Captain Reed looked at the sky on {day} and wrote the forecast on the slate."),
    ("In the morning there will be fog along the river.",
     "The day begins bright, with a little dew.", "At sunrise it will be calm and clear."),
    ("Around noon clouds will gather in the west.", "Later a fresh breeze blows from the north.",
     "By midday the sun breaks through."),
    ("Towards evening there may be showers and even thunder.",
     "In the afternoon it stays dry and pleasant.", "At night the sky will be clear and starry."),
    ("It is {season}, so the air is {weather}.", "{wear} will be useful, as usual in {season}.",
     "That is normal for {season}, when it is {weather}."),
    ("Farmers should bring in the hay.", "Boats had better remain in the harbour.",
     "On {next} it will be much the same.", "The outlook for {next} is better."),
)  # fmt: skip

DIARY_MORNING = (
    "On {day} I got up before the birds.",
    "{day} began with porridge and a lost sock.",
    "It was {day}, and the sun was shining.",
    "{day} was rainy from morning to night.",
    "On {day} {pet} woke me by jumping on the pillow.",
    "{day} came, and I had not finished my homework.",
)
DIARY_NOON = (
    "At school we learned that {capital} is the capital of {country}.",
    "We had a test about {country}, and I wrote that people there speak {language}.",
    "We discussed animals, and I did not know that a young {animal} is called a {young}.",
    "We visited the farm, where the {animal} went {sound} at me.",
    "I helped a {job}, who {makes} {product}.",
    "We painted {things}, so I needed a lot of {colour}.",
    "For lunch there was something with {food}, and it was far too {taste}.",
    "At noon I met {adult}, who {habit}.",
    "I bought {number} {goods} on the market.",
    "The teacher asked for the opposite of {left}, and I answered {right}.",
)
DIARY_EVENING = (
    "In the evening {sibling} and I played cards, and I lost twice.",
    "After supper I went on with {hobby}.",
    "Before bed I read two chapters about pirates.",
    "{friend} came over, and we built a hut out of blankets.",
    "Grandfather told us how he once missed a ship.",
    "I gave {pet} the {pet_kind} a bath, which neither of us enjoyed.",
    "I was tired and went to sleep early.",
    "We lay on the roof and counted shooting stars.",
)
CHRONICLE = {
    "January": ("the river was covered with ice", "the school was closed because of the snow"),
    "February": ("the masks came out for the carnival", "everybody had a cough"),
    "March": ("the first crocuses opened", "the storks came back to the chimney"),
    "April": ("it rained and shone ten times a day", "the calves were born at the farm"),
    "May": ("the orchards were full of blossom", "the brass band played under the lime tree"),
    "June": ("the hay was cut", "the longest day was celebrated with a bonfire"),
    "July": ("the children learned to dive", "the well almost ran dry"),
    "August": ("the wheat was harvested", "the nights were full of crickets"),
    "September": ("the school began again", "the apples were picked and pressed"),
    "October": ("the great pumpkin was weighed", "fog crept up from the river"),
    "November": ("the last leaves fell", "we walked through the lanes with paper lanterns"),
    "December": ("the baker made gingerbread stars", "the pond froze and we went skating"),
}
CHRONICLE_LINES = (
    "In {month} {event}.",
    "{month}, the {ordinal} month, was the time when {event}.",
    "After {previous} came {month}, and {event}.",
    "{month} followed {previous}, and {event}.",
    "When {previous} was over, {month} began, and {event}.",
)
CHRONICLE_NOTES = (
    "{adult} talked of nothing else.",
    "It was {season}, and we needed {wear}.",
    "That month {child} took up {hobby}.",
    "{adult} gave each of us {offers}.",
    "{child} and {pet} were seen everywhere together.",
    "As always in {season}, {signs}.",
)
WEEKDAYS = tuple(zip(DAYS, (*DAYS[1:], DAYS[0]), strict=True))


def _cast(d: Dealer) -> tuple[Child, dict[str, str]]:
    """A child, and everything else that a sentence about the child may mention."""
    child = d.one(CHILDREN)
    adult, season, animal = d.one(NEIGHBOURS), d.one(SEASONS), d.one(FARM_ANIMALS)
    thing, food = d.one(COLOURS), d.one(FOODS)
    day, following = d.one(WEEKDAYS)
    x, y, number = d.between(2, 8), d.between(1, 6), d.between(2, 9)
    words: dict[str, str] = {}
    for fact in (d.one(COUNTRIES), adult, season, animal, thing, d.one(JOBS), d.one(OPPOSITES)):
        words |= fact._asdict()
    words |= {"food": food.food, "taste": food.taste, "day": day, "next": following}
    words |= {"x": NUMBERS[x], "y": NUMBERS[y], "z": NUMBERS[x + y], "goods": d.one(GOODS)}
    words |= {"number": NUMBERS[number], "price": NUMBERS[number + d.between(0, 9)]}
    friend = d.other(CHILDREN, child)
    while friend.child == child.sibling:
        friend = d.other(CHILDREN, child)
    return child, words | {"friend": friend.child}


def _written_by(d: Dealer, child: Child) -> dict[str, str]:
    """Words for a sentence that this very child writes."""
    while True:
        other, words = _cast(d)
        if other == child:
            return words


def adventure(d: Dealer) -> str:
    """One of the plots of Millbrook with its cast."""
    child, words = _cast(d)
    beats = list(d.one(PLOTS))
    if d.chance(0.5):
        del beats[d.between(1, len(beats) - 2)]
    return " ".join(d.say_all(beats, child, **words))


def fable(d: Dealer) -> str:
    """A strong animal and a weak one, with a moral."""
    words = {"strong": d.one(BIG_ANIMALS), "weak": d.one(SMALL_ANIMALS), "food": d.one(PREY)}
    return " ".join(d.say_all(list(TALES), **words))


def shopping(d: Dealer) -> str:
    """A conversation in a shop."""
    child, words = _cast(d)
    return " ".join(d.say_all(list(SHOP_TALK), child, **(words | GROCER._asdict())))


def recipe(d: Dealer) -> str:
    """How to bake something."""
    child, words = _cast(d)
    return " ".join(d.say_all(list(RECIPE), child, cake=d.one(CAKES), **words))


def forecast(d: Dealer) -> str:
    """The weather of one day."""
    child, words = _cast(d)
    return " ".join(d.say_all(list(FORECAST), child, **words))


def _impressions(d: Dealer, place: Country, count: int) -> list[str]:
    """A few sentences about a place, all different."""
    return list(dict.fromkeys(d.say(IMPRESSIONS, place) for _ in range(count)))


def letter(d: Dealer) -> str:
    """A letter from a capital."""
    child, words = _cast(d)
    place = d.one(COUNTRIES)
    parts = [
        d.say(GREETINGS, **words),
        d.say(ARRIVALS, place),
        *_impressions(d, place, d.between(1, 4)),
    ]
    if d.chance(0.4):
        parts.append(d.say(TRAVEL_WEATHER, d.one(SEASONS)))
    return " ".join([*parts, d.say(FAREWELLS, child, **words)])


def travels(d: Dealer) -> str:
    """A diary of a journey through several countries."""
    start, parts = d.between(0, 6), []
    for i, place in enumerate(d.some(COUNTRIES, d.between(2, 4))):
        parts.append(f"{DAYS[(start + i) % 7]}.")
        parts += [d.say(JOURNEYS, place), d.say(STOPS, place)]
        parts += _impressions(d, place, d.between(1, 2))
    return " ".join(parts)


def week(d: Dealer) -> str:
    """A child's diary of several days, or of the whole week."""
    child, _ = _cast(d)
    start, count = d.between(0, 6), 7 if d.chance(0.35) else d.between(2, 4)
    parts = [] if d.chance(0.5) else [f"This is the diary of {child.child}."]
    for i in range(count):
        words = _written_by(d, child) | {"day": DAYS[(start + i) % 7]}
        parts += d.say_all([DIARY_MORNING, DIARY_NOON], child, **words)
        if d.chance(0.6):
            parts.append(d.say(DIARY_EVENING, child, **words))
    return " ".join(parts)


def chronicle(d: Dealer) -> str:
    """What happened in Millbrook in some months, or in all twelve."""
    start, count = (0, 12) if d.chance(0.3) else (d.between(0, 11), d.between(2, 5))
    parts = []
    for i in range(start, start + count):
        child, _ = _cast(d)
        month = MONTHS[i % 12]
        season = next(season for season in SEASONS if month in season.months)
        words = {"month": month, "previous": MONTHS[i % 12 - 1], "ordinal": ORDINALS[i % 12]}
        words["event"] = d.one(CHRONICLE[month])
        parts.append(d.say(CHRONICLE_LINES, **words))
        if d.chance(0.6):
            parts.append(d.say(CHRONICLE_NOTES, child, season, d.one(NEIGHBOURS)))
    return " ".join(parts)


STORIES: tuple[tuple[DocumentKind, int], ...] = (
    (adventure, 10),
    (fable, 2),
    (shopping, 3),
    (recipe, 1),
    (forecast, 2),
    (letter, 5),
    (travels, 3),
    (week, 3),
    (chronicle, 2),
)
"""Each kind of story and its share of the corpus."""
