"""Public corpora in their own layout, with tones instead of speech."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tests.tasks.folders import tone

PARTS = {
    "train-clean-100": 8,
    "train-other-500": 4,
    "dev-clean": 2,
    "dev-other": 2,
    "test-clean": 3,
    "test-other": 2,
}
WORDS = ("IT'S A BAD CAB", "A CAB", "BAD IT'S", "DAB A DAB")


def write_flac(path: Path, seconds: float = 1.0, hertz: float = 440.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(seconds, hertz), 16000, format="FLAC")
    return path


def write_sph(path: Path, samples: np.ndarray[Any, Any]) -> Path:
    """Write a file in NIST's format as in TED-LIUM: 16 bits, one channel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, 16000, format="NIST", subtype="PCM_16")
    return path


def write_librispeech(root: Path, parts: dict[str, int] | None = None) -> Path:
    """Write LibriSpeech's folders: some utterances in each part, by two speakers with a chapter each."""
    for number, (part, utterances) in enumerate((parts or PARTS).items()):
        for speaker in range(2):
            name = f"{100 * (number + 1) + speaker}-{7 * (number + 1)}"
            chapter = root / part / name.replace("-", "/")
            ids = [f"{name}-{i:04d}" for i in range(speaker, utterances, 2)]
            texts = [WORDS[i % len(WORDS)] for i in range(len(ids))]
            for i, id in enumerate(ids):
                write_flac(chapter / f"{id}.flac", 1.0 + i / 10, 200 + 20 * i)
            lines = (f"{id} {text}\n" for id, text in zip(ids, texts, strict=True))
            (chapter / f"{name}.trans.txt").write_text("".join(lines), encoding="utf-8")
    return root


def write_talk(folder: Path, name: str, lines: Sequence[str], seconds: float = 6.0) -> Path:
    """Write a talk of TED-LIUM: sph/NAME.sph, and stm/NAME.stm with ``lines``."""
    write_sph(folder / "sph" / f"{name}.sph", tone(seconds))
    (folder / "stm").mkdir(exist_ok=True)
    stm = folder / "stm" / f"{name}.stm"
    stm.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return stm


def write_tedlium(root: Path) -> Path:
    """Write TED-LIUM's folders, with all peculiarities of its transcripts."""
    for name in ("AnnA_2009", "BertB_2010X", "CarlC_2011"):
        lines = [
            f"{name} 1 {name} 0.00 1.50 <NA> it 's a bad cab",
            f"{name} 1 {name} 1.50 3.00 <NA> <sil> a(2) cab <unk> 's {{NOISE}} dab ({name}-1)",
            f"{name} 1 {name} 3.00 4.25 <o,f0,female> a cab 'd 've bad",
        ]
        write_talk(root / "train", name, lines)
    for part in ("dev", "test"):
        name = f"Dora{part}_2012"
        lines = [
            ';; LABEL "o" "Overall" "Overall results"',
            f"{name} 1 inter_segment_gap 0 0.5 <o,,unknown> ignore_time_segment_in_scoring",
            f"{name} 1 Dora 0.50 2.0 <o,f0,female> dab it 's",
            f"{name} 1 inter_segment_gap 2.0 2.5 <o,,unknown> ",
            f"{name} 1 Dora 2.5 5.99 <F0_F> a bad cab",
        ]
        write_talk(root / part, name, lines)
    return root
