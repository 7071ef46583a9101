"""Words that forms are made of: who people are to each other, what they do, have and play, and how they write dates."""

KIN = (
    "husband wife spouse partner boyfriend girlfriend fiance fiancé fiancée mother father mom mum mama dad papa"
    " son daughter brother sister grandmother grandfather grandma grandpa granny aunt uncle cousin nephew niece"
    " boss manager mentor teacher coach doctor dentist therapist neighbour neighbor roommate flatmate best_friend"
    " friend colleague coworker co-worker stepson stepdaughter godson goddaughter baby kid supervisor tutor classmate"
    " landlord accountant lawyer attorney assistant trainer mother-in-law father-in-law sister-in-law brother-in-law"
)
NEAREST = (
    "husband wife spouse partner boyfriend girlfriend fiance fiancé fiancée mother father mom mum dad son daughter"
    " brother sister boss best_friend roommate"
)
"""Of whom most have one: `my friend Bo` does not say who is meant by a friend."""
PETS = "dog cat puppy kitten pup kitty horse rabbit bunny hamster parrot bird fish turtle snake lizard guinea_pig pet"
ATTRIBUTES = (
    "birthday job profession occupation major hometown home_town nationality native_language mother_tongue"
    " first_language age phone_number email_address address star_sign zodiac_sign blood_type middle_name last_name"
    " surname nickname maiden_name full_name religion height shoe_size eye_color eye_colour alma_mater employer"
    " middle_school high_school home_address license_plate username workplace"
)
JOBS = (
    "teacher nurse doctor engineer lawyer chef baker butcher writer author journalist painter artist musician"
    " singer actor actress dancer photographer designer architect programmer developer scientist biologist chemist"
    " physicist mathematician economist accountant banker plumber electrician carpenter mechanic farmer fisherman"
    " gardener pilot driver sailor soldier policeman firefighter detective judge librarian translator interpreter"
    " editor psychologist therapist counselor dentist surgeon veterinarian vet pharmacist paramedic midwife"
    " barista bartender waiter waitress cashier salesman saleswoman secretary receptionist consultant analyst"
    " researcher professor lecturer tutor student hairdresser tailor florist historian geologist astronomer"
    " astronaut politician diplomat ecologist coach trainer filmmaker screenwriter director producer composer"
    " violinist pianist drummer guitarist cellist beekeeper technologist technician administrator attorney"
    " entrepreneur marketer"
)
KINDS = (
    "software civil mechanical electrical automotive chemical aerospace data high_school middle_school"
    " elementary_school primary_school music math science english yoga dance art freelance professional registered"
    " research marketing web"
    " graphic interior fashion game truck bus taxi delivery police pastry head sous wedding wildlife marine clinical"
    " school personal fitness swimming tennis football soccer basketball financial business management social"
    " film video sound product graduate college university medical law nursing part-time full-time junior senior"
    " assistant certified licensed landscape portrait commercial family primary_care front-end back-end"
    " television/film tv/film technical architectural investment"
)
"""What kinds of jobs there are; other words before a job praise it or wish for it."""
FIELDS = (
    "medicine law biology chemistry physics mathematics maths math history philosophy psychology sociology"
    " economics engineering architecture nursing journalism music art theology linguistics astronomy geology"
    " geography business accounting marketing finance education literature anthropology archaeology"
    " computer_science data_science political_science environmental_science graphic_design mechanical_engineering"
    " electrical_engineering civil_engineering software_engineering creative_writing film fine_arts"
)
INSTRUMENTS = (
    "piano guitar violin cello drums flute clarinet saxophone trumpet harp bass ukulele trombone oboe viola banjo"
    " accordion organ mandolin bagpipes harmonica recorder"
)
COUNTED = "kids children sons daughters siblings brothers sisters dogs cats pets grandchildren horses turtles"
AMOUNTS = (
    "income salary rent mortgage allowance pension weight height gpa wage retirement_fund emergency_fund"
    " hourly_rate credit_score"
)
"""Of which somebody has one at a time."""
AIMS = "budget deadline goal limit target score"
"""Of which somebody may have several, so that two of them are not learnt."""
TOLD = "close best good dear old older younger elder big little twin romantic longtime long-time childhood new"
"""What stands between `my` and who somebody is."""

_NUMBER = "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
MANY = _NUMBER.removeprefix("one|")
"""Numbers above one, in words."""
NUMBERS = {word: number for number, word in enumerate(_NUMBER.split("|"), start=1)}
_MONTH_NAME = (
    "(?:January|February|March|April|May|June|July|August|September|October|November|December"
    "|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\\.?)"
)
_MONTH = rf"{_MONTH_NAME}(?: \d{{1,2}}(?:st|nd|rd|th)?\b)?(?:,? (?:19|20)\d\d\b)?"
DATE = rf"(?:{_MONTH}|\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH}|\d{{1,4}}[./-]\d{{1,2}}[./-]\d{{1,4}}|(?:19|20)\d\d)"
DAY = (
    rf"(?:{_MONTH_NAME} \d{{1,2}}(?:st|nd|rd|th)?\b(?:,? (?:19|20)\d\d\b)?"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH_NAME}(?:,? (?:19|20)\d\d\b)?)"
)
"""A date with its day."""
MONEY = r"[$€£]\d[\d,]*(?:\.\d+)?(?:[kKM]\b| (?:million|thousand)\b)?"
PERSON = r"[A-Z][a-zé]+(?: [A-Z][a-zé]+(?: (?:Sr|Jr)\b)?)?"
"""One name or two."""

VERBS = dict(
    pair.split(":")
    for pair in """
    accepted:accept achieved:achieve added:add adopted:adopt analyzed:analyze applied:apply arranged:arrange
    attended:attend baked:bake became:become began:begin booked:book bought:buy built:build came:come camped:camp
    caught:catch celebrated:celebrate cleaned:clean climbed:climb collected:collect completed:complete
    conducted:conduct configured:configure converted:convert cooked:cook created:create decorated:decorate
    deployed:deploy designed:design did:do discovered:discover donated:donate drew:draw drove:drive dyed:dye
    earned:earn edited:edit enjoyed:enjoy enrolled:enroll explored:explore filmed:film finished:finish fixed:fix
    flew:fly found:find gave:give got:get graduated:graduate grew:grow had:have harvested:harvest hiked:hike
    hired:hire hosted:host implemented:implement installed:install interviewed:interview invested:invest
    invited:invite joined:join launched:launch learned:learn led:lead left:leave lost:lose made:make merged:merge
    met:meet moved:move negotiated:negotiate opened:open ordered:order organized:organize paid:pay painted:paint
    passed:pass performed:perform planted:plant played:play posted:post practiced:practice prepared:prepare
    presented:present printed:print published:publish purchased:purchase quit:quit raised:raise ran:run
    reached:reach read:read received:receive reconnected:reconnect recorded:record registered:register
    rejected:reject released:release renovated:renovate rented:rent repaired:repair replaced:replace resigned:resign
    retired:retire returned:return reviewed:review saved:save saw:see scheduled:schedule sent:send set:set
    shared:share signed:sign sold:sell spoke:speak started:start submitted:submit surprised:surprise switched:switch
    taught:teach tested:test took:take toured:tour trained:train transferred:transfer tried:try updated:update
    upgraded:upgrade uploaded:upload visited:visit volunteered:volunteer watched:watch went:go won:win wrote:write
    """.split()
)
"""What people did, and how one asks whether they did."""


def any_of(words: str) -> str:
    """Return a pattern of any of some words, `_` standing for a space."""
    return "|".join(word.replace("_", " ") for word in words.split())
