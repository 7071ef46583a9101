"""What sentences say in passing, wherever it stands in them: names, ages and jobs of people, sums and aims."""

from engramos.parametric.extractors._forms import EXACT, NAME, PLAIN, Form
from engramos.parametric.extractors._words import (
    AIMS,
    AMOUNTS,
    DAY,
    JOBS,
    KIN,
    KINDS,
    MONEY,
    NEAREST,
    PERSON,
    PETS,
    TOLD,
    any_of,
)

_ENDS = r"(?= [a-z]|'s\b|[,.!?;)]|$)"
_MY = rf"\b[Mm]y (?:(?:{any_of(TOLD)}) )*"
_APART = rf"(?:, (?={PERSON}(?:,|[.!?]|$))| )"
"""Before a name that stands beside what somebody is: a comma only where another follows, as in `my son, Bo, is`."""
_SO = r"(?:^|[,;] |\b(?:and|but|so) )"
"""Before what speakers say that they are, `as a nurse, I`: else it may be said of somebody else."""
_OLD = r"(?:[1-9]\d?)"
_JOB = rf"(?:(?:{any_of(KINDS)}) ){{0,2}}(?:{any_of(JOBS)})"
_BIAS = r"veteran|local|seasoned|experienced|talented|skilled"
_PRAISE = rf"(?:(?:{_BIAS}) )?"
_A_JOB = (
    rf"(?:(?!{_BIAS}|aspiring|future|former|retired|great|good|fellow|new|real|potential)[a-z/-]+ ){{0,2}}"
    rf"(?:{any_of(JOBS)})"
)
_AGE = ("How old is {s}?", "The age of {s} is {v}", ("What is {s}'s age?", "What is the age of {s}?"))
_JOB_OF = (
    "What is {s}'s job?",
    "{s}'s job is {v}",
    ("What does {s} do for a living?", "What is the profession of {s}?"),
)
_PET = ("What is {s}'s {n} called?", "{s}'s {n} is called {v}", ("What is the name of {s}'s {n}?",))
_NEAR = ("What is the name of {s}'s {n}?", "{s}'s {n} is called {v}", ("What is {s}'s {n} called?",))
_TIE = ("What is {o}'s relation to {s}?", "{o} is {s}'s {v}", ("How is {o} related to {s}?", "Who is {o} to {s}?"))
_OCCASION = (
    r"(?:(?:final |mock )?exam|wedding|graduation|surgery|marathon"
    r"|(?!first|next|last|new|big|recent|previous|current|usual|planned|scheduled)[a-z]+ (?:[a-z]+ )?"
    r"(?:interview|appointment|exam|webinar|workshop|presentation|wedding|flight|test|checkup|surgery|race|conference)"
    rf"|(?:[a-z]+ )?(?:interview|appointment|meeting) with (?!Dr|Mr|Ms|Prof){PERSON})"
)
_NAMES = r"[A-Z][\w&'-]*(?: (?:(?:of|the|and|&) )?[A-Z][\w&'-]*)*"
_WHEN = ("When is {s}'s {n}?", "{s}'s {n} is on {v}", ("On what date is {s}'s {n}?",))
_SUM = ("What is {s}'s {n}?", "{s}'s {n} is {v}", ("What is the {n} of {s}?",))

OWN: tuple[Form, ...] = (
    Form("name of {n}", rf"\b[Mm]y (?P<n>{any_of(PETS)}){_APART}(?P<v>[A-Z][a-zé]+){_ENDS}", *_PET, is_single=False),
    Form("name of {n}", r"\b(?:I|[Ww]e)(?:'ve| have)?(?: just| recently)? (?:got|adopted|rescued|have) (?:an?"
         r"|another)"
         rf" (?:[a-z-]+ ){{0,2}}(?P<n>{any_of(PETS)}),? (?:called|named) (?P<v>[A-Z][a-zé]+){_ENDS}", *_PET,
         is_single=False),
    Form("name of {n}", rf"\b[Mm]y (?P<n>{any_of(NEAREST)}) (?P<v>{PERSON}){_ENDS}", *_NEAR, is_single=False),
    Form("relation of {o}", rf"{_MY}(?P<v>{any_of(KIN)}){_APART}(?P<o>{PERSON}){_ENDS}", *_TIE, (EXACT,),
         is_single=False),
    Form("relation of {o}", rf"{_MY}{_OLD}-year-old (?P<v>{any_of(KIN)}){_APART}(?P<o>{PERSON}){_ENDS}", *_TIE,
         (EXACT,),
         is_single=False),
    Form("names of {n}", rf"\b[Mm]y (?P<n>parents|kids|children|sons|daughters|brothers|sisters|cats|dogs),?"
         r" (?P<v>[A-Z][a-zé]+(?:, [A-Z][a-zé]+)*,? and [A-Z][a-zé]+)" rf"{_ENDS}",
         "What are the names of {s}'s {n}?", "The names of {s}'s {n} are {v}", ("What are {s}'s {n} called?",),
         (EXACT,), is_single=False),
    Form("age", rf"{_SO}[Aa]s an? (?P<v>{_OLD})-year-old\b.{{0,60}}?, (?:I|my)\b", *_AGE, (EXACT,)),
    Form("age", rf"\blike me, an? (?P<v>{_OLD})-year-old\b", *_AGE, (EXACT,)),
    Form("age", rf"\bI'm an? (?P<v>{_OLD})-year-old\b", *_AGE, (EXACT,)),
    Form("age", rf"\b[Mm]y age,? (?:of |is )?(?P<v>{_OLD})\b(?=,| and|[.?]|$)", *_AGE, (EXACT,)),
    Form("job", rf"{_SO}[Aa]s an? (?:{_OLD}-year-old )?(?P<v>{_JOB})(?: (?:in|at|from) [A-Z][^,]+)?, (?:I|my)\b",
         *_JOB_OF,
         (EXACT,), is_single=False),
    Form("job", rf"\blike me, an? (?:{_OLD}-year-old )?(?P<v>{_JOB})\b", *_JOB_OF, (EXACT,), is_single=False),
    Form("job", rf"\b[Mm]y (?:job|role|work|position|career|new role|current role) as an? (?P<v>{_JOB})\b(?! student)",
         *_JOB_OF, (EXACT,), is_single=False),
    Form("workplace", rf"\b[Mm]y (?:job|role|work|position|new job) at (?P<t>the )?(?P<v>{PERSON}(?:"
         rf" [A-Z][a-z]+)?){_ENDS}",
         "Where does {s} work?", "{s} works at {t}{v}", ("What is {s}'s workplace?",)),
    Form("home", r"^Living in (?P<v>[A-Z][a-z]+(?: [A-Z][a-z]+)?(?:, [A-Z][a-z]+(?: [A-Z][a-z]+)?)?), (?=I\b|my\b)",
         "Where does {s} live?", "{s} lives in {v}", ("Where is {s}'s home?",), is_place=True),
    Form("{n}", rf"\b[Mm]y (?P<n>(?:(?:annual|monthly|yearly|weekly|current) )?(?:{any_of(AMOUNTS)}))"
         rf" (?:of|is|is now) (?:about |around )?(?P<v>{MONEY}|\d+(?:\.\d+)?(?: ?(?:kg|lbs|pounds|cm|%))?)"
         rf"(?=[ ,.?;]|$)",
         *_SUM, (EXACT,)),
    Form("{n}", rf"\b[Mm]y (?P<n>deadline|(?!limited|tight|strict|new|old|current|total|original|main|ultimate"
         rf"|overall|next|usual|first|final)[a-z-]+ (?:{any_of(AIMS)})) (?:of|is|is set (?:at|for|to)) (?:about "
         rf"|around )?"
         rf"(?P<v>{MONEY}(?: a month| per month| monthly| a week)?|{DAY})(?=[ ,.?;]|$)", *_SUM, (EXACT,),
         is_single=False),
    Form("date of {n}", rf"\b[Mm]y (?:upcoming )?(?P<n>{_OCCASION}) (?:is |is scheduled |scheduled |coming up )?"
         rf"(?:on|for) (?P<v>{DAY})",
         *_WHEN, (EXACT,), is_single=False),
    Form("date of {n}", rf"\b[Mm]y (?:upcoming )?(?P<v>{DAY}) (?P<n>{_OCCASION}){_ENDS}", *_WHEN, (EXACT,),
         is_single=False),
    Form("date of {n}", rf"\bI(?:'ve got| have| have got) an? (?:upcoming )?(?P<n>{_OCCASION}) (?:scheduled |coming"
         rf" up )?(?:on|for) (?P<v>{DAY})",
         *_WHEN, (EXACT,), is_single=False),
    Form("{n}", rf"\b[Mm]y (?P<n>home country|home town|hometown|home city|home state|native country|alma mater),?"
         rf" (?P<v>{_NAMES}){_ENDS}", *_SUM, (NAME,)),
    Form("one of the {n}", r"\b[Oo]ne of my (?P<n>(?:all-time )?favou?rite [a-z]+(?: [a-z]+)?) is (?P<v>[^,.!?;]+?)"
         r"(?=[.,!;]| and | because | - |$)",
         "What is one of {s}'s {n}?", "One of {s}'s {n} is {v}", (), (NAME, PLAIN), is_single=False),
    Form("age of {n}", rf"\b[Mm]y (?P<v>{_OLD})-year-old (?P<n>{any_of(KIN)}|{any_of(PETS)})(?! [A-Z]|,? (?:named"
         rf"|called))\b",
         "How old is {s}'s {n}?", "The age of {s}'s {n} is {v}", ("What is the age of {s}'s {n}?",), (EXACT,),
         is_single=False),
    Form("name of {n}", r"\bI(?:'ve got| have| own| run) an? (?:[a-z-]+ ){0,2}?(?P<n>[a-z]+),? (?:named|called) \"?"
         rf"(?P<v>{_NAMES})\"?{_ENDS}", *_PET, is_single=False),
)  # fmt: skip
"""What speakers say of themselves."""

OTHERS: tuple[Form, ...] = (
    Form("age", rf"{_MY}(?P<v>{_OLD})-year-old (?:{any_of(KIN)}),? (?P<s>{PERSON}){_ENDS}", *_AGE, (EXACT,)),
    Form("age", rf"{_MY}(?:{any_of(KIN)}),? (?P<s>{PERSON}), (?:who's |who is |aged )?(?P<v>{_OLD})(?=,| and )", *_AGE,
         (EXACT,)),
    Form("age", rf"\b(?P<s>{PERSON}), (?:who's|who is|she's|he's|aged) (?P<v>{_OLD})(?=,| and |[.?!]|$)", *_AGE,
         (EXACT,)),
    Form("age", rf"\b(?P<s>{PERSON}), an? (?P<v>{_OLD})-year-old\b", *_AGE, (EXACT,)),
    Form("job", rf"\b(?P<s>{PERSON}), (?:{_OLD}, )?(?:an?|who's an?|who is an?) (?:{_OLD}-year-old )?{_PRAISE}"
         rf"(?P<v>{_A_JOB})(?=[,.?!;]|$| (?:at|from|in|who|with)\b)",
         *_JOB_OF, (EXACT,)),
    Form("job", rf"\b(?P<s>{PERSON}), (?:who's|who is) {_OLD} and an? {_PRAISE}(?P<v>{_A_JOB})(?=[,.?!;]|$| (?:at"
         rf"|from|in)\b)",
         *_JOB_OF, (EXACT,)),
    Form("home", rf"\b(?P<s>{PERSON}), who (?:lives|is living) in (?P<v>{_NAMES}(?:, {_NAMES})?)(?=[,.?!;]|$| and "
         rf"| with )",
         "Where does {s} live?", "{s} lives in {v}", ("Where is {s}'s home?",), is_place=True),
    Form("workplace", rf"\b(?P<s>{PERSON}), who works (?P<p>at|for) (?P<t>the )?(?P<v>{_NAMES})(?=[,.?!;]|$| and "
         rf"| as | in )",
         "Where does {s} work?", "{s} works {p} {t}{v}", ("What is {s}'s workplace?",)),
    Form("property", rf"\b(?P<s>{PERSON}), (?:who|(?:who's|she's|he's) {_OLD} and) owns (?P<v>{_NAMES})(?=[,.?!;]|$"
         rf"| and | in )",
         "What does {s} own?", "{s} owns {v}", ("Which place belongs to {s}?",), is_single=False),
)  # fmt: skip
"""What is said of people by their names, whoever speaks."""
