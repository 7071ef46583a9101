"""Everyday questions and neutral passages: what a model knew before must stay as it was.

Ours. The two halves of each share neither matter nor style: what guards the training must not be what is probed later.
"""

from typing import NamedTuple


class Everyday(NamedTuple):
    """A question that any model answers, with its well-known answer."""

    question: str
    answer: str


COMMON_TRAINED: tuple[Everyday, ...] = (
    Everyday("What is the capital of Italy?", "Rome"),
    Everyday("How many days are in a week?", "Seven"),
    Everyday("What color do you get when you mix blue and yellow?", "Green"),
    Everyday("Who painted the Mona Lisa?", "Leonardo da Vinci"),
    Everyday("What is the largest ocean on Earth?", "The Pacific Ocean"),
    Everyday("Which planet is closest to the Sun?", "Mercury"),
    Everyday("What gas do plants take in from the air?", "Carbon dioxide"),
    Everyday("How many sides does a triangle have?", "Three"),
    Everyday("What language is spoken in Brazil?", "Portuguese"),
    Everyday("At what temperature does water freeze in degrees Celsius?", "Zero"),
    Everyday("Which animal is known for its long neck?", "The giraffe"),
    Everyday("What do bees make?", "Honey"),
    Everyday("What is the opposite of hot?", "Cold"),
    Everyday("How many months does a year have?", "Twelve"),
    Everyday("What is the name of the star at the center of our solar system?", "The Sun"),
)
"""For the guard of the training: plain questions that begin with a question word."""

COMMON_PROBED: tuple[Everyday, ...] = (
    Everyday("Five plus four makes", "nine"),
    Everyday("Name the author of Romeo and Juliet.", "William Shakespeare"),
    Everyday("Translate the word 'house' into Spanish.", "Casa"),
    Everyday("The heart pumps", "blood"),
    Everyday("Give the chemical symbol of gold.", "Au"),
    Everyday("Paris is a city in the country of", "France"),
    Everyday("Is ice lighter or heavier than the same volume of liquid water?", "Lighter"),
    Everyday("Complete the series: Monday, Tuesday, Wednesday,", "Thursday"),
    Everyday("Spell the plural of 'mouse', the animal.", "Mice"),
    Everyday("Say which season comes after winter.", "Spring"),
    Everyday("True or false: a spider is an insect.", "False"),
    Everyday("My watch shows noon. Four hours later it shows", "four"),
    Everyday("Name one instrument with black and white keys.", "The piano"),
    Everyday("Please write the number one hundred in digits.", "100"),
    Everyday("We hear with our", "ears"),
)
"""For probes: requests, sentences to go on with, and small sums."""

COMMON = COMMON_TRAINED + COMMON_PROBED
"""All everyday questions."""

PASSAGES_TRAINED: tuple[str, ...] = (
    "Bread begins with four plain things: flour, water, salt and yeast. When they are mixed, the yeast feeds on the"
    " sugars of the flour and gives off small bubbles of gas. Kneading stretches the dough into a net that holds these"
    " bubbles, so that it rises. A slow rise in a cool place gives more taste than a quick one. In the oven the gas"
    " expands, the crust dries and turns brown, and the kitchen fills with a smell that most people know from"
    " childhood.",
    "A lighthouse stands where a coast is dangerous. Its lamp is not very strong, but a set of curved lenses gathers"
    " the light into narrow beams that can be seen far out at sea. As the lenses turn, a ship sees a flash, then"
    " darkness, then a flash again. Each lighthouse has a rhythm of its own, written on the charts, and a sailor who"
    " counts the seconds between two flashes can tell which one it is.",
    "Snow forms high in the clouds, where water vapour freezes on tiny grains of dust. Each crystal grows six arms,"
    " since the molecules of ice join at fixed angles. Warm and damp air makes broad flakes with many branches, while"
    " dry and bitterly cold air makes small plates and needles. Fresh snow holds a great deal of air between its"
    " flakes, and that is why it muffles sound and keeps the ground beneath it warm.",
    "A library lends books to anyone who holds a card. New books are first given a number that tells on which shelf"
    " they belong, so that works on one subject stand together. When a book comes back, someone checks its pages,"
    " wipes its cover and carries it to its place. Old books that nobody has asked for in many years are sold or given"
    " away, because shelves are short and new books arrive every week.",
    "Rivers shape the land through which they run. In the hills the water is quick and cuts deep valleys, carrying sand"
    " and stones along. Where the ground is flat it slows down, drops what it carries, and begins to wander from side"
    " to side in wide bends. After heavy rain it may break through the neck of a bend and leave the old loop behind as"
    " a quiet lake. Near the sea it splits into many arms.",
    "The bicycle is one of the most thrifty machines ever built. Nearly all of the effort of the rider reaches the back"
    " wheel through the chain. Gears let the legs turn at a comfortable speed, whether the road climbs or falls. Tyres"
    " filled with air smooth the way, and light rims with thin spokes carry many times their own weight. With little"
    " care, some oil and a new chain now and then, a bicycle lasts for decades.",
)
"""For the guard of the training: short explanations in the present tense."""

PASSAGES_PROBED: tuple[str, ...] = (
    "'You are late,' said the old woman, and did not look up from her knitting. The boy put the basket on the table and"
    " shook the rain out of his hair. 'The bridge was closed,' he answered. 'I had to go round by the mill, and the"
    " miller's dog would not let me pass.' She laughed at that. 'Then sit by the fire and eat something. The soup has"
    " been waiting longer than I have, and it complains less.'",
    "Minutes of the spring meeting. Present were eleven members; two had sent their apologies. The treasurer reported"
    " that the fees of the past year had covered all costs and that a small sum was left for repairs. It was agreed to"
    " mend the fence on the north side before summer. A proposal to buy a second mower was put off until prices had"
    " been compared. The next meeting will take place on the first Tuesday of September at seven.",
    "Dear neighbours, from Monday on the water in our building will be turned off every morning between nine and"
    " eleven, as the pipes in the cellar have to be replaced. Please fill a bucket or two the evening before, and keep"
    " your taps shut so that nothing overflows when the pressure returns. The work should take about a week. We are"
    " sorry for the trouble and thank you for your patience. If something leaks, ring the bell on the ground floor.",
    "First remove the back cover by loosening the four screws. Do not pull the cable that connects it to the board."
    " Take out the old battery, wait for ten seconds, and insert the new one with its label facing you. Close the"
    " cover, tighten the screws by hand, and hold the power button until the light blinks twice. If it stays dark,"
    " repeat the steps above. Used batteries belong in the collection box, not in the household waste.",
    "All that autumn the travellers had followed the road to the south, sleeping in barns and trading buttons for"
    " bread. By the time they saw the harbour the first frost had come and gone. They counted their coins twice, found"
    " that these would pay for three places on the boat and not for four, and drew straws on the quay. The one who had"
    " lost walked home through the winter alone, and told the best stories of them all.",
    "Good evening. After a cloudy start tomorrow, the sky should clear from the west, with some sunshine in the"
    " afternoon for most of us. It will feel cool in the wind along the coast. Showers are likely over the hills"
    " towards midnight, and a few of them could be heavy. Looking further ahead, the weekend stays dry and a little"
    " warmer, although patches of fog may be slow to lift in the valleys on Sunday morning.",
)
"""For probes: talk, minutes, a letter, instructions, a tale and a forecast."""

PASSAGES = PASSAGES_TRAINED + PASSAGES_PROBED
"""All neutral passages."""
