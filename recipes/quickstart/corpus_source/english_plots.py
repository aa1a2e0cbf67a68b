"""The small adventures of Millbrook, beat by beat.

A plot is a tuple of beats, and a beat is a tuple of wordings; a story takes one wording of each
beat. The names in braces are filled by ``english_stories.adventure``.
"""

from __future__ import annotations

Plot = tuple[tuple[str, ...], ...]

LOST_PET: Plot = (
    (
        "On {day} morning {pet} was gone.",
        "When {child} woke up on {day}, the basket was empty and {pet} had vanished.",
        "Nobody had seen {pet} the {pet_kind} since {day} evening.",
    ),
    (
        "{child} looked under the bed, behind the piano and even inside the laundry.",
        "{child} searched the cellar, the attic and the woodpile.",
        "{sibling} checked the garden while {child} knocked at every door in the lane.",
    ),
    (
        "Then {he} asked {adult}, the {work}, for help.",
        'At {spot} {adult} shook {adult_his} head and said, "Let us think like a {pet_kind}."',
        'The {work} put down {adult_his} tools at once. "I will come with you," said {adult}.',
    ),
    (
        "They followed a row of tiny footprints across the frost.",
        "They listened, and from far away came a faint scratching.",
        "They left a dish of food on the step and hid behind the hedge.",
    ),
    (
        "At last they found {pet} fast asleep in a wheelbarrow full of straw.",
        "There sat {pet}, covered in dust and looking very proud.",
        "Out of a flowerpot peeped a familiar nose, and it belonged to {pet}.",
    ),
    (
        "{child} laughed, cried and hugged the {pet_kind}, all at the same time.",
        "{child} carried {his} friend home wrapped in a shawl.",
        "Since then {child} closes the gate with a double knot.",
    ),
)

BROKEN_WHEEL: Plot = (
    (
        "{child} was riding down Mill Street when a wheel of the bicycle broke.",
        "With a loud crack the front wheel of {child}'s scooter split in two.",
        "The old wagon lost a wheel exactly in the middle of the bridge.",
    ),
    (
        "The spokes were bent and the rim looked like an egg.",
        "A long nail had gone straight through the rubber.",
        "The axle had rusted because it had stood in the rain all {season}.",
    ),
    (
        "{friend} stopped and pushed from behind.",
        "{friend} fetched a rope and they dragged it along together.",
        'Luckily {friend} came by. "Two can carry what one cannot," {friend} said.',
    ),
    (
        "Mr Stone, the blacksmith, heated the iron until it glowed red.",
        "At the forge Mr Stone straightened the metal with seven blows of the hammer.",
        "Mr Stone found a spare wheel among the chains and kettles of his forge.",
    ),
    (
        "Sparks flew through the dark shed like fireflies.",
        "The bellows sighed and the anvil rang.",
        "It hissed when he dipped it into cold water, and steam rose to the roof.",
    ),
    (
        '"What do I owe you?" asked {child}. "One song on the way home," said the blacksmith.',
        "He would not accept any coins, so {child} swept the floor for him.",
        "{child} paid with a jar of plum jam, and both were satisfied.",
    ),
)

HELPING_HAND: Plot = (
    (
        "{adult} had caught a bad cold and could not leave the bed.",
        "The week before the fair there was too much to do for the {work} alone.",
        "One {day} a note hung on the door of {spot}: helper wanted.",
    ),
    (
        '{child} knocked and said, "I am only {age}, but I am not lazy."',
        "{child} and {friend} offered their help before anyone asked.",
        "{child} rolled up {his} sleeves and tied on an apron that was far too long.",
    ),
    (
        "First there were shelves to dust, then parcels to label, then a floor to scrub.",
        "They fetched water, sorted screws and answered the bell.",
        "It was harder than it looked, and by noon {his} fingers were stiff.",
    ),
    (
        "Once {child} dropped a whole tray, yet nobody scolded.",
        "By mistake {he} gave one customer the wrong change and ran after her to put it right.",
        "Some things went wrong, but most of them went well.",
    ),
    (
        '{adult} nodded. "You have earned {offers}," {adult_he} said.',
        "As a reward the {work} handed {child} {offers}.",
        "In the evening {adult} counted the takings and gave {child} a silver coin.",
    ),
    (
        "That night {child} slept like a stone.",
        "Now {child} knows why a {work} goes to bed early.",
        "Perhaps {child} will be a {work} too, or perhaps a pilot.",
    ),
)

STORM: Plot = (
    (
        "The air was heavy on {day}, and the swallows flew low over the river.",
        "All afternoon dark clouds had been piling up behind the hills.",
        '"There will be thunder before supper," Captain Reed had warned us.',
    ),
    (
        "Then lightning flashed and the rain came down in buckets.",
        "Suddenly the wind tore two tiles off the roof of the school.",
        "At six the first hailstones rattled against the shutters.",
    ),
    (
        "The brook rose until it licked the planks of the bridge.",
        "Branches snapped, fences toppled and the street lamps went out.",
        "Water ran down the steps and into the cellar of the bakery.",
    ),
    (
        "The neighbours formed a chain and passed sandbags from hand to hand.",
        "{adult} carried the flour, the ledgers and the canary upstairs.",
        "{child} held the lantern while {adult} nailed boards across the window.",
    ),
    (
        "Nobody slept much, but nobody was hurt either.",
        "{pet} the {pet_kind} hid beneath the sofa and would not come out.",
        "By candlelight {sibling} told stories until the thunder grew tired.",
    ),
    (
        "In the morning a rainbow stood over Millbrook, and the puddles shone.",
        "The next day everyone swept, mopped and repaired, and there was soup for all.",
        "When the sun returned, the worst damage was a broken weathercock.",
    ),
)

MARKET: Plot = (
    (
        "{day} is market day in Millbrook, and the square fills before eight.",
        "{child} took the wicker basket and went to the market with {friend}.",
        "Mother wrote a list on a slip of paper and sent {child} to the market.",
    ),
    (
        "One stall sold radishes, spinach and cauliflower, the next sold eels in a barrel.",
        "It smelled of fresh parsley, roasted almonds and wet dogs.",
        "A juggler threw five oranges into the air and caught all but one.",
    ),
    (
        '"How much are the {goods}?" asked {child}. "{number} for a coin," said the trader.',
        '"I would like {number} {goods}, please," said {child}, and opened {his} purse.',
        "The {goods} cost {number} coins, which was cheaper than last week.",
    ),
    (
        "{child} counted the money twice, because there was a hole in the pocket.",
        "{friend} thought that was too expensive and bargained until the trader laughed.",
        "Mr Fields added a bunch of mint for nothing.",
    ),
    (
        "At the corner they met {adult}, who was choosing a pumpkin.",
        "On the way back {adult} carried the heavy bag for them as far as the fountain.",
        "{adult} stood in the queue and told everybody about the price of candles.",
    ),
    (
        "At home they noticed that they had forgotten the salt.",
        "The basket was full, the purse was empty, and lunch was excellent.",
        "One of the {goods} never reached the kitchen, and {child} wiped {his} mouth.",
    ),
)

SCHOOL_DAY: Plot = (
    (
        "The school bell rings at eight, and {child} is almost always on time.",
        "On {day} {child} ran all the way to school with one shoe untied.",
        "The first lesson on {day} was geography.",
    ),
    (
        "The teacher unrolled a map and pointed to {country}.",
        "Everybody took out a pencil, a ruler and an exercise book.",
        "There was a fly in the classroom, and it was more interesting than spelling.",
    ),
    (
        '"Who can name the capital of {country}?" she asked. {child} raised {his} hand. '
        '"{capital}!"',
        '"What is spoken in {country}?" asked the teacher. "{language}," whispered {friend}.',
        'On the blackboard stood "{x} plus {y}", and {child} wrote {z} underneath.',
    ),
    (
        "During the break they traded marbles and half a sandwich.",
        "At lunch there was barley soup, which {friend} did not finish.",
        "In the yard the girls skipped rope and the boys played leapfrog.",
    ),
    (
        "In the afternoon they painted {things} and used up all the {colour} paint.",
        "Then the choir rehearsed, and the windows trembled at the high notes.",
        "In the science lesson a potato made a tiny lamp glow.",
    ),
    (
        "Homework was one page of fractions and a poem to learn by heart.",
        "When the last bell rang, the satchels flew onto the shoulders.",
        '"That was a good day," thought {child} and kicked a chestnut all the way home.',
    ),
)

TREASURE: Plot = (
    (
        "Inside a borrowed atlas {child} discovered a folded scrap of parchment.",
        "In the attic {child} and {friend} opened a chest that had been locked for ages.",
        "A bottle came floating down the river, and there was a message in it.",
    ),
    (
        'It said, "Go {number} steps north from the crooked willow and dig."',
        "The letters were faded, but one could still read the word treasure.",
        "A dotted line led from the mill to the ruined chapel and ended at a cross.",
    ),
    (
        "Miss Page lent them a magnifying glass and promised to keep the secret.",
        "{adult} warned them about the nettles and lent them a shovel.",
        "They packed a torch, a rope, two pears and a great deal of courage.",
    ),
    (
        "They dug until {friend} had blisters and the moon was up.",
        "Twice they lost the path, and once {pet} fell into a ditch.",
        "The compass trembled, an owl hooted, and nobody wanted to walk last.",
    ),
    (
        "At last the spade struck something hard.",
        "Beneath the roots lay a rusty tin, and the lid would not move.",
        "Then {friend} pulled away a slab, and below it gaped a hole.",
    ),
    (
        "It held {number} buttons, a brass whistle and a letter from two children of long ago.",
        "There was no gold, only a drawing of the town as it had been a century before.",
        "They kept one coin and buried the rest again for those who come after.",
    ),
)

BIRTHDAY: Plot = (
    (
        "{child}'s birthday was on a {day} this year.",
        "{child} turned {age}, and the whole street knew it.",
        "There were balloons on the gate when {child} celebrated {his} birthday.",
    ),
    (
        "For weeks {he} had been dreaming of {wish}.",
        "The only thing {he} wanted was {wish}.",
        '"I shall not get {wish}," {he} sighed, "for it is much too dear."',
    ),
    (
        "Mr Hill baked a cake with hazelnuts and {age} candles.",
        "{sibling} wrote the invitations in green ink and spelled three of them wrong.",
        "Grandmother squeezed lemons, and grandfather tuned his banjo.",
    ),
    (
        "{friend} brought a jigsaw puzzle, and {adult} brought {offers}.",
        "The guests played blind man's buff until a vase fell off the dresser.",
        "{child} blew out all the candles with a single breath.",
    ),
    (
        "Behind the curtain stood one last parcel with a silver bow.",
        "When everyone had eaten, {sibling} carried in a mysterious box.",
        "Only in the evening did mother put a finger to her lips and open the cupboard.",
    ),
    (
        "It really was {wish}.",
        "And what was in it? It was {wish}, and {child} could not speak for joy.",
        "There it lay, {wish}, and {child} took it to bed that night.",
    ),
)

PICNIC: Plot = (
    (
        "It was a bright {day} in {season}, so the family packed a hamper.",
        "{child} and {sibling} went down to the river for a picnic.",
        "Nobody felt like working on such a lovely {day}.",
    ),
    (
        "They spread a checkered blanket under the willows.",
        "There were radishes, boiled eggs, buttered rolls and a thermos of tea.",
        "Father skimmed flat pebbles, and the best one bounced {number} times.",
    ),
    (
        "A heron stood in the shallows and pretended to be a stick.",
        "Dragonflies glittered above the reeds, and a cuckoo called from the wood.",
        "The {animals} in the next meadow came to the fence and said {sound}.",
    ),
    (
        "Then an army of ants marched across the butter.",
        "Then {pet} the {pet_kind} tipped over the lemonade.",
        "Then the wind stole a straw hat and carried it downstream.",
    ),
    (
        "{sibling} waded in up to the knees and came back with wet socks and a grin.",
        "They laughed so much that the heron flew away in disgust.",
        "{adult}, who was passing in a rowing boat, rescued what could be rescued.",
    ),
    (
        "They walked home at dusk, sunburnt and sleepy.",
        "Even the crumbs were eaten, for the sparrows took care of those.",
        "{child} fell asleep on father's back before they reached the bridge.",
    ),
)

STOPPED_CLOCK: Plot = (
    (
        "One {day} the clock on the tower of Millbrook stopped at {number}.",
        "For the first time in a hundred years the tower clock stood still.",
        "At midnight there was a groan in the tower, and then silence.",
    ),
    (
        "The baker overslept, the train left without the mail, and lunch was served at three.",
        "People met on the square and asked each other what time it was.",
        "The rooster alone behaved as usual.",
    ),
    (
        "Mr Tick, the watchmaker, climbed the two hundred steps with his tweezers.",
        "Mr Tick polished his spectacles and opened the wooden case.",
        '"I must look at the gears," said Mr Tick, and asked {child} to hold the lamp.',
    ),
    (
        "Between the cogs he found a jackdaw's nest with four speckled eggs.",
        "The pendulum was tangled in an old kite string.",
        "A single screw was missing, no bigger than a grain of rice.",
    ),
    (
        "{child} had exactly such a thing in {his} trouser pocket.",
        "With steady fingers {child} reached where the old man's hand could not.",
        "They worked carefully and drank cocoa from a flask.",
    ),
    (
        "Then the hands jerked, the bell boomed, and below them the town cheered.",
        "Since that day Mr Tick lets {child} wind the clock on Sundays.",
        "Everybody set their watches, and life was punctual again.",
    ),
)

FIRST_SNOW: Plot = (
    (
        "On the first {day} in December {child} looked out, and everything was white.",
        "During the night it had snowed without a sound.",
        '"Snow!" shouted {sibling} and threw open the window.',
    ),
    (
        "The fences wore caps, and the statue on the square had a beard.",
        "The pond was frozen, and the ducks walked about on it, puzzled.",
        "Every twig carried a thin line of white, and the sky was grey as slate.",
    ),
    (
        "{child} put on mittens, boots and a scarf as long as a ladder.",
        "They took the sledge from its nail and rubbed the runners with wax.",
        "Mother insisted on two pairs of stockings and a bowl of hot porridge.",
    ),
    (
        "They built a snowman with a carrot for a nose and coal for eyes.",
        "From the top of the hill they raced down and landed in a drift.",
        "{friend} threw the first snowball, and it hit {adult} on the hat.",
    ),
    (
        "{adult} was not angry but threw one back.",
        "Afterwards {adult} came out with {offers} for each of them.",
        "Their cheeks were as red as apples, and their toes as cold as ice.",
    ),
    (
        "In the evening they dried their gloves on the stove and drank hot milk with honey.",
        "The snowman watched them from the garden until he melted in March.",
        "At bedtime it began to snow again.",
    ),
)

PUMPKIN_CONTEST: Plot = (
    (
        "Every October Millbrook gives a prize for the heaviest pumpkin.",
        "In spring {child} planted one single seed behind the shed.",
        "{child} and {friend} both meant to win the pumpkin contest.",
    ),
    (
        "{he} watered it each morning and chased the snails away at night.",
        "Mrs Green advised them to use compost, patience and a little music.",
        "All summer long it swelled, until it was bigger than {pet} the {pet_kind}.",
    ),
    (
        "They needed a cart and {number} people to bring it to the square.",
        "On the way it rolled off the barrow and nearly flattened a scarecrow.",
        "The jury wore black hats and looked terribly serious.",
    ),
    (
        "The scales creaked, and the pointer swung to the right.",
        "{adult} wrote the weights on a slate, one beneath the other.",
        "For a moment nobody breathed.",
    ),
    (
        "{child} came first, and {friend} was second by the weight of a spoon.",
        "The prize went to {adult}, who blushed up to the ears.",
        "Two pumpkins weighed exactly the same, so the jury cut the medal in half.",
    ),
    (
        "What remained was turned into soup for the entire town.",
        "They carved a grinning face in it and put a candle inside.",
        '"Next year," said {child}, "I will try with cucumbers."',
    ),
)

TRAIN_RIDE: Plot = (
    (
        "In the holidays {child} and {sibling} took the train to their grandmother.",
        "The platform was crowded when the {day} express pulled in.",
        "{child} had never travelled without {his} parents before.",
    ),
    (
        "The conductor punched the tickets and touched his cap.",
        "They found two seats by the window and put the suitcase on the rack.",
        "The locomotive puffed, the whistle blew, and the station slid away.",
    ),
    (
        "They passed vineyards, tunnels and a castle without a roof.",
        "Telegraph poles flew by, and {sibling} counted {number} of them before giving up.",
        "Cows and sheep grazed on the slopes and did not even lift their heads.",
    ),
    (
        "An old sailor told them about {capital}, the capital of {country}.",
        "A lady opposite read a guide to {capital}, because she was on her way to {country}.",
        "A student taught them three words of {language}, which is spoken in {country}.",
    ),
    (
        "At noon they unpacked cheese, grapes and a squashed cake.",
        "In the dining car {child} spilled the mustard.",
        "{pet} the {pet_kind} travelled in a box with holes and behaved perfectly.",
    ),
    (
        "Grandmother stood at the gate and waved with both arms.",
        "When they arrived it was dark, and they could smell the apple pie from the road.",
        '"How you have grown!" cried grandmother, as she does every year.',
    ),
)

CIRCUS: Plot = (
    (
        "A colourful poster announced that the circus would arrive on {day}.",
        "One {day} a line of painted wagons rolled over the bridge.",
        "{child} had saved {number} coins for a circus ticket.",
    ),
    (
        "In the meadow the men put up a tent with red and yellow stripes.",
        "The elephant drank from the fountain, and the mayor pretended not to notice.",
        "{child} and {friend} were allowed to carry hay and buckets.",
    ),
    (
        "In the evening the trumpets blared, and a man in a cylinder hat bowed.",
        "The acrobat walked on a wire and balanced an umbrella on her chin.",
        "A clown stumbled over his own shoes and sat down in a custard tart.",
    ),
    (
        "Then the magician asked for a volunteer, and {child} stood up.",
        "{adult} had to hold a hoop, through which {number} poodles jumped.",
        "The lion opened its jaws and gave a mighty roar.",
    ),
    (
        "A rabbit came out of the hat, then a dove, and finally the mayor's pocket watch.",
        "The audience stamped and clapped until the poles shook.",
        "{friend} bit into the candy floss and forgot to swallow.",
    ),
    (
        "The next morning there was only a circle of flattened grass.",
        "For a whole week the children of Millbrook walked on their hands.",
        "{child} still keeps the ticket between the pages of a dictionary.",
    ),
)

SCHOOL_PLAY: Plot = (
    (
        "The class was to perform a play about a king and his cook.",
        "{child} got the part of the dragon, and {friend} was the princess.",
        "Rehearsals for the school play started in {season}.",
    ),
    (
        "Mrs Silk stitched robes out of curtains and a crown out of cardboard.",
        "{sibling} painted the scenery, which was a forest seen from above.",
        "{child} muttered {his} lines at breakfast, in the bath and in {his} sleep.",
    ),
    (
        "On the evening of the show {his} knees were like jelly.",
        "Behind the curtain it smelled of glue and nervous children.",
        "In the front row sat {adult} with a bunch of marigolds.",
    ),
    (
        "In the second scene {friend} forgot a sentence, and it became very quiet.",
        "The cardboard tower leaned, wobbled and collapsed on the king.",
        "{pet} the {pet_kind} strolled across the stage as if it had been invited.",
    ),
    (
        "{child} invented a few words on the spot, and nobody noticed.",
        "The audience believed that it was part of the comedy and roared with laughter.",
        "Without blinking {child} went on, and the play was saved.",
    ),
    (
        "They had to bow {number} times.",
        '{adult} declared, "I have not laughed like that since my wedding."',
        "Afterwards there was punch for the actors, and the crown was never seen again.",
    ),
)

PLOTS: tuple[Plot, ...] = (
    LOST_PET,
    BROKEN_WHEEL,
    HELPING_HAND,
    STORM,
    MARKET,
    SCHOOL_DAY,
    TREASURE,
    BIRTHDAY,
    PICNIC,
    STOPPED_CLOCK,
    FIRST_SNOW,
    PUMPKIN_CONTEST,
    TRAIN_RIDE,
    CIRCUS,
    SCHOOL_PLAY,
)
