"""Changes of a study that has begun: more or fewer of its trainings, of which the finished ones stay."""

from __future__ import annotations

from supernet.runs.run import differences
from supernet.settings.presets import Data

_FREE = {
    "compare": {"methods", "variants", "strategies", "fine_tuned", "distilled", "seeds", "regimes"}
    | {"against", "reference_wer"},
    "curves": {"lengths", "seeds"},
}
"""By kind of study, the keys that decide which trainings there are, or how they are compared."""
_CONTENDERS = ("variants", "fine_tuned", "distilled")


def unfit(old: Data, new: Data) -> list[str]:
    """The changes with which finished trainings do not fit a definition.

    Args:
        old: The definition with which they were trained, in its stored form.
        new: The definition to continue with.
    """
    found = differences(old, new, leave=_FREE.get(new["kind"], ()))
    if new["kind"] not in _FREE:
        return found
    if new["kind"] == "compare":
        before, after = _contenders(old), _contenders(new)
        both = before.keys() & after.keys()
        found += differences({name: before[name] for name in both}, {name: after[name] for name in both})
    first = [study["seeds"][0] for study in (old, new)]
    if new["rates"] and first[0] != first[1]:
        found.append(f"the first of seeds, with which rates are tried, was {first[0]}, is {first[1]}")
    return found


def _contenders(study: Data) -> Data:
    """The settings of all contenders of a comparison, whose runs are named after them."""
    found: Data = {name: {"method": name} for name in study["methods"]}
    for key in _CONTENDERS:
        found |= study[key]
    return found
