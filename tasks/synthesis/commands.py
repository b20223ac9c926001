"""Home-automation commands for generated speech, with numbers, times and dates, in lower case."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Sequence

from tasks.synthesis import words

_UNITS = words("one two three four five six seven eight nine")
_TEENS = words("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
_TENS = words("twenty thirty forty fifty")

_SLOTS: dict[str, Sequence[str]] = {
    "switch": ["turn on", "turn off", "switch on", "switch off", "dim"],
    "move": ["open", "close", "lock", "unlock", "check"],
    "room": ["kitchen", "bedroom", "bathroom", "hall", "garage", "office", "garden", "attic"],
    "device": ["light", "lamp", "fan", "heater", "radio"],
    "opening": ["window", "door", "blinds", "gate"],
    "small": _UNITS + _TEENS[:3],
    "number": [*_UNITS, *_TEENS, *_TENS, *(f"{tens} {unit}" for tens in _TENS for unit in _UNITS)],
    "degrees": [*_TEENS[5:], "twenty", *(f"twenty {unit}" for unit in _UNITS)],
    "unit": ["seconds", "minutes", "hours", "days"],
    "hour": _UNITS + _TEENS[:3],
    "minute": ["five", "ten", "fifteen", "twenty", "thirty", "forty five"],
    "half": ["half past", "quarter past", "quarter to"],
    "day": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"],
    "month": words("january february march april may june july august september october november december"),
    "ordinal": words("first second third fourth fifth sixth seventh eighth ninth tenth"),
    "person": ["anna", "peter", "sarah", "david", "maria", "george", "emma", "oliver"],
    "music": ["jazz", "rock music", "the news", "a podcast", "some piano", "my favourite song"],
    "item": ["milk", "bread", "apples", "coffee", "rice", "cheese", "water", "tomatoes", "sugar"],
    "errand": ["call the doctor", "water the plants", "feed the cat", "buy a ticket", "pay the bill"],
    "sum": ["plus", "minus", "times"],
    "weather": ["weather", "temperature", "wind", "chance of rain"],
    "when": ["today", "tomorrow", "tonight"],
}

_TEMPLATES = (
    "{switch} the {room} {device}",
    "{move} the {room} {opening}",
    "set the {room} to {degrees} degrees",
    "set a timer for {number} {unit}",
    "wake me at {hour} {minute}",
    "set an alarm for {half} {hour}",
    "remind me to {errand} on {day}",
    "the meeting is on {month} {ordinal}",
    "book a table for {small} on {day}",
    "play {music} in the {room}",
    "what is {number} {sum} {number}",
    "call {person} {when}",
    "tell {person} i am {number} minutes late",
    "add {small} {item} to my list",
    "what is the {weather} on {day}",
    "how is the {weather} {when}",
)

_PER_TEMPLATE = 300
"""Maximum number of sentences per template, so that none dominates."""


def sentences() -> list[str]:
    """Generate all sentences, in a fixed order that mixes the templates."""
    rng = random.Random("grammar")
    found = [sentence for template in _TEMPLATES for sentence in _some(template, rng)]
    rng.shuffle(found)
    return found


def _some(template: str, rng: random.Random) -> list[str]:
    slots = re.findall(r"{(\w+)}", template)
    pattern = re.sub(r"{\w+}", "{}", template)
    everything = [pattern.format(*choice) for choice in itertools.product(*(_SLOTS[slot] for slot in slots))]
    return rng.sample(everything, min(_PER_TEMPLATE, len(everything)))
