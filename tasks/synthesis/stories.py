"""Sentences of many kinds for generated speech, with a vocabulary of three thousand words."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence

from tasks.synthesis import lexicon, words
from tasks.synthesis.lexicon import plural

NUMBER = 60_000
"""Total number of sentences."""

_TEMPLATES = (
    "{who} {past} {what} {where}",
    "{who} {adverb} {past} {what} {when}",
    "{when} {who} {past} {what} and {past} {what}",
    "{who} was {doing} {what} when {who} {past} {what}",
    "{name} will {base} {what} {where} {when}",
    "{adverb} {who} {does} {what}",
    "did {name} {base} {what} {where}",
    "please {base} {what} and {base} {what}",
    "why must {who} always {base} {what}",
    "everyone knows that {who} {does} {what}",
    "there are {number} {adjective} {ones} {where}",
    "{adjective} {ones} never {base} {adjective} {ones}",
    "if you {base} {what} then {who} will {base} you",
    "{name} and {name} were {doing} {what} {where}",
    "{who} said that {name} {past} {number} {ones}",
    "nobody {past} {what} because {who} was {adjective}",
    "{where} {who} found {what}",
    "{who} is more {adjective} than {who}",
    "{name} has {number} {ones} and {what}",
    "before {who} {past} {what} {name} was {adjective}",
)

_WHO = (
    "{name}",
    "the {person}",
    "the {adjective} {person}",
    "a {adjective} {person}",
    "the {adjective} {animal}",
)
_WHAT = ("the {thing}", "a {adjective} {thing}", "the {adjective} {animal}", "some {food}", "{number} {ones}")
_PREPOSITIONS = words("in near behind from inside outside above beside towards opposite across around")
_UNITS = words("two three four five six seven eight nine")
_NUMBERS = [
    *_UNITS,
    *words("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"),
    *(
        f"{tens} {unit}"
        for tens in words("thirty forty fifty sixty seventy eighty ninety")
        for unit in _UNITS
    ),
    *(f"{unit} {many}" for unit in _UNITS for many in ("hundred", "thousand", "million")),
]
_WHEN = (
    *(
        "yesterday",
        "tomorrow morning",
        "in the evening",
        "at midnight",
        "before breakfast",
        "a long time ago",
    ),
    *(f"on {day}" for day in words("monday tuesday wednesday thursday friday saturday sunday")),
    *(
        f"last {month}"
        for month in (
            words("january february march april may june july august september october november december")
        )
    ),
    *(f"every {season}" for season in words("spring summer autumn winter")),
    *(f"for {number} {unit}" for number in _UNITS for unit in ("minutes", "hours", "days", "weeks", "years")),
)
_BEFORE_VOWEL = re.compile(r"\ba(?= (?!uni|us[eu])[aeiou]| hon)")
"""An article that should be "an": before an honest pencil, but not before a useful one."""
_ONES = [plural(one) for one in (*lexicon.PEOPLE, *lexicon.ANIMALS, *lexicon.THINGS)]


def _of_verb(form: int) -> list[str]:
    return [verb[form] for verb in lexicon.VERBS]


_SLOTS: Mapping[str, Sequence[str]] = {
    "name": lexicon.NAMES,
    "person": lexicon.PEOPLE,
    "animal": lexicon.ANIMALS,
    "thing": lexicon.THINGS,
    "ones": _ONES,
    "food": lexicon.FOODS,
    "place": lexicon.PLACES,
    "adjective": lexicon.ADJECTIVES,
    "adverb": lexicon.ADVERBS,
    "number": _NUMBERS,
    "base": _of_verb(0),
    "past": _of_verb(1),
    "does": _of_verb(2),
    "doing": _of_verb(3),
    "who": _WHO,
    "what": _WHAT,
    "when": _WHEN,
    "where": tuple(f"{p} the {rest}" for p in _PREPOSITIONS for rest in ("{place}", "{adjective} {place}")),
}


def sentences() -> list[str]:
    """Generate ``NUMBER`` distinct sentences, in a fixed order."""
    rng = random.Random("stories")
    found: dict[str, None] = {}
    while len(found) < NUMBER:
        found[_fill(rng.choice(_TEMPLATES), rng.choice)] = None
    return list(found)


def _fill(text: str, choose: Callable[[Sequence[str]], str]) -> str:
    """Fill the slots of ``text`` with words until none is left."""
    while "{" in text:
        text = re.sub(r"{(\w+)}", lambda slot: choose(_SLOTS[slot[1]]), text)
    return _BEFORE_VOWEL.sub("an", text)
