"""Voices of eSpeak NG: dialects of English, and variants, which splits do not share."""

from __future__ import annotations

from supernet.task import Split
from tasks.synthesis import words

DIALECTS = words("en en-us en-us-nyc en-029 en-gb-scotland en-gb-x-rp en-gb-x-gbclan en-gb-x-gbcwmd")

# Without those that whisper, croak or sound like a robot. Variants that are nearly the same share a split.
VARIANTS: dict[Split, tuple[str, ...]] = {
    "train": words("""
        Alex Andrea Andy Annie Diogo Gene Gene2 Henrique Jacky Lee Marco Mario Mike Nguyen RicishayMax
        RicishayMax2 RicishayMax3 Storm adam anika antonio aunty benjamin caleb david ed edward edward2
        f1 f2 f3 grandma gustave ian john kaukovalta m1 m2 m3 m4 m8 marcelo max michel miguel mike2
        norbert paul pedro robert sandro steph steph2 steph3 travis victor zac
    """),
    "valid": words("Alicia Hugo f5 m6 quincy rob shelby"),
    "test": words("Denis Michael Reed belinda boris f4 grandpa linda m5 m7 pablo"),
}
