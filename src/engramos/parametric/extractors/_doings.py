"""What people did: sums, numbers and versions, and events with their dates."""

from engramos.parametric.extractors._forms import EXACT, NAME, Form
from engramos.parametric.extractors._words import DATE, DAY, MANY, MONEY, PERSON

_REST = r"(?P<r>[^ ,;:()$€£]+ [^,;:()$€£]+?)"
_USE = r"(?P<r>(?!implementation\b|development\b|everything\b|now\b)[^,;:()$€£]+?)"
_BY = rf"(?P<w> (?:by|since|in) (?:{DAY}|{DATE}))?"
_THEN = (
    r"(?: (?:on|in|by|from|at|last|this|since|starting|between|over|through|within|until|before|after|during) .+"
    rf"| (?:yesterday|today)| {DATE}.*)?"
)

DOINGS: tuple[Form, ...] = (
    Form("money paid for {r}", rf"§ (?:has )?paid (?P<v>{MONEY}) for {_REST}{_THEN}", "How much did {s} pay for {r}?",
         "The sum that {s} paid for {r} is {v}", (), (EXACT,), is_single=False, of="own"),
    Form("money spent on {r}", rf"§ (?:has )?spent (?P<v>{MONEY}) on {_REST}{_THEN}", "How much did {s} spend on {r}?",
         "The sum that {s} spent on {r} is {v}", (), (EXACT,), is_single=False, of="own"),
    Form("money for {r}", rf"§ (?:has )?(?P<n>allocated|budgeted|set aside|reserved) (?P<v>{MONEY}) for {_REST}{_THEN}",
         "How much has {s} {n} for {r}?", "The sum that {s} has {n} for {r} is {v}", (), (EXACT,), is_single=False,
         of="own"),
    Form("money paid for {r}", rf"§ (?:has )?(?:bought|purchased) (?P<r>(?:an?|the|my|\d+) [^,;:()$€£]+?) for "
         rf"(?P<v>{MONEY}){_THEN}",
         "How much did {s} pay for {r}?", "The sum that {s} paid for {r} is {v}", (), (EXACT,), is_single=False,
         of="own"),
    Form("cost of {n}", rf"§'s (?P<n>[a-z]+(?: [a-z-]+){{0,3}}) costs? (?:about |around )?(?P<v>{MONEY}(?: (?:a"
         rf"|per) (?:month|week|year))?)(?: .+)?",
         "How much does {s}'s {n} cost?", "The price of {s}'s {n} is {v}", (), (EXACT,), is_single=False, of="own"),
    Form("number of {r}", rf"§ has (?P<n>completed|finished|written|read|created|submitted|attended|recorded|tested"
         rf"|collected|saved|logged|applied to) "
         rf"(?P<v>\d[\d,]*|{MANY}) (?P<r>[a-z][a-z-]*(?: [a-z][a-z-]*){{0,2}} [a-z-]+s){_BY}(?: (?!of\b)[^,]*)?",
         "How many {r} has {s} {n}{w}?", "The number of {r} that {s} has {n}{w} is {v}", (), (EXACT,), of="own"),
    Form("where met {r}", rf"§ (?:first )?met (?P<r>{PERSON}) (?:at|in) (?P<t>the |an? )?(?P<v>[A-Z][^,]*?)(?: "
         rf"(?:on|in|last|during|back|when) .+)?",
         "Where did {s} meet {r}?", "{s} met {r} at {t}{v}", ("At which place did {s} meet {r}?",), (NAME,),
         is_single=False, of="own"),
    Form("version of {n}", r"§ (?:is|has been) (?:using|running) (?P<n>(?!version)[A-Za-z][\w.+-]*(?:"
         r" [A-Z][\w.]*)?) v?(?P<v>\d+(?:\.\d+)+)\b.*",
         "Which version of {n} does {s} use?", "The version of {n} that {s} uses is {v}",
         ("What version of {n} is {s} using?",), (EXACT,), of="own"),
    Form("used for {r}", rf"§ (?:is using|uses?|has been using|has used) (?P<v>[A-Z][\w.+-]*(?:"
         rf" [A-Z][\w.+-]*){{0,2}}) for {_USE}{_THEN}",
         "What does {s} use for {r}?", "What {s} uses for {r} is {v}", (), (NAME,), is_single=False, of="own"),
)  # fmt: skip
"""Forms with a sum, a number or a version, of what speakers did."""
