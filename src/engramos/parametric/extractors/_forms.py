"""What statements say: each form is a pattern, the value that it takes, and the question that it answers."""

import re
from dataclasses import dataclass
from functools import cache

from engramos.parametric.extractors._words import (
    ATTRIBUTES,
    COUNTED,
    DATE,
    FIELDS,
    INSTRUMENTS,
    JOBS,
    KIN,
    KINDS,
    MANY,
    MONEY,
    PETS,
    any_of,
)

NAME, NUMBER, PLAIN, EXACT = "name", "number", "plain", "exact"
"""Shapes of values; an exact one is whatever the pattern takes."""


@dataclass(frozen=True, slots=True)
class Form:
    """One way to say one thing."""

    relation: str
    """`{n}` stands for what the pattern calls `n`; so below, `{s}` for the subject, `{v}` the value."""
    pattern: str
    """With `§` for the subject, and these groups: `v` the value, and where needed `s` another subject,
    `r` what was done.

    `r` is put into the third person, and the form does not fit where it points at something outside of it.
    """
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
        """The pattern, compiled."""
        return _compiled(self.pattern)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


_JOB_ASKED = ("What does {s} do for a living?", "What is the profession of {s}?")
_KIN_NAME = ("Who is {s}'s {n}?", "What is {s}'s {n} called?")
_V = "(?P<v>.+)"
_WHERE = r"(?: (?:at|for|in|with|from|by) .+)?"

FORMS: tuple[Form, ...] = (
    Form("workplace", rf"§ (?:work|works|is working) (?P<p>at|for) (?P<t>the )?{_V}", "Where does {s} work?",
         "{s} works {p} {t}{v}", ("Who does {s} work for?", "What is {s}'s workplace?")),
    Form("job", rf"§ (?:work|works|is working) as (?P<a>an?) (?P<v>[a-z][a-z -]+?){_WHERE}", "What is {s}'s job?",
         "{s} works as {a} {v}", _JOB_ASKED, (PLAIN,)),
    Form("job", rf"§ is (?P<a>an?) (?P<v>(?:(?:{any_of(KINDS)}) ){{0,2}}(?:{any_of(JOBS)})){_WHERE}",
         "What is {s}'s job?", "{s} works as {a} {v}", _JOB_ASKED, (PLAIN,)),
    Form("job", rf"§ has been (?:working as )?an? (?P<v>(?:(?:{any_of(KINDS)}) ){{0,2}}(?:{any_of(JOBS)}))(?: "
         rf"(?:for|since) .+)?",
         "What is {s}'s job?", "{s}'s job is {v}", _JOB_ASKED, (PLAIN, EXACT)),
    Form("job", rf"§ is an? (?:\d{{1,2}}-year-old )(?P<v>(?:(?:{any_of(KINDS)}) ){{0,2}}(?:{any_of(JOBS)})){_WHERE}",
         "What is {s}'s job?", "{s}'s job is {v}", _JOB_ASKED, (PLAIN, EXACT)),
    Form("home", rf"§ (?:live|lives|is living|reside|resides) in (?P<t>the )?{_V}", "Where does {s} live?",
         "{s} lives in {t}{v}", ("In which place does {s} live?", "Where is {s}'s home?"), is_place=True),
    Form("birth date", rf"§ was born (?P<p>on|in) (?P<v>{DATE})", "When was {s} born?", "{s} was born {p} {v}",
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
    Form("field", rf"§ (?:study|studies|is studying|major in|majors in|is majoring in) (?P<v>{any_of(FIELDS)})",
         "What does {s} study?", "{s} studies {v}", ("What is {s}'s field of study?",), (PLAIN,)),
    Form("move", rf"§ (?:has )?(?:moved|relocated) to {_V}", "Where did {s} move to?", "{s} moved to {v}",
         ("To which place did {s} move?",), is_place=True),
    Form("former home", rf"§ (?:has )?moved (?:here )?from {_V}", "Where did {s} move from?", "{s} moved from {v}",
         ("From which place did {s} move?",), is_single=False, is_place=True),
    Form("name of {n}", rf"§'s (?P<n>{any_of(PETS)}) is {_V}", "What is {s}'s {n} called?", "{s}'s {n} is called {v}",
         ("What is the name of {s}'s {n}?",), is_single=False),
    Form("name of {n}", rf"§'s (?P<n>{any_of(KIN)}) is {_V}", "What is the name of {s}'s {n}?",
         "{s}'s {n} is called {v}", _KIN_NAME, is_single=False),
    Form("name of {n}", rf"§'s (?P<n>{any_of(KIN)})(?: is (?:called|named)|'s name is) {_V}",
         "What is the name of {s}'s {n}?", "{s}'s {n} is called {v}", _KIN_NAME, is_single=False),
    Form("name of {n}", rf"§ has (?:got )?an? (?:[a-z]+ )?(?P<n>{any_of(KIN)}) (?:called|named) {_V}",
         "What is the name of {s}'s {n}?", "{s}'s {n} is called {v}", _KIN_NAME, is_single=False),
    Form("name of {n}", rf"§'s (?P<n>[a-z]+(?: [a-z]+)?)(?: is (?:called|named)|'s name is) {_V}",
         "What is {s}'s {n} called?", "{s}'s {n} is called {v}", ("What is the name of {s}'s {n}?",), is_single=False),
    Form("name of {n}", r"§ (?:has|had|has got|got|adopted|has adopted) (?:an?|another) (?:[a-z-]+ ){0,2}"
         rf"(?P<n>{any_of(PETS)}) (?:called|named) {_V}",
         "What is {s}'s {n} called?", "{s}'s {n} is called {v}", ("What is the name of {s}'s {n}?",), is_single=False),
    Form("{n}", rf"§'s (?:all-time |absolute )?(?P<n>favou?rite (?!(?:part|thing|memory|moment|way|time|one|things)\b)"
         rf"[a-z]+(?: [a-z]+)?) (?:is|would be|has to be) {_V}", "What is {s}'s {n}?", "{s}'s {n} is {v}",
         ("What is the {n} of {s}?",), (NAME, NUMBER, PLAIN)),
    Form("birthday", rf"§'s birthday is (?:on )?(?:the )?(?P<v>{DATE})", "When is {s}'s birthday?",
         "{s}'s birthday is {v}", ("On what date is {s}'s birthday?",), (NUMBER, NAME)),
    Form("{n}", rf"§'s (?P<n>{any_of(ATTRIBUTES)}) is (?:an? )?{_V}", "What is {s}'s {n}?", "{s}'s {n} is {v}",
         ("What is the {n} of {s}?",), (NAME, NUMBER, PLAIN)),
    Form("spouse", rf"§ is married to {_V}", "Who is {s} married to?", "{s} is married to {v}",
         ("Who is {s}'s spouse?",)),
    Form("allergy", r"§ is allergic to (?P<v>[a-z][a-z ]+)", "What is {s} allergic to?", "{s} is allergic to {v}",
         ("Which allergy does {s} have?",), (PLAIN,), is_single=False),
    Form("languages", r"§ speaks? (?:fluent )?(?P<v>[A-Z][a-z]+(?:(?:,| and|, and) [A-Z][a-z]+)*)",
         "Which languages does {s} speak?", "{s} speaks {v}", ("What languages are spoken by {s}?",), is_single=False,
         is_place=True),
    Form("age", rf"§ (?:is|turned) (?P<v>\d{{1,3}}|{MANY}) years old", "How old is {s}?", "The age of {s} is {v}",
         ("What is {s}'s age?",), (NUMBER, PLAIN)),
    Form("age", r"§ (?:is|turned|has turned) (?P<v>[1-9]\d)(?: and .+| years? old.*)?", "How old is {s}?",
         "The age of {s} is {v}", ("What is {s}'s age?",), (EXACT,), of="own"),
    Form("age", r"§'s age(?: is|,) (?P<v>[1-9]\d)\b.*", "How old is {s}?",
         "The age of {s} is {v}", ("What is {s}'s age?",), (EXACT,), of="own"),
    Form("income", rf"§ (?:is (?:earning|making)|earns?|makes?) (?:about |around |roughly )?(?P<v>{MONEY})"
         r" (?:annually|a year|per year|yearly)\b.*",
         "How much does {s} earn a year?", "The money that {s} earns a year is {v}", ("What is {s}'s annual income?",),
         (EXACT,), of="own"),
    Form("years of marriage", rf"§ has been married (?:to .+ )?for (?P<v>(?:\d+|{MANY}) years)",
         "How long has {s} been married?", "{s} has been married for {v}", (), (EXACT,)),
    Form("marital status", r"§ is (?:happily |still )?(?P<v>single|married|divorced|widowed|engaged)",
         "What is {s}'s marital status?", "{s} is {v}", ("Is {s} single or married?",), (EXACT,)),
    Form("diet", r"§ is (?:an? )?(?P<v>vegetarian|vegan|pescatarian|pescetarian)", "What diet does {s} follow?",
         "The diet that {s} follows is {v}", ("What kind of diet does {s} have?",), (EXACT,)),
    Form("aim: {n}", r"§'s (?:main |biggest |ultimate )?(?P<n>goal|dream) is (?P<v>(?P<r>to (?:help|become|be"
         r"|create|open|build|travel|give|contribute"
         r"|start|run|learn|have|see|win|own|work|inspire|publish|visit|live|graduate|retire) [^,]+))",
         "What is {s}'s {n}?", "{s}'s {n} is {v}", ("What is the {n} of {s}?",), (EXACT,), is_single=False),
    Form("number of children", rf"§ is (?:an? |the )?(?:[a-z]+ ){{0,2}}(?:mother|mom|mum|father|dad|parent) (?:of"
         rf"|to) (?P<v>\d|{MANY})(?: (?:kids|children|boys|girls))?",
         "How many children does {s} have?", "The number of children that {s} has is {v}", (), (EXACT,)),
    Form("fan", r"§ is an? (?:big |huge |massive |real )?fan of (?P<v>[^,]+?)(?: (?:too|books|as well))?",
         "What is {s} a fan of?", "{s} is a fan of {v}",
         ("Of what is {s} a fan?",), (NAME, PLAIN), is_single=False),
    Form("kind of {n}", r"§ (?:loves?|likes?|enjoys?) (?P<v>[a-z][a-z-]*(?:(?:, | and |, and )[a-z][a-z-]*){0,2}) "
         r"(?P<n>movies|music|books|games|food|films|novels)",
         "What kind of {n} does {s} like?", "The kind of {n} that {s} likes is {v}", (), (PLAIN,), is_single=False),
    Form("subject taught", r"§ (?:teach|teaches|is teaching) (?P<v>[a-z]+(?: [a-z]+)?)(?: (?:at|in|to|for) .+)?",
         "What does {s} teach?",
         "What {s} teaches is {v}", ("Which subject does {s} teach?",), (PLAIN,), is_single=False),
    Form("volunteering", r"§ (?:volunteers?|is volunteering|has been volunteering) (?P<p>at|for|with) (?P<t>an? "
         r"|the )?(?P<v>[^,]+?)(?: (?:for|since|on|every|in) .+)?",
         "Where does {s} volunteer?", "{s} volunteers {p} {t}{v}", ("At which place does {s} volunteer?",), (NAME,
         PLAIN), is_single=False),
    Form("job of {n}", rf"§'s (?P<n>{any_of(KIN)}) (?:is|works as) (?P<a>an?) (?P<v>(?:(?:{any_of(KINDS)}) ){{0,2}}"
         rf"(?:{any_of(JOBS)})){_WHERE}",
         "What is the job of {s}'s {n}?", "{s}'s {n} is {a} {v}", ("What does {s}'s {n} do for a living?",), (EXACT,),
         is_single=False),
    Form("how long known {r}", rf"§ has known (?P<r>[A-Z][a-z]+(?: [A-Z][a-z]+)?) for (?P<v>(?:about |over |almost "
         rf"|nearly )?(?:\d+|{MANY}) (?:years|months))(?: now)?",
         "How long has {s} known {r}?", "{s} has known {r} for {v}", (), (EXACT,)),
    Form("intolerance", r"§ is (?P<v>lactose|gluten)[ -]intolerant", "What is {s} intolerant to?",
         "{s} is intolerant to {v}", ("Which intolerance does {s} have?",), (EXACT,)),
    Form("alma mater", rf"§ (?:has )?graduated from {_V}", "Where did {s} graduate from?", "{s} graduated from {v}",
         ("From which school did {s} graduate?",), is_place=True),
    Form("how long {r}", rf"§ has been (?P<r>[a-z]+ing [^,]+?|in [^,]+?|with [^,]+?) for (?P<v>(?:about |over "
         rf"|almost |nearly |more than )?"
         rf"(?:\d+|{MANY}|a) (?:years?|months?|decades?)(?: now| already)?)", "How long has {s} been {r}?",
         "{s} has been {r} for {v}", (), (EXACT,)),
    Form("since when {r}", rf"§ has been (?P<r>[a-z]+ing (?!\d+ times)[^,]+?) since (?P<v>{DATE})(?: with .+)?",
         "Since when has {s} been {r}?",
         "{s} has been {r} since {v}", (), (EXACT,)),
    Form("preference to {r}", r"§ prefers? (?P<v>[^,]+?) (?:over|rather than) (?P<r>[^,]+?)(?: (?:for|because|due"
         r"|to|on|as|at|in|when) .+)?",
         "What does {s} prefer to {r}?", "What {s} prefers to {r} is {v}", (), (NAME, PLAIN)),
    Form("choice over {r}", r"§ (?:has )?(?:chose|chosen|picked) (?P<v>[A-Z][^,]*?|the .+?) over (?P<r>[^,]+?)(?: "
         r"(?:for|because|due|to|on|as) .+)?",
         "What did {s} choose over {r}?", "What {s} chose over {r} is {v}", (), (NAME, PLAIN)),
    Form("go-to {n}", rf"§'s go-to (?P<n>[a-z]+(?: [a-z]+)?) is {_V}", "What is {s}'s go-to {n}?",
         "{s}'s go-to {n} is {v}",
         ("What is the go-to {n} of {s}?",), (NAME, PLAIN)),
    Form("instrument", rf"§ (?:play|plays) (?:the )?(?P<v>{any_of(INSTRUMENTS)})", "Which instrument does {s} play?",
         "{s} plays the {v}", ("What instrument can {s} play?",), (PLAIN,), is_single=False),
    Form("car", rf"§ (?:drive|drives) an? (?:[a-z]+ )?{_V}", "What car does {s} drive?", "{s} drives a {v}",
         ("Which make is {s}'s car?",)),
    Form("number of {n}", rf"§ has (?:got )?(?P<v>\d{{1,2}}|{MANY}) (?P<n>{any_of(COUNTED)})",
         "How many {n} does {s} have?", "The number of {n} that {s} has is {v}", ("What number of {n} does {s} have?",),
         (NUMBER, PLAIN)),
    Form("place", rf"§ is (?P<n>located|based|headquartered|situated) in {_V}", "Where is {s} {n}?",
         "{s} is {n} in {v}", ("In which place is {s} {n}?",), of="named", is_place=True),
    Form("death", rf"§ died (?P<p>on|in) (?P<v>{DATE})", "When did {s} die?", "{s} died {p} {v}", (), (NUMBER, NAME),
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

PERSONS = frozenset(
    "chief president ceo founder author director mayor king queen leader owner head coach captain boss manager teacher"
    " chairman chairperson chancellor minister governor inventor composer editor husband wife spouse partner".split()
)
"""Of whom one asks who they are."""
