"""What is true in the English half of the corpus: countries, animals, jobs, people and more."""

from __future__ import annotations

from typing import NamedTuple


class Country(NamedTuple):
    """A country, with one thing worth knowing about it for every kind of sentence."""

    country: str
    capital: str
    language: str
    continent: str
    dish: str
    lies: str
    sight: str


COUNTRIES = (
    Country("France", "Paris", "French", "Europe", "soft cheese", "on the river Seine",
            "the Eiffel Tower"),
    Country("Italy", "Rome", "Italian", "Europe", "pasta", "on the river Tiber",
            "the Colosseum"),
    Country("Spain", "Madrid", "Spanish", "Europe", "saffron rice", "on a high plain",
            "the royal palace"),
    Country("Germany", "Berlin", "German", "Europe", "sausages", "on the river Spree",
            "the Brandenburg Gate"),
    Country("Britain", "London", "English", "Europe", "fish and chips", "on the river Thames",
            "Big Ben"),
    Country("Ireland", "Dublin", "English", "Europe", "lamb stew", "on the river Liffey",
            "the old college library"),
    Country("Portugal", "Lisbon", "Portuguese", "Europe", "salted cod",
            "at the mouth of the Tagus", "the yellow trams"),
    Country("Greece", "Athens", "Greek", "Europe", "olives", "near the warm blue sea",
            "the Acropolis"),
    Country("Poland", "Warsaw", "Polish", "Europe", "beet soup", "on the river Vistula",
            "the old market square"),
    Country("Sweden", "Stockholm", "Swedish", "Europe", "meatballs", "on fourteen islands",
            "the ship museum"),
    Country("Norway", "Oslo", "Norwegian", "Europe", "smoked salmon",
            "at the end of a long fjord", "the Viking ships"),
    Country("Finland", "Helsinki", "Finnish", "Europe", "rye bread", "on the Baltic coast",
            "the white cathedral"),
    Country("Denmark", "Copenhagen", "Danish", "Europe", "open sandwiches",
            "on the island of Zealand", "the Little Mermaid"),
    Country("Hungary", "Budapest", "Hungarian", "Europe", "goulash", "on the river Danube",
            "the chain bridge"),
    Country("Austria", "Vienna", "German", "Europe", "apple strudel", "on the river Danube",
            "the opera house"),
    Country("Russia", "Moscow", "Russian", "Europe", "thin pancakes", "on the river Moskva",
            "Red Square"),
    Country("Turkey", "Ankara", "Turkish", "Asia", "lamb kebab", "on a dry plateau",
            "the hilltop castle"),
    Country("Egypt", "Cairo", "Arabic", "Africa", "bean stew", "on the river Nile",
            "the pyramids"),
    Country("Morocco", "Rabat", "Arabic", "Africa", "couscous", "on the Atlantic coast",
            "the Hassan Tower"),
    Country("Kenya", "Nairobi", "Swahili", "Africa", "maize porridge",
            "among the green highlands", "the wild lions"),
    Country("China", "Beijing", "Chinese", "Asia", "dumplings", "in the north of the country",
            "the Great Wall"),
    Country("Japan", "Tokyo", "Japanese", "Asia", "sushi", "on a wide bay", "Mount Fuji"),
    Country("Korea", "Seoul", "Korean", "Asia", "spicy cabbage", "on the river Han",
            "the palace gardens"),
    Country("Thailand", "Bangkok", "Thai", "Asia", "sticky rice with mango",
            "on a winding brown river", "the golden temples"),
    Country("Vietnam", "Hanoi", "Vietnamese", "Asia", "noodle soup", "on the Red River",
            "the Lake of the Sword"),
    Country("Brazil", "Brasilia", "Portuguese", "South America", "black beans",
            "on a high plateau", "the modern cathedral"),
    Country("Peru", "Lima", "Spanish", "South America", "roast potatoes",
            "on the Pacific coast", "the ruins of the Incas"),
    Country("Chile", "Santiago", "Spanish", "South America", "corn pie",
            "at the foot of the Andes", "the snowy mountains"),
    Country("Cuba", "Havana", "Spanish", "North America", "fried bananas",
            "on the Caribbean Sea", "the old fortress"),
    Country("Canada", "Ottawa", "English", "North America", "maple syrup",
            "on the river Ottawa", "the frozen canal"),
)  # fmt: skip


class Animal(NamedTuple):
    """An animal, the sound it makes, its young, its food, its home and one more fact."""

    animal: str
    animals: str
    sound: str
    young: str
    food: str
    home: str
    trait: str


ANIMALS = (
    Animal("cow", "cows", "moo", "calf", "grass", "a barn", "gives us milk"),
    Animal("dog", "dogs", "woof", "puppy", "bones", "a kennel", "guards the house"),
    Animal("cat", "cats", "meow", "kitten", "fish", "a basket", "washes its face with a paw"),
    Animal("sheep", "sheep", "baa", "lamb", "clover", "a fold", "gives us wool"),
    Animal("horse", "horses", "neigh", "foal", "hay", "a stable", "pulls the heavy cart"),
    Animal("pig", "pigs", "oink", "piglet", "turnips", "a sty", "rolls in the mud"),
    Animal("duck", "ducks", "quack", "duckling", "water plants", "a nest in the reeds",
           "swims with flat feet"),
    Animal("goose", "geese", "honk", "gosling", "weeds", "a pen beside the pond",
           "chases strangers away"),
    Animal("hen", "hens", "cluck", "chick", "corn", "a coop", "lays an egg every morning"),
    Animal("frog", "frogs", "croak", "tadpole", "flies", "a pond", "jumps with its long legs"),
    Animal("owl", "owls", "hoot", "owlet", "mice", "a hollow tree", "hunts in the dark"),
    Animal("lion", "lions", "roar", "cub", "meat", "the dry savanna", "has a golden mane"),
    Animal("bear", "bears", "growl", "cub", "berries", "a cave", "sleeps all winter"),
    Animal("wolf", "wolves", "howl", "pup", "deer", "a den", "travels in a pack"),
    Animal("snake", "snakes", "hiss", "hatchling", "eggs", "a hole under a stone",
           "has no legs at all"),
    Animal("bee", "bees", "buzz", "larva", "nectar", "a hive", "makes honey"),
    Animal("mouse", "mice", "squeak", "pup", "seeds", "a hole in the wall",
           "has a long thin tail"),
    Animal("pigeon", "pigeons", "coo", "squab", "peas", "a loft", "can carry letters"),
    Animal("crow", "crows", "caw", "fledgling", "worms", "a nest high in the elm",
           "is clever with sticks"),
    Animal("turkey", "turkeys", "gobble", "poult", "acorns", "a yard behind the barn",
           "spreads its tail like a fan"),
)  # fmt: skip


FARM_ANIMALS = ANIMALS[:9]


class Thing(NamedTuple):
    """Things and the colour that everybody knows them by."""

    things: str
    is_are: str
    colour: str


COLOURS = (
    Thing("snow", "is", "white"), Thing("milk", "is", "white"), Thing("salt", "is", "white"),
    Thing("a swan", "is", "white"), Thing("grass", "is", "green"),
    Thing("a frog", "is", "green"), Thing("spring leaves", "are", "green"),
    Thing("cucumbers", "are", "green"), Thing("the clear sky", "is", "blue"),
    Thing("the sea", "is", "blue"), Thing("cornflowers", "are", "blue"),
    Thing("sapphires", "are", "blue"), Thing("blood", "is", "red"),
    Thing("a ripe tomato", "is", "red"), Thing("cherries", "are", "red"),
    Thing("fire engines", "are", "red"), Thing("a lemon", "is", "yellow"),
    Thing("butter", "is", "yellow"), Thing("sunflowers", "are", "yellow"),
    Thing("canaries", "are", "yellow"), Thing("coal", "is", "black"),
    Thing("a raven", "is", "black"), Thing("ink", "is", "black"), Thing("tar", "is", "black"),
    Thing("a carrot", "is", "orange"), Thing("pumpkins", "are", "orange"),
    Thing("tangerines", "are", "orange"), Thing("chocolate", "is", "brown"),
    Thing("mud", "is", "brown"), Thing("chestnuts", "are", "brown"),
    Thing("an elephant", "is", "grey"), Thing("ashes", "are", "grey"),
    Thing("rain clouds", "are", "grey"), Thing("a flamingo", "is", "pink"),
    Thing("a plum", "is", "purple"), Thing("violets", "are", "purple"),
)  # fmt: skip


class Pair(NamedTuple):
    """Two opposite words and a sentence that shows the difference."""

    left: str
    right: str
    example: str


OPPOSITES = (
    Pair("hot", "cold", "The tea is too hot to drink, but the lemonade is nice and cold."),
    Pair("big", "small", "The whale is a big animal and the shrimp is a small one."),
    Pair("tall", "short", "The tall brother can reach the shelf and the short one cannot."),
    Pair("fast", "slow", "The hare was fast, the tortoise was slow, and the tortoise won."),
    Pair("old", "young", "The oak is old, while the birch beside it is still young."),
    Pair("happy", "sad", "She was happy when he came and sad when he left."),
    Pair("full", "empty", "The bucket was full before the party and empty after it."),
    Pair("open", "closed", "The shop is open on weekdays and closed on holidays."),
    Pair("heavy", "light", "A stone is heavy and a feather is light."),
    Pair("wet", "dry", "His coat was wet, but his shirt had stayed dry."),
    Pair("loud", "quiet", "The drum is loud and the harp is quiet."),
    Pair("hard", "soft", "The bench is hard, so bring a soft cushion."),
    Pair("rich", "poor", "The rich man had a castle and the poor man had a hut."),
    Pair("strong", "weak", "The ox is strong and the newborn calf is weak."),
    Pair("early", "late", "Come early for the front seats, because the late ones stand."),
    Pair("clean", "dirty", "Put the clean shirts in the drawer and the dirty ones in the tub."),
    Pair("high", "low", "The eagle flies high and the swallow flies low."),
    Pair("near", "far", "The well is near, but the spring is far away."),
    Pair("thick", "thin", "Use a thick rope for the boat and a thin string for the parcel."),
    Pair("deep", "shallow", "The lake is deep in the middle and shallow near the shore."),
    Pair("wide", "narrow", "A cart can pass the wide gate but not the narrow one."),
    Pair("rough", "smooth", "Bark is rough and glass is smooth."),
    Pair("sharp", "blunt", "Only a sharp knife cuts a loaf, and a blunt one tears it."),
    Pair("easy", "difficult", "The first question was easy and the last was difficult."),
    Pair("first", "last", "Whoever is first today may be last tomorrow."),
    Pair("brave", "afraid", "The brave girl held the lantern for those who were afraid."),
    Pair("cheap", "expensive", "Turnips are cheap and pineapples are expensive."),
    Pair("awake", "asleep", "The owl is awake at midnight, when the hens are asleep."),
    Pair("inside", "outside", "The cat waits inside and the dog waits outside."),
    Pair("left", "right", "Turn left at the church and right at the mill."),
    Pair("begin", "end", "Fairy tales begin with a wish and end with a feast."),
    Pair("buy", "sell", "Farmers sell wheat, and millers buy it."),
    Pair("push", "pull", "You pull the sledge from the front and push it from behind."),
    Pair("laugh", "cry", "Clowns make us laugh and onions make us cry."),
    Pair("win", "lose", "It is pleasant to win, but everyone must lose at times."),
    Pair("remember", "forget", "I remember every face and forget every name."),
)  # fmt: skip


class Job(NamedTuple):
    """A job, where it is done, the tool it takes and what comes of it."""

    job: str
    place: str
    tool: str
    makes: str
    product: str


JOBS = (
    Job("baker", "bakery", "oven", "bakes", "bread"),
    Job("farmer", "field", "plough", "grows", "wheat"),
    Job("tailor", "workshop", "needle", "sews", "clothes"),
    Job("carpenter", "workshop", "hammer", "builds", "tables"),
    Job("fisherman", "boat", "net", "catches", "fish"),
    Job("painter", "studio", "brush", "paints", "pictures"),
    Job("cook", "kitchen", "pan", "prepares", "meals"),
    Job("cobbler", "shop", "awl", "mends", "shoes"),
    Job("gardener", "garden", "spade", "plants", "flowers"),
    Job("miner", "mine", "lamp", "digs", "coal"),
    Job("potter", "pottery", "wheel", "shapes", "pots"),
    Job("writer", "study", "pen", "writes", "books"),
    Job("shepherd", "meadow", "crook", "keeps", "sheep"),
    Job("miller", "mill", "millstone", "grinds", "flour"),
    Job("beekeeper", "orchard", "veil", "collects", "honey"),
    Job("weaver", "cottage", "loom", "weaves", "cloth"),
    Job("watchmaker", "shop", "magnifier", "repairs", "clocks"),
    Job("postman", "village", "bag", "delivers", "letters"),
    Job("butcher", "shop", "knife", "sells", "meat"),
    Job("mason", "tower", "trowel", "builds", "walls"),
    Job("blacksmith", "forge", "anvil", "makes", "horseshoes"),
    Job("photographer", "studio", "camera", "takes", "photographs"),
    Job("doctor", "hospital", "thermometer", "prescribes", "medicine"),
    Job("barber", "barbershop", "razor", "gives", "haircuts"),
)


class Food(NamedTuple):
    """Something to eat and how it tastes."""

    food: str
    taste: str


FOODS = (
    Food("sugar", "sweet"), Food("honey", "sweet"),
    Food("chocolate", "sweet"), Food("syrup", "sweet"),
    Food("lemon juice", "sour"), Food("vinegar", "sour"),
    Food("rhubarb", "sour"), Food("sorrel soup", "sour"),
    Food("sea water", "salty"), Food("bacon", "salty"),
    Food("soy sauce", "salty"), Food("pickled herring", "salty"),
    Food("black coffee", "bitter"), Food("strong medicine", "bitter"),
    Food("dandelion salad", "bitter"), Food("burnt toast", "bitter"),
    Food("chili pepper", "spicy"), Food("mustard", "spicy"),
    Food("ginger", "spicy"), Food("curry", "spicy"),
)  # fmt: skip


class Kind(NamedTuple):
    """A thing and the family that it belongs to."""

    member: str
    members: str
    family: str
    families: str


KINDS = tuple(
    Kind(member, members, family, families)
    for family, families, names in (
        ("flower", "flowers", "rose/roses tulip/tulips daisy/daisies lily/lilies poppy/poppies"),
        ("tree", "trees", "oak/oaks birch/birches willow/willows pine/pines maple/maples"),
        ("bird", "birds", "sparrow/sparrows robin/robins eagle/eagles swallow/swallows"),
        ("fish", "fish", "trout/trout salmon/salmon carp/carp herring/herrings"),
        ("fruit", "fruits", "apple/apples pear/pears cherry/cherries peach/peaches"),
        ("vegetable", "vegetables", "carrot/carrots cabbage/cabbages onion/onions leek/leeks"),
        ("insect", "insects", "beetle/beetles ant/ants moth/moths cricket/crickets"),
        ("jewel", "jewels", "ruby/rubies emerald/emeralds diamond/diamonds pearl/pearls"),
        ("instrument", "instruments", "violin/violins flute/flutes trumpet/trumpets harp/harps"),
        ("tool", "tools", "hammer/hammers saw/saws chisel/chisels rake/rakes"),
    )
    for member, members in (name.split("/") for name in names.split())
)


class Material(NamedTuple):
    """A thing and what it is made of."""

    item: str
    items: str
    material: str
    reason: str


MATERIALS = (
    Material("window", "windows", "glass", "light must pass through"),
    Material("table", "tables", "wood", "it is easy to saw and plane"),
    Material("newspaper", "newspapers", "paper", "it is light and takes the ink well"),
    Material("nail", "nails", "iron", "it must not bend under the hammer"),
    Material("ring", "rings", "gold", "it shines and never rusts"),
    Material("sweater", "sweaters", "wool", "it keeps the cold out"),
    Material("boot", "boots", "leather", "it bends with the foot"),
    Material("brick", "bricks", "clay", "it hardens in the fire"),
    Material("tyre", "tyres", "rubber", "it grips the road"),
    Material("candle", "candles", "wax", "it melts slowly"),
    Material("shirt", "shirts", "cotton", "it feels cool on the skin"),
    Material("statue", "statues", "marble", "it lasts for a thousand years"),
)


class Use(NamedTuple):
    """A common object and what people do with it."""

    thing: str
    action: str
    where: str


USES = (
    Use("a key", "open the door", "on a hook"),
    Use("an umbrella", "keep off the rain", "beside the coat rack"),
    Use("scissors", "cut paper", "in the sewing box"),
    Use("a broom", "sweep the floor", "behind the pantry door"),
    Use("soap", "wash dirty hands", "next to the basin"),
    Use("a spoon", "eat soup", "in the top drawer"),
    Use("a clock", "tell the time", "above the fireplace"),
    Use("a pillow", "rest a tired head", "on the bed"),
    Use("a towel", "dry wet hair", "on the rail"),
    Use("a kettle", "boil water", "on the stove"),
    Use("a ladder", "climb the roof", "in the shed"),
    Use("a map", "find the way", "in the glove box"),
    Use("a needle", "mend a sock", "in a pincushion"),
    Use("a candle", "light a dark room", "on the windowsill"),
    Use("a compass", "find the north", "in the captain's cabin"),
    Use("a ruler", "measure a line", "in the pencil case"),
)


class Season(NamedTuple):
    """A season, what comes before and after it, and what it looks like."""

    season: str
    before: str
    after: str
    weather: str
    wear: str
    joy: str
    months: str
    signs: str


SEASONS = (
    Season("spring", "winter", "summer", "mild", "a light jacket", "plant peas and beans",
           "March, April and May", "the snow melts and the swallows return"),
    Season("summer", "spring", "autumn", "hot", "a straw hat", "swim in the river",
           "June, July and August", "the wheat turns golden and the crickets sing"),
    Season("autumn", "summer", "winter", "windy", "a woollen scarf", "gather chestnuts",
           "September, October and November", "the leaves fall and the geese fly south"),
    Season("winter", "autumn", "spring", "cold", "a thick coat", "build a snowman",
           "December, January and February", "the pond freezes and the days are short"),
)  # fmt: skip

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August",
          "September", "October", "November", "December")  # fmt: skip
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
           "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
           "eighteen", "nineteen", "twenty")  # fmt: skip
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth",
            "tenth", "eleventh", "twelfth")  # fmt: skip


class Child(NamedTuple):
    """A child of Millbrook; the same child has the same pet and the same hobby in every text."""

    child: str
    he: str
    his: str
    him: str
    age: str
    sibling: str
    sibling_is: str
    pet_kind: str
    pet: str
    hobby: str
    wish: str


CHILDREN = (
    Child("Anna", "she", "her", "her", "eight", "Tom", "brother", "cat", "Pepper",
          "drawing maps", "a box of crayons"),
    Child("Tom", "he", "his", "him", "ten", "Anna", "sister", "dog", "Rex",
          "building kites", "a pocket compass"),
    Child("Lucy", "she", "her", "her", "nine", "Ben", "brother", "rabbit", "Clover",
          "playing the flute", "a music stand"),
    Child("Ben", "he", "his", "him", "seven", "Lucy", "sister", "parrot", "Captain",
          "collecting shells", "a spyglass"),
    Child("Maria", "she", "her", "her", "eleven", "Peter", "brother", "pony", "Star",
          "riding in the hills", "a leather saddle"),
    Child("Peter", "he", "his", "him", "six", "Maria", "sister", "tortoise", "Turbo",
          "watching the trains", "a toy engine"),
)  # fmt: skip


class Neighbour(NamedTuple):
    """A grown-up of Millbrook, with a job and a habit that never change."""

    adult: str
    work: str
    adult_he: str
    adult_his: str
    adult_him: str
    spot: str
    habit: str
    offers: str


NEIGHBOURS = (
    Neighbour("Mr Hill", "baker", "he", "his", "him", "the bakery on Mill Street",
              "whistles while the dough is rising", "a warm raisin bun"),
    Neighbour("Mrs Silk", "tailor", "she", "her", "her", "the workshop above the bank",
              "keeps three pins between her lips", "a scrap of velvet"),
    Neighbour("Mr Stone", "blacksmith", "he", "his", "him", "the forge by the bridge",
              "hums in time with the hammer", "a bent lucky horseshoe"),
    Neighbour("Doctor Wells", "doctor", "she", "her", "her", "the clinic near the park",
              "rides a squeaky bicycle to every patient", "a peppermint drop"),
    Neighbour("Miss Page", "librarian", "she", "her", "her", "the library on the square",
              "remembers who borrowed which book", "a picture book about pirates"),
    Neighbour("Captain Reed", "fisherman", "he", "his", "him", "the old boathouse",
              "smells the storm before it comes", "a smoked eel"),
    Neighbour("Mr Fields", "farmer", "he", "his", "him", "the farm beyond the mill",
              "counts his sheep twice each evening", "a jug of fresh milk"),
    Neighbour("Mr Bell", "postman", "he", "his", "him", "the post office",
              "knows the name of every dog", "a foreign stamp"),
    Neighbour("Mrs Green", "gardener", "she", "her", "her", "the greenhouse behind the school",
              "talks to her tomatoes", "a handful of strawberries"),
    Neighbour("Mr Tick", "watchmaker", "he", "his", "him", "the shop under the clock tower",
              "is never a minute late", "a tiny brass wheel"),
    Neighbour("Mrs Plum", "grocer", "she", "her", "her", "the corner shop",
              "knows every price by heart", "a stick of licorice"),
)  # fmt: skip


GROCER = NEIGHBOURS[-1]


class Relation(NamedTuple):
    """A family word and its explanation."""

    relation: str
    meaning: str
    partner: str


RELATIONS = (
    Relation("grandfather", "father's father", "grandmother"),
    Relation("grandmother", "mother's mother", "grandfather"),
    Relation("uncle", "mother's brother", "aunt"),
    Relation("aunt", "father's sister", "uncle"),
    Relation("cousin", "uncle's child", "uncle"),
    Relation("nephew", "brother's son", "niece"),
    Relation("niece", "sister's daughter", "nephew"),
)

GOODS = ("apples", "pears", "eggs", "buttons", "pencils", "marbles", "stamps", "candles", "buns",
         "ribbons", "plums", "walnuts", "shells", "postcards", "tulips", "peaches")  # fmt: skip
