"""What statements say: each form is a pattern, the value that it takes, and the question that it answers."""

import re
from dataclasses import dataclass

NAME, NUMBER, PLAIN = "name", "number", "plain"
"""Shapes of values."""
_KIN = (
    "husband wife spouse partner boyfriend girlfriend fiance fiancé fiancée mother father mom mum mama dad papa"
    " son daughter brother sister grandmother grandfather grandma grandpa granny aunt uncle cousin nephew niece"
    " boss manager mentor teacher coach doctor dentist therapist neighbour neighbor roommate flatmate best_friend"
    " friend colleague coworker stepson stepdaughter godson goddaughter baby kid"
)
_NEAREST = (
    "husband wife spouse partner boyfriend girlfriend fiance fiancé fiancée mother father mom mum dad son daughter"
    " brother sister boss best_friend roommate"
)
"""Of whom most have one: `my friend Bo` does not say who is meant by a friend."""
_PETS = "dog cat puppy kitten pup kitty horse rabbit bunny hamster parrot bird fish turtle snake lizard guinea_pig pet"
_ATTRIBUTES = (
    "birthday job profession occupation major hometown home_town nationality native_language mother_tongue"
    " first_language age phone_number email_address address star_sign zodiac_sign blood_type middle_name last_name"
    " surname nickname maiden_name full_name religion height shoe_size eye_color eye_colour alma_mater employer"
    " middle_school high_school home_address license_plate username workplace"
)
_JOBS = (
    "teacher nurse doctor engineer lawyer chef baker butcher writer author journalist painter artist musician"
    " singer actor actress dancer photographer designer architect programmer developer scientist biologist chemist"
    " physicist mathematician economist accountant banker plumber electrician carpenter mechanic farmer fisherman"
    " gardener pilot driver sailor soldier policeman firefighter detective judge librarian translator interpreter"
    " editor psychologist therapist counselor dentist surgeon veterinarian vet pharmacist paramedic midwife"
    " barista bartender waiter waitress cashier salesman saleswoman secretary receptionist consultant analyst"
    " researcher professor lecturer tutor student hairdresser tailor florist historian geologist astronomer"
    " astronaut politician diplomat ecologist coach trainer filmmaker screenwriter director producer composer"
    " violinist pianist drummer guitarist cellist beekeeper"
)
_KINDS = (
    "software civil mechanical electrical automotive chemical aerospace data high_school middle_school"
    " elementary_school primary_school music math science english yoga dance art freelance professional registered"
    " research marketing web"
    " graphic interior fashion game truck bus taxi delivery police pastry head sous wedding wildlife marine clinical"
    " school personal fitness swimming tennis football soccer basketball financial business management social"
    " film video sound product graduate college university medical law nursing part-time full-time junior senior"
    " assistant certified licensed landscape portrait commercial family primary_care front-end back-end"
)
"""What kinds of jobs there are; other words before a job praise it or wish for it."""
_FIELDS = (
    "medicine law biology chemistry physics mathematics maths math history philosophy psychology sociology"
    " economics engineering architecture nursing journalism music art theology linguistics astronomy geology"
    " geography business accounting marketing finance education literature anthropology archaeology"
    " computer_science data_science political_science environmental_science graphic_design mechanical_engineering"
    " software_engineering"
)
_INSTRUMENTS = (
    "piano guitar violin cello drums flute clarinet saxophone trumpet harp bass ukulele trombone oboe viola banjo"
    " accordion organ mandolin bagpipes harmonica recorder"
)
_COUNTED = "kids children sons daughters siblings brothers sisters dogs cats pets grandchildren horses"
_NUMBERS = "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
_MONTH = (
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December)"
    r"(?: \d{1,2}(?:st|nd|rd|th)?)?(?:,? \d{4})?"
)
_DATE = rf"(?:{_MONTH}|\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH}|\d{{1,4}}[./-]\d{{1,2}}[./-]\d{{1,4}}|\d{{4}})"


def _any(words: str) -> str:
    return "|".join(word.replace("_", " ") for word in words.split())


@dataclass(frozen=True, slots=True)
class Form:
    """One way to say one thing."""

    relation: str
    """`{n}` stands for what the pattern calls `n`; so below, `{s}` for the subject, `{v}` the value."""
    pattern: str
    """Of the whole sentence, with `§` for the subject and the group `v` for the value."""
    question: str
    statement: str
    paraphrases: tuple[str, ...] = ()
    shapes: tuple[str, ...] = (NAME,)
    is_single: bool = True
    """Whether only one value can be so at a time: a newer one takes the place of an older."""
    of: str = "all"
    """`own`: only what somebody says of themselves; `named`: only of a subject that is named."""
    is_place: bool = False
    """Whether a comma may stand within the value, as in `Austin, Texas`."""

    @property
    def expression(self) -> re.Pattern[str]:
        """The pattern; `re` keeps it compiled."""
        return re.compile(self.pattern)


_JOB_ASKED = ("What does {s} do for a living?", "What is the profession of {s}?")
_KIN_NAME = ("Who is {s}'s {n}?", "What is {s}'s {n} called?")
_V = "(?P<v>.+)"
_WHERE = r"(?: (?:at|for|in|with|from|by) .+)?"

FORMS: tuple[Form, ...] = (
    Form("workplace", rf"§ (?:work|works|is working) (?P<p>at|for) (?P<t>the )?{_V}", "Where does {s} work?",
         "{s} works {p} {t}{v}", ("Who does {s} work for?", "What is {s}'s workplace?")),
    Form("job", rf"§ (?:work|works|is working) as (?P<a>an?) (?P<v>[a-z][a-z -]+?){_WHERE}", "What is {s}'s job?",
         "{s} works as {a} {v}", _JOB_ASKED, (PLAIN,)),
    Form("job", rf"§ is (?P<a>an?) (?P<v>(?:(?:{_any(_KINDS)}) ){{0,2}}(?:{_any(_JOBS)})){_WHERE}",
         "What is {s}'s job?", "{s} works as {a} {v}", _JOB_ASKED, (PLAIN,)),
    Form("home", rf"§ (?:live|lives|is living|reside|resides) in (?P<t>the )?{_V}", "Where does {s} live?",
         "{s} lives in {t}{v}", ("In which place does {s} live?", "Where is {s}'s home?"), is_place=True),
    Form("birth date", rf"§ was born (?P<p>on|in) (?P<v>{_DATE})", "When was {s} born?", "{s} was born {p} {v}",
         ("What is {s}'s date of birth?",), (NUMBER, NAME)),
    Form("birthplace", rf"§ was born (?:and raised )?in {_V}", "Where was {s} born?", "{s} was born in {v}",
         ("What is {s}'s birthplace?",), is_place=True),
    Form("origin", rf"§ (?:is|come|comes) from {_V}", "Where is {s} from?", "{s} is from {v}",
         ("Where does {s} come from?",), is_place=True),
    Form("childhood", rf"§ grew up in {_V}", "Where did {s} grow up?", "{s} grew up in {v}",
         ("Where was {s} raised?",), is_place=True),
    Form("school", rf"§ (?:study|studies|is studying) at (?P<t>the )?{_V}", "Where does {s} study?",
         "{s} studies at {t}{v}",
         ("At which school does {s} study?",)),
    Form("field", rf"§ (?:study|studies|is studying|major in|majors in|is majoring in) (?P<v>{_any(_FIELDS)})",
         "What does {s} study?", "{s} studies {v}", ("What is {s}'s field of study?",), (PLAIN,)),
    Form("move", rf"§ (?:has )?(?:moved|relocated) to {_V}", "Where did {s} move to?", "{s} moved to {v}",
         ("To which place did {s} move?",), is_place=True),
    Form("former home", rf"§ (?:has )?moved (?:here )?from {_V}", "Where did {s} move from?", "{s} moved from {v}",
         ("From which place did {s} move?",), is_single=False, is_place=True),
    Form("name of {n}", rf"§'s (?P<n>{_any(_PETS)}) is {_V}", "What is {s}'s {n} called?", "{s}'s {n} is called {v}",
         ("What is the name of {s}'s {n}?",), is_single=False),
    Form("name of {n}", rf"§'s (?P<n>{_any(_KIN)}) is {_V}", "What is the name of {s}'s {n}?",
         "{s}'s {n} is called {v}", _KIN_NAME, is_single=False),
    Form("name of {n}", rf"§'s (?P<n>{_any(_KIN)})(?: is (?:called|named)|'s name is) {_V}",
         "What is the name of {s}'s {n}?", "{s}'s {n} is called {v}", _KIN_NAME, is_single=False),
    Form("name of {n}", rf"§ has (?:got )?an? (?:[a-z]+ )?(?P<n>{_any(_KIN)}) (?:called|named) {_V}",
         "What is the name of {s}'s {n}?", "{s}'s {n} is called {v}", _KIN_NAME, is_single=False),
    Form("name of {n}", rf"§'s (?P<n>[a-z]+(?: [a-z]+)?)(?: is (?:called|named)|'s name is) {_V}",
         "What is {s}'s {n} called?", "{s}'s {n} is called {v}", ("What is the name of {s}'s {n}?",), is_single=False),
    Form("name of {n}", r"§ (?:has|had|has got|got|adopted|has adopted) (?:an?|another) (?:[a-z-]+ ){0,2}"
         rf"(?P<n>{_any(_PETS)}) (?:called|named) {_V}",
         "What is {s}'s {n} called?", "{s}'s {n} is called {v}", ("What is the name of {s}'s {n}?",), is_single=False),
    Form("{n}", rf"§'s (?:all-time |absolute )?(?P<n>favou?rite (?!(?:part|thing|memory|moment|way|time|one|things)\b)"
         rf"[a-z]+(?: [a-z]+)?) (?:is|would be|has to be) {_V}", "What is {s}'s {n}?", "{s}'s {n} is {v}",
         ("What is the {n} of {s}?",), (NAME, NUMBER, PLAIN)),
    Form("birthday", rf"§'s birthday is (?:on )?(?:the )?(?P<v>{_DATE})", "When is {s}'s birthday?",
         "{s}'s birthday is {v}", ("On what date is {s}'s birthday?",), (NUMBER, NAME)),
    Form("{n}", rf"§'s (?P<n>{_any(_ATTRIBUTES)}) is (?:an? )?{_V}", "What is {s}'s {n}?", "{s}'s {n} is {v}",
         ("What is the {n} of {s}?",), (NAME, NUMBER, PLAIN)),
    Form("spouse", rf"§ is married to {_V}", "Who is {s} married to?", "{s} is married to {v}",
         ("Who is {s}'s spouse?",)),
    Form("allergy", r"§ is allergic to (?P<v>[a-z][a-z ]+)", "What is {s} allergic to?", "{s} is allergic to {v}",
         ("Which allergy does {s} have?",), (PLAIN,), is_single=False),
    Form("languages", r"§ speaks? (?:fluent )?(?P<v>[A-Z][a-z]+(?:(?:,| and|, and) [A-Z][a-z]+)*)",
         "Which languages does {s} speak?", "{s} speaks {v}", ("What languages are spoken by {s}?",), is_single=False,
         is_place=True),
    Form("age", rf"§ (?:is|turned) (?P<v>\d{{1,3}}|{_NUMBERS}) years old", "How old is {s}?", "The age of {s} is {v}",
         ("What is {s}'s age?",), (NUMBER, PLAIN)),
    Form("instrument", rf"§ (?:play|plays) (?:the )?(?P<v>{_any(_INSTRUMENTS)})", "Which instrument does {s} play?",
         "{s} plays the {v}", ("What instrument can {s} play?",), (PLAIN,), is_single=False),
    Form("car", rf"§ (?:drive|drives) an? (?:[a-z]+ )?{_V}", "What car does {s} drive?", "{s} drives a {v}",
         ("Which make is {s}'s car?",)),
    Form("number of {n}", rf"§ has (?:got )?(?P<v>\d{{1,2}}|{_NUMBERS}) (?P<n>{_any(_COUNTED)})",
         "How many {n} does {s} have?", "The number of {n} that {s} has is {v}", ("What number of {n} does {s} have?",),
         (NUMBER, PLAIN)),
    Form("place", rf"§ is (?P<n>located|based|headquartered|situated) in {_V}", "Where is {s} {n}?",
         "{s} is {n} in {v}", ("In which place is {s} {n}?",), of="named", is_place=True),
    Form("death", rf"§ died (?P<p>on|in) (?P<v>{_DATE})", "When did {s} die?", "{s} died {p} {v}", (), (NUMBER, NAME),
         of="named"),
    Form("{n}", rf"§'s (?P<n>[a-z]+(?: [a-z]+){{0,2}}) (?:is|was) {_V}", "What is {s}'s {n}?", "{s}'s {n} is {v}",
         ("What is the {n} of {s}?",), (NAME, NUMBER), of="named"),
    *(
        Form(f"who {past}", rf"§ was {done} (?:in \d{{4}} )?by (?P<v>[^,]+?)(?: in \d{{4}})?", f"Who {past} {{s}}?",
             f"{{s}} was {done} by {{v}}", (f"By whom was {{s}} {done}?",), of="named")
        for past, done in (
            ("wrote", "written"), ("painted", "painted"), ("founded", "founded"), ("invented", "invented"),
            ("discovered", "discovered"), ("directed", "directed"), ("composed", "composed"), ("designed", "designed"),
            ("created", "created"), ("developed", "developed"), ("built", "built"),
        )
    ),
)  # fmt: skip
"""All forms, the first that fits is taken."""

OF = Form(
    "{n}", rf"[Tt]he (?P<n>[a-z]+(?: [a-z]+){{0,2}}) of (?P<s>[^,]+?) (?:is|was) {_V}", "What is the {n} of {s}?",
    "The {n} of {s} is {v}", ("What is {s}'s {n}?",), (NAME, NUMBER), of="named",
)  # fmt: skip
"""A statement whose subject does not come first."""

MADE = re.compile(r"§ (?P<did>wrote|painted|founded|invented|discovered|directed|composed|designed|created) (?P<v>.+)")
"""What somebody made: the work is the subject, and who made it the answer."""
DONE = {"wrote": "written"}
"""Participles that are not the past."""

ECHO = re.compile(
    r"(?P<frame>§ (?:(?:is|was|has|joined|married|owns|leads|borders|manages|represents|attended|speaks|teaches)"
    r"|(?!(?:his|as|this|its|us|thanks)\b)[a-z]+(?:s|ed)"
    r"(?: (?!(?:and|or|who|that|my|your|our|me|you|us)\b)[a-z]+){0,4}?"
    r" (?:in|at|on|by|to|from|of|after|as|for|into|near)(?P<t> the)?)) (?P<v>[^a-z].*)"
)
"""Any other statement about a named subject that ends with a name or number, after its verb or a preposition."""

KIN_AND_PETS = re.compile(rf"\b[Mm]y (?P<n>{_any(_NEAREST)}|{_any(_PETS)}) (?P<v>[A-Z][a-zé]+)(?= [a-z]|'s\b|[,.!?]|$)")
"""A name beside what it is to the speaker, anywhere in a sentence: `my dog Rex`."""
PERSONS = frozenset(
    "chief president ceo founder author director mayor king queen leader owner head coach captain boss manager teacher"
    " chairman chairperson chancellor minister governor inventor composer editor husband wife spouse partner".split()
)
"""Of whom one asks who they are."""
PETS = frozenset(_any(_PETS).split("|"))
