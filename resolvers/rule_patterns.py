"""The rules themselves: in what words of English users say where they live, what they do, what they prefer.

Each is a clause from its `I` or `my` on, as it is written: names and places need their capitals, and whatever a clause
could mean besides is left out. `resolvers.rules` sees to what stands around it.
"""

import re
from collections.abc import Callable

Subject = str | None | Callable[[re.Match[str]], str | None]
"""What a rule is about, of which only the newest statement holds; None where there may be several."""

# Names and places begin with a capital, or with a letter that ASCII lacks.
_cap = r"[^\W\d_a-zß-öø-ÿ][\w'’&-]*"
_joint = r"(?:(?:de|da|del|della|di|du|van|von|der|den|of|the|la|le|el|al|bin|y)\s+){0,2}"
_name = rf"(?:(?:St|Mt|Ft|Dr|Mr|Mrs|Ms)\.\s+)?{_cap}(?:\s+{_joint}{_cap}){{0,3}}"
_names = rf"{_name}(?:(?:,\s*|,?\s+and\s+){_name}){{0,4}}"
_then = (
    "and|but|so|because|cause|which|who|whom|where|since|while|as|though|although|then|if|unless|when|now|too|also|"
    "anyway|btw|haha|lol|these|right"
)
_end = rf"(?=\s*(?:$|[^\w\s'’\"“‘&/+@#$€£%-])|\s+[-–—]|\s+(?:{_then})\b)"
# Where a clause ends that may name several things: an "and" goes on with them, unless something new begins.
_anew = (
    "I|I['’]m|we|my|it|he|she|they|have|has|had|am|is|are|was|need|take|carry|always|get|got|can|do|will|work|live|moved|"
    "would|love|like|prefer|enjoy|hate|want"
)
_series_end = (
    rf"(?=\s*(?:$|[^\w\s'’\"“‘&/+@#$€£%,-])|,\s*(?:(?:and|or)\s+)?(?:{_anew}|{_then.replace('and|', '')})\b|\s+[-–—]"
    rf"|\s+(?:{_then.replace('and|', '')})\b|,?\s+(?:and|or)\s+(?:{_anew})\b)"
)
_tail = (
    r"(?:\s+(?:with|for|near|from|last|this|in|on|at|about|over|around|just|outside|during|a\s+few|\d+)\b"
    rf"[^.!?,;:()\n]{{0,60}}?)?{_end}"
)
_am = r"[Ii](?:['’]?m|\s+am)(?:\s+(?:also|actually|currently|now|still))?"
_own = r"(?:\s+(?:also|actually|currently|now|still|just|recently|finally|really|personally|generally|usually|mostly))?"
_directions = "downtown|central|(?:north|south|east|west)(?:ern)?|upstate|rural|greater|sunny"
_homes = "town|village|city|suburb|apartment|house|flat|farm|condo|studio"
_place = (
    rf"(?:(?:{_directions}|the\s+(?:city|town|village|suburbs|outskirts|heart|center|centre|north|south|east|west)"
    rf"(?:\s+of)?|an?\s+(?:[a-z]+\s+){{0,2}}(?:{_homes})\s+(?:near|outside|called|in|of|close\s+to)|the)\s+){{0,2}}"
    # What people move to besides places; a place has no digits, and only few are all in capitals.
    rf"(?!(?:[A-Z]\w*\d|(?!(?:USA?|UK|UAE|NYC|LA|SF|DC|NZ)\b)[A-Z]{{2,}}\b|[A-Z][a-z]+[A-Z]))"
    r"(?!(?:I|Python|Java|Javascript|Typescript|Rust|Go|Golang|Ruby|Rails|Kotlin|Swift|Scala|React|Angular|Vue|Svelte|"
    r"Django|Flask|Node|Linux|Ubuntu|Debian|Fedora|Arch|Windows|Mac|Android|Postgres|Redis|Kafka|Docker|Kubernetes|"
    r"Azure|Google|Amazon|Microsoft|Apple|Facebook|Meta|Netflix|Slack|Teams|Zoom|Notion|Git|Gmail|Outlook|Chrome|"
    r"Firefox|Safari|Spotify|Vim|Emacs|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|January|February|"
    r"March|April|May|June|July|August|September|October|November|December|Plan|Step|Phase|Chapter|Level|Option|"
    r"Claude|ChatGPT|Gemini|Copilot|Cursor|Obsidian|Shopify|Stripe|Firebase|Supabase|Vercel|Heroku|Terraform|Jira|Asana|"
    r"Trello|Signal|Telegram|WhatsApp|Mastodon|Bluesky|Twitter|Reddit|Discord|Wordpress|Spring|Laravel|Haskell|Elixir|"
    r"Clojure|Julia|Matlab|Excel|Word|Premium|Enterprise|Pro|Basic|Business|Marketing|Sales|Finance|Engineering|"
    r"Management|Product|Design|Operations|Accenture|Deloitte|"
    rf"Christ|God|Bitcoin|Tesla)\b){_name}(?:,\s+{_name}){{0,2}}"
)
_jobs = (
    "accountant|actor|actress|administrator|analyst|animator|architect|artist|astronomer|attorney|author|"
    "baker|banker|barber|barista|bartender|biologist|bookkeeper|bricklayer|broker|builder|butcher|carer|carpenter|"
    "cashier|chef|chemist|cleaner|clerk|coach|composer|conductor|consultant|contractor|cook|copywriter|counselor|"
    "counsellor|dancer|dentist|designer|developer|dietitian|director|doctor|drummer|economist|editor|electrician|"
    "engineer|entrepreneur|farmer|filmmaker|firefighter|fisherman|florist|freelancer|gardener|geologist|guitarist|"
    "hairdresser|historian|housewife|illustrator|instructor|interpreter|investor|janitor|journalist|judge|lawyer|"
    "lecturer|librarian|locksmith|machinist|magician|manager|marketer|mathematician|mechanic|midwife|miner|"
    "musician|nanny|novelist|nurse|nutritionist|officer|optician|painter|paralegal|paramedic|pastor|pediatrician|"
    "pharmacist|philosopher|photographer|physician|physicist|physiotherapist|pianist|pilot|plumber|podcaster|poet|"
    "postdoc|priest|producer|professor|programmer|psychiatrist|psychologist|radiologist|realtor|receptionist|recruiter|"
    "reporter|researcher|sailor|salesman|salesperson|saleswoman|scientist|screenwriter|sculptor|seamstress|secretary|"
    "singer|social\\s+worker|soldier|statistician|streamer|student|surgeon|surveyor|tailor|teacher|technician|therapist|"
    "trader|trainer|translator|tutor|veterinarian|vet|violinist|waiter|waitress|welder|writer|youtuber|zoologist"
)
_praise = (
    "good|great|big|huge|bad|terrible|decent|better|best|real|true|born|proud|lucky|terrific|fast|slow|former|future"
)
_adverbs = "currently|now|here|there|part-time|full-time"
_single_kin = "wife|husband|spouse|partner|fianc[eé]e?|boyfriend|girlfriend|mother|mom|mum|father|dad"
_kin = (
    "son|daughter|brother|sister|child|kid|baby|cousin|uncle|aunt|nephew|niece|grandmother|grandma|grandfather|grandpa|"
    "grandson|granddaughter|roommate|boss|"
)
_pets = (
    "dog|cat|puppy|kitten|pet|horse|pony|rabbit|bunny|hamster|parrot|budgie|turtle|tortoise|snake|guinea\\s+pig|ferret"
)
_number = "an?|one|two|three|four|five|six|seven|eight|nine|ten|\\d{1,2}"
_languages = (
    "English|French|German|Spanish|Italian|Portuguese|Dutch|Swedish|Norwegian|Danish|Finnish|Icelandic|Polish|Czech|Slovak|"
    "Hungarian|Romanian|Bulgarian|Greek|Turkish|Russian|Ukrainian|Serbian|Croatian|Slovenian|Albanian|Arabic|Hebrew|Farsi|"
    "Persian|Urdu|Hindi|Bengali|Punjabi|Tamil|Telugu|Marathi|Gujarati|Mandarin|Cantonese|Chinese|Japanese|Korean|Vietnamese|"
    "Thai|Indonesian|Malay|Tagalog|Swahili|Amharic|Yoruba|Igbo|Hausa|Zulu|Afrikaans|Catalan|Basque|Galician|Welsh|Irish|"
    "Latvian|Lithuanian|Estonian|Georgian|Armenian|Nepali|Sinhala"
)
_months = (
    "Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:t(?:ember)?)?|Oct(?:ober)?|"
    "Nov(?:ember)?|Dec(?:ember)?"
)
_ordinal = r"\d{1,2}(?:st|nd|rd|th)?"
_date = (
    rf"(?:(?:the\s+)?{_ordinal}(?:\s+of)?\s+(?:{_months})|(?:{_months})\s+(?:the\s+)?{_ordinal}|\d{{4}}-\d\d-\d\d|"
    r"\d{1,2}[/.]\d{1,2}(?:[/.]\d{2,4})?)(?:,?\s+\d{4})?"
)
# What another turn is needed for to be understood.
_pointing = (
    r"(?:it|its|this|that|these|those|them|they|you|your|yours|he|him|his|she|her|hers|there|here|one|ones|such|"
    r"how|what|when|where|who|which|same|latter|former|other|others|option|first|second|either|both|too|lol)"
)
_unpointed = rf"(?![^.!?,;:()\n]{{0,80}}\b{_pointing}\b)"


def _favourite(found: re.Match[str]) -> str:
    return f"favourite {' '.join(found['what'].casefold().split()).replace('color', 'colour')}"


def _kin_name(found: re.Match[str]) -> str:
    return f"{' '.join(found['kin'].casefold().split())}'s name"


def _own_name(found: re.Match[str]) -> str:
    return f"{found['which'].casefold()} name" if found["which"] else "name"


def _counted(found: re.Match[str]) -> str:
    """Only of several: who has a son may have another."""
    return f"number of {found['whom'].casefold().replace('children', 'kids')}"


_PATTERNS: list[tuple[str, Subject, str]] = [
    (
        "FACT",
        _own_name,
        rf"[Mm]y\s+(?:(?P<which>full|first|last|middle|maiden)\s+)?(?:sur)?name(?:\s+is|['’]s)\s+{_name}{_end}",
    ),
    (
        "PREFERENCE",
        "form of address",
        (
            rf"(?:[Cc]all\s+me|{_am}\s+called|[Ii]\s+go\s+by)\s+"
            rf"(?!(?:Maybe|When|If|Later|Back|Crazy|Old|Tomorrow|Today|Tonight|Now|At|On|\w+day)\b){_name}{_end}"
        ),
    ),
    ("PREFERENCE", "pronouns", r"[Mm]y\s+pronouns\s+are\s+[a-z]{2,5}(?:/[a-z]{2,5}){1,2}\b"),
    (
        "FACT",
        "home",
        rf"(?:[Ii]{_own}\s+live|{_am}\s+(?:living|based|located))\s+(?:in|near|outside(?:\s+of)?)\s+{_place}{_tail}",
    ),
    (
        "FACT",
        "home",
        rf"[Ii](?:['’]ve|\s+have)?{_own}\s+(?:moved|relocated)(?:\s+(?:back|over|here))?\s+to\s+{_place}{_tail}",
    ),
    ("FACT", "origin", rf"(?:{_am}\s+(?:originally\s+)?from|[Ii]\s+come\s+from)\s+{_place}{_end}"),
    ("FACT", "place of birth", rf"[Ii]\s+was\s+born(?:\s+and\s+raised)?\s+in\s+{_place}{_tail}"),
    ("FACT", None, rf"[Ii]\s+grew\s+up\s+(?:in|near|outside(?:\s+of)?)\s+{_place}{_tail}"),
    ("FACT", "birthday", rf"[Mm]y\s+birthday(?:\s+is|['’]s)(?:\s+on)?\s+{_date}{_end}"),
    ("FACT", "birthday", rf"[Ii]\s+was\s+born\s+(?:on\s+{_date}|in\s+(?:19|20)\d\d){_end}"),
    ("FACT", "age", rf"{_am}\s+\d{{1,2}}\s+years\s+old{_end}"),
    ("FACT", "age", rf"[Ii](?:['’]ve)?\s+(?:just\s+)?turned\s+(?:1[3-9]|[2-9]\d){_end}"),
    ("FACT", "job", rf"[Ii]{_own}\s+work\s+(?:(?:{_adverbs})\s+)?as\s+(?:an?|the)\s+[a-z][\w\s/&'’-]{{2,60}}?{_tail}"),
    (
        "FACT",
        "job",
        (
            rf"{_am}\s+(?:working\s+as\s+)?an?\s+(?!(?:{_praise})\b)(?:(?!(?:{_praise}|of|in|to|for|who|with)\b)[\w-]+\s+){{0,3}}"
            rf"(?:{_jobs})(?:\s+(?!at\s+heart|in\s+training)(?:at|for|in|with|from|based|specializing|specialising|working|living)\b[^.!?,;:()\n]{{1,60}}?)?{_end}"
        ),
    ),
    ("FACT", "job", rf"{_am}\s+(?:retired|unemployed|self-employed){_end}"),
    (
        "FACT",
        "job",
        rf"[Mm]y\s+(?:job\s+title|occupation|profession)\s+is\s+(?!{_pointing}\b)[\w\s/&'’-]{{3,60}}?{_end}",
    ),
    (
        "FACT",
        "employer",
        (
            rf"(?:[Ii]{_own}\s+work|{_am}\s+working)\s+(?:at|for)\s+"
            rf"(?:(?!(?:Free|Night|Home|Christmas|Easter|Thanksgiving|\w+day)s?\b){_name}|(?:an?|the)\s+(?:[a-z-]+\s+){{0,4}}(?:company|hospital|school|startup|start-up|bank|firm|agency|"
            rf"university|clinic|bakery|restaurant|library|nonprofit|non-profit|charity|shop|store|studio|lab)){_tail}"
        ),
    ),
    (
        "FACT",
        "employer",
        (
            rf"[Ii](?:['’]ve)?\s+(?:just\s+|recently\s+)?(?:got\s+a\s+(?:new\s+)?job|started\s+(?:a\s+new\s+job|working))\s+(?:at|for)\s+"
            rf"{_name}{_tail}"
        ),
    ),
    (
        "FACT",
        "studies",
        rf"(?:[Ii]{_own}\s+study|{_am}\s+studying)\s+(?:[a-zA-Z]+\s+){{0,4}}at\s+(?:the\s+)?{_name}{_end}",
    ),
    ("FACT", "studies", rf"(?:{_am}\s+majoring\s+in|[Mm]y\s+major\s+is)\s+{_unpointed}[a-zA-Z][\w\s&-]{{2,50}}?{_end}"),
    (
        "FACT",
        "diet",
        (
            rf"(?:{_am}|[Ii]\s+(?:became|went)|[Ii](?:['’]ve|\s+have)\s+been)\s+(?:an?\s+)?(?:strict\s+)?"
            rf"(?:vegetarian|vegan|pescatarian|pescetarian)(?:\s+since\s+\d{{4}})?{_tail}"
        ),
    ),
    (
        "FACT",
        None,
        (
            rf"{_am}\s+(?:an?\s+|type\s+[12]\s+)?(?:(?:lactose|gluten)[\s-]intolerant|diabetic|asthmatic|c(?:o)?eliac|dyslexic|"
            rf"autistic|colou?r[\s-]?blind|left-handed){_end}"
        ),
    ),
    (
        "FACT",
        None,
        (
            rf"[Ii]\s+have\s+(?:(?:type\s+[12]\s+)?diabetes|asthma|c(?:o)?eliac\s+disease|epilepsy|ADHD|dyslexia|arthritis|"
            rf"high\s+blood\s+pressure|IBS|PCOS|lupus|(?:an?\s+)(?:[a-z]+\s+){{1,2}}(?:allergy|intolerance)){_end}"
        ),
    ),
    (
        "FACT",
        None,
        rf"{_am}(?:\s+(?:very|severely|highly|deathly|extremely))?\s+allergic\s+to\s+(?!(?:nothing|anything|none)\b){_unpointed}[\w\s,&'’-]{{2,120}}?{_series_end}",
    ),
    (
        "FACT",
        None,
        rf"[Ii]\s+have\s+an?\s+(?:[a-z]+\s+){{0,2}}allergy\s+to\s+(?!(?:nothing|anything|none)\b){_unpointed}[\w\s,&'’-]{{2,120}}?{_series_end}",
    ),
    (
        "FACT",
        "marital status",
        rf"{_am}\s+(?:happily\s+|recently\s+|newly\s+)?(?:married|divorced|widowed|engaged|single)(?:\s+to\s+{_name})?{_end}",
    ),
    (
        "FACT",
        "marital status",
        (
            rf"[Ii](?:['’]ve)?\s+(?:just\s+|recently\s+)?got\s+(?:married|divorced|engaged)"
            rf"(?:\s+(?:last|this|on|yesterday|in\s+(?:{_months}|\d{{4}})|to\s+{_name})\b[^.!?,;:()\n]{{0,40}}?)?{_end}"
        ),
    ),
    (
        "FACT",
        _kin_name,
        rf"[Mm]y\s+(?P<kin>(?:{_single_kin}))(?:['’]s\s+name(?:\s+is|['’]s)|\s+is\s+(?:called|named))\s+{_name}{_end}",
    ),
    (
        "FACT",
        None,
        (
            rf"[Mm]y\s+(?:(?:[a-z-]+\s+){{0,2}})(?:{_kin}{_pets})s?(?:['’]s?\s+names?(?:\s+is|\s+are|['’]s)|\s+(?:is|are)\s+(?:called|named))"
            rf"\s+{_names}{_end}"
        ),
    ),
    (
        "FACT",
        None,
        (
            rf"[Ii](?:\s+have|['’]ve\s+got|\s+own|(?:\s+just|\s+recently)?\s+adopted)\s+(?:{_number})\s+(?:[a-z-]+\s+){{0,3}}"
            rf"(?:{_kin}{_pets})(?:e?s)?\s+(?:named|called)\s+{_names}{_end}"
        ),
    ),
    (
        "FACT",
        None,
        (
            rf"[Ii](?:\s+have|['’]ve\s+got|\s+own|(?:\s+just|\s+recently)?\s+adopted)\s+(?:an?|one)\s+(?:[a-z-]+\s+){{0,2}}"
            rf"(?:son|daughter|brother|sister|{_pets}){_end}"
        ),
    ),
    (
        "FACT",
        _counted,
        (
            r"[Ii](?:\s+have|['’]ve\s+got)\s+(?:two|three|four|five|six|seven|eight|nine|ten|\d{1,2})\s+"
            r"(?:(?:young|little|grown|adult|older|younger|beautiful|wonderful|small)\s+){0,2}"
            r"(?P<whom>kids|children|sons|daughters|brothers|sisters|siblings|grandchildren|grandkids|dogs|cats|pets|horses)"
            rf"{_end}"
        ),
    ),
    (
        "FACT",
        None,
        rf"[Ii]{_own}\s+speak\s+(?:(?:fluent|native)\s+)?(?:{_languages})(?:(?:,\s*|,?\s+and\s+)(?:{_languages})){{0,5}}(?:\s+fluently)?{_end}",
    ),
    (
        "FACT",
        "native language",
        rf"[Mm]y\s+(?:native\s+language|first\s+language|mother\s+tongue)\s+is\s+(?:{_languages}){_end}",
    ),
    ("FACT", "time zone", rf"[Mm]y\s+time\s?zone\s+is\s+[\w/+:-]{{2,40}}(?:\s+{_cap}){{0,2}}{_end}"),
    (
        "PREFERENCE",
        _favourite,
        (
            r"[Mm]y\s+(?:all[\s-]time\s+)?(?:favou?rite|fave)\s+"
            r"(?P<what>(?!(?:part|thing|bit|one|moment|memory|aspect|time|is|are)s?\b)[a-z-]+(?:\s+(?!is\b|are\b)[a-z-]+){0,2})"
            r"\s+(?:is|are)\s+(?!(?:[a-z]+ing\s|still|to|about|in|on|at|not|gone|back|out|over|closed|broken|dead|coming|now|"
            rf"the\s+(?:way|last)|always|being|by|from|available|also)\b)(?!{_pointing}\b)(?![^.!?,;:()\n]{{0,30}}\b(?:you|your)\b)"
            rf"[\w\s'’\"“”&:-]{{2,80}}?{_end}"
        ),
    ),
    (
        "PREFERENCE",
        None,
        rf"[Ii]{_own}(?:\s+(?:much|strongly|always))?\s+prefer\s+{_unpointed}(?!the\s+way\b|not\b)[\w\s'’/+#-]{{3,100}}?(?:{_series_end}|(?=,))",
    ),
    (
        "PREFERENCE",
        None,
        (
            r"[Ii]\s+(?:(?:really|absolutely|also|still|just)\s+)?(?:love|like|enjoy|adore|hate|dislike)\s+"
            rf"(?!(?:always|seeing|hearing|being|having|getting|knowing|feeling|thinking|looking|reading\s+about)\b){_unpointed}"
            rf"(?:[a-z]+ing|[a-z]{{2,}}[a-rt-z]s|sushi|pizza|coffee|tea|chocolate|jazz|music|football|soccer|tennis|chess|yoga|art|nature|"
            rf"spicy\s+food|{_cap}\s+(?:food|music|cuisine|movies|films))\b[\w\s'’-]{{0,60}}?(?:{_series_end}|(?=,))"
        ),
    ),
]

RULES = [(kind, subject, re.compile(pattern)) for kind, subject, pattern in _PATTERNS]
"""Kind, subject and pattern of each; the first that matches holds."""

# Whether a rule could hold anywhere. It begins with a few letters and goes on by the rarest words, so that the search
# is quick and finds little else.
MAY_HOLD = re.compile(
    r"[IiMmCc](?<!\w\w)(?:"
    r"(?:['’]?m|\s+am|['’]ve|\s+have)?(?:\s+(?:also|actually|currently|now|still|just|recently|finally|really|personally|"
    r"generally|usually|mostly|absolutely|much|strongly|always|very|severely|highly|deathly|extremely|happily|newly|"
    r"originally|strict))?\s+"
    r"(?:live\s|living\s|based\s|located\s|moved\s|relocated\s|from\s|come\s+from|was\s+born|grew\s+up|\d|turned\s+\d|"
    r"work\s|working\s|retired|unemployed|self-|stud|majoring|vegetarian|vegan|pesc|became|went\s+(?:v|p)|been\s+[av]|"
    r"lactose|gluten|diabe|type\s|asthma|c(?:o)?eliac|dyslexi|autistic|colou?r|left-|epilepsy|ADHD|arthritis|high\s+blood|"
    r"IBS|PCOS|lupus|married|divorced|widowed|engaged|single|called\s|go\s+by|got\s+(?:a\s+(?:new\s+)?job|m|d|e)|started\s|"
    r"own\s|adopted\s|speak\s|prefer\s|allergic\s|(?:love|like|enjoy|adore|hate|dislike)\s+"
    r"(?!(?:always|seeing|hearing|being|having|getting|knowing|feeling|thinking|looking|this|his|its|it|the|that|your?)\b)"
    r"(?:[a-z]{2,}(?:ing|[a-rt-z]s)\b|[^\Wa-z]|sushi|pizza|coffee|tea\b|choc|jazz|mus|foot|socc|tenn|chess|yoga|art\b|nat|sp)|"
    rf"(?:{_number}|the)\s+(?:[\w-]+\s+){{0,3}}?(?:{_jobs}|{_kin}{_pets}|vegetarian|vegan|pesc|diab|asthma|c(?:o)?eliac|"
    r"dyslexic|kids|children|siblings|sons|daughters|grand|allergy|intolerance))|"
    r"y\s+(?:(?:full|first|last|middle|maiden)\s+)?(?:sur)?name(?:['’]s|\s+is)|y\s+pronouns|y\s+birthday|"
    r"y\s+(?:job\s+title|occupation|profession|major|native|first\s+lang|mother\s+tongue|time\s?zone)\s|"
    r"y\s+(?:all[\s-]time\s+)?fav|"
    r"y\s+(?:[a-z-]+\s+){0,2}?[a-z]+(?:['’]s?\s+name|\s+(?:is|are)\s+(?:called|named))|all\s+me\s+[^\Wa-z])"
)
