"""Short informative English documents: every function writes one document about some facts."""

from __future__ import annotations

import re

from corpus_source.dealing import Dealer, DocumentKind
from corpus_source.english_facts import (
    ANIMALS,
    CHILDREN,
    COLOURS,
    COUNTRIES,
    DAYS,
    FOODS,
    GOODS,
    JOBS,
    KINDS,
    MATERIALS,
    MONTHS,
    NEIGHBOURS,
    NUMBERS,
    OPPOSITES,
    ORDINALS,
    RELATIONS,
    SEASONS,
    USES,
)

CAPITAL = (
    "The capital of {country} is {capital}.",
    "{capital} is the capital of {country}.",
    "The capital city of {country} is called {capital}.",
    "{country} has a famous capital, {capital}.",
    "The government of {country} meets in {capital}.",
    "Most visitors to {country} begin in the capital, {capital}.",
    "If you travel to {country}, the capital you will see is {capital}.",
    "On the map of {country}, a red star marks the capital, {capital}.",
    "No city in {country} is as well known as its capital, {capital}.",
    "The train to {capital}, the capital of {country}, leaves at noon.",
)
LANGUAGE = (
    "People in {country} speak {language}.",
    "In {country} people speak {language}.",
    "The language of {country} is {language}.",
    "{language} is the language of {country}.",
    "In the streets of {capital} you hear {language} everywhere.",
    "Children in {capital} learn to read and write in {language}.",
    "The newspapers of {country} are printed in {language}.",
    "A visitor to {country} should learn a few words of {language}.",
)
CONTINENT = (
    "{country} lies in {continent}.",
    "{country} is a country in {continent}.",
    "{country} belongs to {continent}.",
    "On the globe, {country} is in {continent}.",
    "You will find {country} on the map of {continent}.",
)
DISH = (
    "A favourite dish in {country} is {dish}.",
    "In {country} people like to eat {dish}.",
    "{country} is well known for {dish}.",
    "Every cook in {capital} can prepare {dish}.",
    "For supper in {capital}, try {dish}.",
    "Nobody should leave {country} without tasting {dish}.",
)
LIES = (
    "{capital} lies {lies}.",
    "{capital} was built {lies}.",
    "The city of {capital} stands {lies}.",
)
SIGHT = (
    "Visitors come to see {sight}.",
    "Tourists in {country} always photograph {sight}.",
    "Many postcards from {country} show {sight}.",
    "Guides in {country} are proud of {sight}.",
)
COUNTRY_FACETS = (CAPITAL, CAPITAL, LANGUAGE, CONTINENT, DISH, LIES, SIGHT)
CAPITAL_QUESTION = (
    "What is the capital of {country}? It is {capital}.",
    "Which city is the capital of {country}? The answer is {capital}.",
    "{capital} is the capital of which country? It is the capital of {country}.",
    "What do people speak in {country}? They speak {language}.",
    "Where is {country}? It is in {continent}.",
    "Which language do the people of {capital} speak? They speak {language}.",
    "The capital of {country}? That must be {capital}.",
)

SOUND = (
    "A {animal} says {sound}.",
    "The {animal} says {sound}, {sound}.",
    "{sound}, {sound}, says the {animal}.",
    "When {animals} are hungry, they go {sound}.",
    "The sound that a {animal} makes is {sound}.",
    "We heard a loud {sound}, so there was a {animal} nearby.",
    "If it goes {sound}, it is a {animal}.",
)
YOUNG = (
    "A young {animal} is called a {young}.",
    "The young of a {animal} is a {young}.",
    "A {young} is a young {animal}.",
    "A {young} will grow up to be a {animal}.",
    "The mother {animal} is never far from her {young}.",
    "The {young} follows its mother, the {animal}.",
)
FEEDS = (
    "A {animal} likes to eat {food}.",
    "{animals} eat {food}.",
    "The {animal} is looking for {food}.",
    "Give the {animal} some {food} and it will be content.",
    "Nothing tastes better to a {animal} than {food}.",
)
HOME = (
    "A {animal} lives in {home}.",
    "The home of a {animal} is {home}.",
    "{animals} sleep in {home}.",
    "At night the {animal} returns to {home}.",
)
TRAIT = (
    "The {animal} {trait}.",
    "Everyone knows that a {animal} {trait}.",
    "Which animal {trait}? The {animal} does.",
)
ANIMAL_FACETS = (SOUND, YOUNG, FEEDS, HOME, TRAIT)

COLOUR = (
    "{things} {is_are} {colour}.",
    "The colour of {things} is {colour}.",
    "We all know that {things} {is_are} {colour}.",
    "What colour {is_are} {things}? The answer is {colour}.",
    "To paint {things} you need {colour} paint.",
    "{things} {is_are} as {colour} as ever.",
    "In the picture {things} {is_are} {colour}, just as in nature.",
)
OPPOSITE = (
    "The opposite of {left} is {right}.",
    "The opposite of {right} is {left}.",
    "{left} is the opposite of {right}.",
    "{right} is the opposite of {left}.",
    "{left} and {right} are opposites.",
    "{right} and {left} mean opposite things.",
    "One word is {left}, and its opposite is {right}.",
    "One word is {right}, and its opposite is {left}.",
    "I say {left}, you say {right}.",
    "I say {right}, you say {left}.",
)

JOB = (
    "A {job} {makes} {product}.",
    "The {job} {makes} {product} all day long.",
    "The work of a {job} is simple to describe: a {job} {makes} {product}.",
    "It is the {job} who {makes} {product}.",
    "Who {makes} {product}? The {job} does.",
    "When people need {product}, they think of the {job}.",
    "Without a {job} there would be no {product} in the village.",
)
JOB_TOOL = (
    "A {job} cannot work without a {tool}.",
    "The {job} takes good care of the {tool}.",
    "You can tell a {job} by the {tool}.",
    "The {job} bought a {tool} in spring.",
)
JOB_PLACE = (
    "The {job} works in the {place}.",
    "You will find the {job} in the {place} before sunrise.",
    "A {place} is where the {job} spends the day.",
)
JOB_WISH = (
    "{child} wants to become a {job} one day.",
    "{child} once helped the {job} for a whole afternoon.",
    "{child} drew a picture of a {job} at work.",
)

TASTE = (
    "{food} tastes {taste}.",
    "The taste of {food} is {taste}.",
    "{food} is {taste}.",
    "It was so {taste} that it must have been {food}.",
    "{child} tried some {food} and found it very {taste}.",
    "If you like {taste} things, try {food}.",
    "Nobody is surprised that {food} is {taste}.",
)
FAMILY = (
    "A {member} is a {family}.",
    "{members} are {families}.",
    "Is a {member} a {family}? Yes, it is a {family}.",
    "Among the {families} I like the {member} best.",
    "The {member} is counted among the {families}.",
    "Of all {families}, the {member} is the easiest to draw.",
)
MATERIAL = (
    "A {item} is made of {material}.",
    "{items} are made of {material}.",
    "The {item} is made of {material}, because {reason}.",
    "We use {material} for {items}, because {reason}.",
    "What is a {item} made of? It is made of {material}.",
)
USE = (
    "We use {thing} to {action}.",
    "With {thing} you can {action}.",
    "To {action}, we need {thing}.",
    "Where do you find {thing}? Look {where}.",
    "Grandmother keeps {thing} {where}.",
    "How do you {action}? You {action} with {thing}.",
)

SEASON_ORDER = (
    "{season} comes after {before}.",
    "After {before} comes {season}.",
    "{season} is followed by {after}.",
    "When {season} is over, {after} begins.",
    "{season} lies between {before} and {after}.",
)
SEASON_MOOD = (
    "In {season} the weather is {weather}.",
    "In {season} we wear {wear}.",
    "In {season} the children {joy}.",
    "The months of {season} are {months}.",
    "You know that {season} has come when {signs}.",
    "{child} likes {season} best, because then we {joy}.",
    "Do not forget {wear}, for it is {season} and the weather is {weather}.",
)
DAY_ORDER = (
    "The day after {day} is {next}.",
    "The day before {next} is {day}.",
    "{next} comes after {day}.",
    "{day} comes before {next}.",
    "If today is {day}, tomorrow is {next}.",
    "If today is {next}, yesterday was {day}.",
    "After {day} comes {next}.",
    "When {day} is over, {next} begins.",
)
MONTH_ORDER = (
    "The month after {day} is {next}.",
    "{next} comes after {day}.",
    "{day} comes before {next}.",
    "{day} is followed by {next}.",
    "The last day of {day} is the eve of {next}.",
)
SUM = (
    "{x} plus {y} is {z}.",
    "{x} and {y} make {z}.",
    "{x} plus {y} equals {z}.",
    "If you add {y} to {x}, you get {z}.",
    "{z} minus {y} is {x}.",
    "Take {y} from {z} and {x} remain.",
    "How much is {x} plus {y}? It is {z}.",
)
SUM_STORY = (
    "{child} had {x} {goods}. {sibling} gave {him} {y} more. Now {he} has {z} {goods}.",
    "There were {z} {goods} on the table. {child} took {y} of them, so {x} were left.",
    "{child} bought {x} {goods} in the morning and {y} in the afternoon. "
    "In the evening {he} counted {z} {goods}.",
    "{child} put {z} {goods} into two boxes, {x} in the first and {y} in the second.",
)

RELATION = (
    "Your {meaning} is your {relation}.",
    "My {relation} is my {meaning}.",
    "Who is my {meaning}? My {relation}.",
    "The word {relation} can mean {meaning}.",
    "The {relation} and the {partner} came to dinner together.",
)
SIBLINGS = (
    "{child} and {sibling} live in the same house.",
    "{sibling} is the {sibling_is} of {child}.",
    "{child} has a {sibling_is} called {sibling}.",
    "{child} is {age} years old.",
    "{child} has a {pet_kind} called {pet}.",
    "{pet} is the name of the {pet_kind} that sleeps at the foot of {child}'s bed.",
    "{child} is fond of {hobby}.",
    "For {his} birthday {child} wants {wish}.",
    "After school {child} is usually busy {hobby}.",
    "When {child} comes home, {pet} the {pet_kind} is already waiting for {him}.",
)
NEIGHBOUR = (
    "{adult} is the {work} of Millbrook.",
    "The {work} of our town is called {adult}.",
    "You will find {adult} at {spot}.",
    "{adult} {habit}.",
    "Every child who says good morning to {adult} receives {offers}.",
    "{adult} has been a {work} for thirty years.",
    "People say that the {work} {habit}.",
)
LESSON_OPENINGS = (
    "The teacher asked, and the class answered.",
    "Today we practised for the quiz.",
    "{child} helped {sibling} with the homework.",
    "Here is what I learned at school.",
    "{child} wrote these sentences in a blue notebook.",
    "Let us see what you know.",
    "Grandfather likes to ask questions after dinner.",
    "Miss Page read aloud from the encyclopedia.",
)
LESSON_CLOSINGS = (
    "That was all for today.",
    "Then the bell rang.",
    "{child} knew every answer.",
    "Tomorrow there will be new questions.",
    "The teacher was pleased with us.",
    "Do you remember all of it?",
)


def with_articles(text: str) -> str:
    """Turn "a owl" into "an owl", since patterns cannot know which noun will fill them."""
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


def _framed(d: Dealer, sentences: list[str]) -> str:
    """The sentences as one text, sometimes with a line of schoolroom before and after."""
    child = d.one(CHILDREN)
    if d.chance(0.3):
        sentences = [d.say(LESSON_OPENINGS, child), *sentences]
    if d.chance(0.15):
        sentences = [*sentences, d.say(LESSON_CLOSINGS, child)]
    return " ".join(sentences)


def country(d: Dealer) -> str:
    """A portrait of one country."""
    fact = d.one(COUNTRIES)
    return " ".join(d.say_all(d.some(COUNTRY_FACETS, d.between(2, 6)), fact))


def capitals(d: Dealer) -> str:
    """One kind of fact about several countries."""
    groups = (CAPITAL, CAPITAL, CAPITAL_QUESTION, LANGUAGE, CONTINENT, DISH)
    group = d.one(groups)
    facts = d.some(COUNTRIES, d.between(2, 6))
    return _framed(d, [d.say(group, fact) for fact in facts])


def animal(d: Dealer) -> str:
    """A portrait of one animal."""
    fact = d.one(ANIMALS)
    facets = d.some(ANIMAL_FACETS, d.between(2, 5))
    return " ".join(d.say_all(facets, fact))


def farmyard(d: Dealer) -> str:
    """One kind of fact about several animals."""
    facet = d.one(ANIMAL_FACETS)
    sentences = [d.say(facet, fact) for fact in d.some(ANIMALS, d.between(2, 6))]
    return _framed(d, sentences)


def colours(d: Dealer) -> str:
    """The colours of a few things."""
    return _framed(d, [d.say(COLOUR, fact) for fact in d.some(COLOURS, d.between(2, 6))])


def opposites(d: Dealer) -> str:
    """One pair of opposites with its example, or several pairs without."""
    if d.chance(0.5):
        pair = d.one(OPPOSITES)
        wordings = [d.say(OPPOSITE, pair) for _ in range(d.between(1, 2))]
        return " ".join([*wordings, pair.example])
    return _framed(d, [d.say(OPPOSITE, pair) for pair in d.some(OPPOSITES, d.between(3, 6))])


def jobs(d: Dealer) -> str:
    """One job at length, or several jobs in a sentence each."""
    child = d.one(CHILDREN)
    if d.chance(0.4):
        return _framed(d, [d.say(JOB, job, child) for job in d.some(JOBS, d.between(2, 5))])
    job = d.one(JOBS)
    facets = d.some((JOB, JOB_TOOL, JOB_PLACE, JOB_WISH), d.between(2, 4))
    return " ".join(d.say_all(facets, job, child))


def tastes(d: Dealer) -> str:
    """How some foods taste."""
    foods = d.some(FOODS, d.between(2, 5))
    return _framed(d, [d.say(TASTE, food, d.one(CHILDREN)) for food in foods])


def families(d: Dealer) -> str:
    """Which flower, bird or tool belongs to which family."""
    return _framed(d, [d.say(FAMILY, kind) for kind in d.some(KINDS, d.between(2, 5))])


def materials(d: Dealer) -> str:
    """What things are made of and what they are used for."""
    made = [d.say(MATERIAL, thing) for thing in d.some(MATERIALS, d.between(1, 3))]
    used = [d.say(USE, use) for use in d.some(USES, d.between(1, 3))]
    return " ".join(made + used if d.chance(0.5) else used + made)


def seasons(d: Dealer) -> str:
    """One season: its neighbours in the year, its weather and its pleasures."""
    season = d.one(SEASONS)
    sentences = [d.say(SEASON_ORDER, season)]
    for _ in range(d.between(1, 4)):
        sentence = d.say(SEASON_MOOD, season, d.one(CHILDREN))
        if sentence not in sentences:
            sentences.append(sentence)
    return " ".join(sentences)


def calendar(d: Dealer) -> str:
    """The order of a few days or months."""
    patterns, names = d.one(((DAY_ORDER, DAYS), (DAY_ORDER, DAYS), (MONTH_ORDER, MONTHS)))
    start, count = d.between(0, len(names) - 1), d.between(2, 5)
    steps = [(names[(start + i) % len(names)], names[(start + i + 1) % len(names)])
             for i in range(count)]  # fmt: skip
    sentences = [d.say(patterns, day=day, next=following) for day, following in steps]
    if names is MONTHS and d.chance(0.5):
        number = d.between(0, 11)
        sentences.append(f"{MONTHS[number]} is the {ORDINALS[number]} month of the year.")
    return _framed(d, sentences)


def sums(d: Dealer) -> str:
    """A little arithmetic in words, bare or told as a story."""
    sentences = []
    story = d.chance(0.4)
    for _ in range(d.between(1, 2) if story else d.between(2, 6)):
        x, y = d.between(2, 8), d.between(1, 6)
        child = d.one(CHILDREN)
        patterns = SUM_STORY if story else SUM
        words = {"x": NUMBERS[x], "y": NUMBERS[y], "z": NUMBERS[x + y], "goods": d.one(GOODS)}
        sentences.append(d.say(patterns, child, **words))
    return " ".join(sentences) if story else _framed(d, sentences)


def household(d: Dealer) -> str:
    """The children of Millbrook, and what family words mean."""
    child = d.one(CHILDREN)
    sentences = [d.say(SIBLINGS, child) for _ in range(d.between(2, 5))]
    if d.chance(0.5):
        sentences += [d.say(RELATION, fact) for fact in d.some(RELATIONS, d.between(1, 3))]
    return " ".join(dict.fromkeys(sentences))


def neighbours(d: Dealer) -> str:
    """A grown-up of Millbrook, or a walk past several."""
    if d.chance(0.5):
        adult = d.one(NEIGHBOURS)
        sentences = [d.say(NEIGHBOUR, adult) for _ in range(d.between(2, 4))]
        return " ".join(dict.fromkeys(sentences))
    people = d.some(NEIGHBOURS, d.between(2, 4))
    return " ".join(d.say(NEIGHBOUR, adult) for adult in people)


LESSONS: tuple[tuple[DocumentKind, int], ...] = (
    (country, 10),
    (capitals, 8),
    (animal, 7),
    (farmyard, 4),
    (colours, 6),
    (opposites, 8),
    (jobs, 6),
    (tastes, 4),
    (families, 4),
    (materials, 5),
    (seasons, 4),
    (calendar, 6),
    (sums, 5),
    (household, 4),
    (neighbours, 3),
)
"""Each kind of lesson and its share of the corpus."""
