"""Public corpora: the real ones where present, and folders of their layout with tones instead of speech."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from supernet.task import SPLITS, Split
from tasks.corpus import CorpusTask
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


def real_corpus(name: str) -> Path:
    """The folder of a real corpus, by default or in SUPERNET_NAME; without one, the test is skipped."""
    variable = f"SUPERNET_{name.upper().replace('-', '_')}"
    folder = Path(os.environ.get(variable, Path(__file__).parents[3] / "shared" / "data" / name))
    if not folder.is_dir():
        pytest.skip(f"no {name} in {folder}; {variable} may name another folder")
    return folder


def speakers_of(task: CorpusTask) -> dict[Split, set[str]]:
    """The speakers of each split of a prepared task; asserts that splits share no speaker."""
    found = {split: set(task.speakers(split).values()) for split in SPLITS}
    for one, other in pairwise([*SPLITS, SPLITS[0]]):
        assert not found[one] & found[other], f"{one} and {other}"
    return found


def write_flac(path: Path, seconds: float = 1.0, hertz: float = 440.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(seconds, hertz), 16000, format="FLAC")
    return path


def write_sph(path: Path, samples: np.ndarray[Any, Any]) -> Path:
    """Write a file in NIST's format as in TED-LIUM: 16 bits, one channel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, 16000, format="NIST", subtype="PCM_16")
    return path


def write_librispeech(root: Path, parts: dict[str, int] | None = None, speakers: int = 2) -> Path:
    """Write LibriSpeech's folders: utterances in each part, by speakers with one chapter each."""
    for number, (part, utterances) in enumerate((parts or PARTS).items()):
        for speaker in range(speakers):
            name = f"{100 * (number + 1) + speaker}-{7 * (number + 1)}"
            chapter = root / part / name.replace("-", "/")
            ids = [f"{name}-{i:04d}" for i in range(speaker, utterances, speakers)]
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
    """Write TED-LIUM's folders, with all the peculiarities of its transcripts."""
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


AN4_TEXTS = ("YES", "O N E SIX", "ENTER FIFTY NINE")


def write_an4(root: Path, suffix: str = ".sph", order: str = ">i2", speakers: int = 12) -> Path:
    """Write AN4's folders: three utterances by each training speaker and by each of two others.

    Args:
        root: The folder to write.
        suffix: The suffix of audio files; ``.raw`` files have no header.
        order: The byte order of raw samples.
        speakers: The number of training speakers.
    """
    (root / "etc").mkdir(parents=True)
    names = {"an4_train": [f"f{i:02d}" for i in range(speakers)], "an4_test": ["mxyz", "mxyz2"]}
    for set, folder in (("an4_train", "an4_clstk"), ("an4_test", "an4test_clstk")):
        ids, lines = [], []
        for name in names[set]:
            for i, text in enumerate(AN4_TEXTS):
                id = f"an{i}-{name}-b"
                ids.append(f"{folder}/{name}/{id}")
                lines.append(f"<s> {text} </s> ({id})" if set == "an4_train" else f"{text} ({id})")
                samples = tone(0.8 + i / 10, 200 + 7 * len(ids))
                write_samples(root / "wav" / f"{ids[-1]}{suffix}", samples, order)
        (root / "etc" / f"{set}.fileids").write_text("\n".join(ids) + "\n", encoding="utf-8")
        (root / "etc" / f"{set}.transcription").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def write_samples(file: Path, samples: np.ndarray[Any, Any], order: str) -> None:
    """Write 16-bit samples in the format of the file's suffix."""
    file.parent.mkdir(parents=True, exist_ok=True)
    integers = (samples * 32767).astype(np.int16)
    if file.suffix == ".raw":
        file.write_bytes(integers.astype(order).tobytes())
    else:
        container = {".sph": "NIST"}.get(file.suffix, file.suffix[1:].upper())
        soundfile.write(file, integers, 16000, format=container, subtype="PCM_16")


def write_speechocean(root: Path, speakers: int = 10) -> Path:
    """Write speechocean762's folders: two utterances by each speaker in both halves."""
    for half, first in (("train", 1), ("test", 1001)):
        lines: dict[str, list[str]] = {"wav.scp": [], "text": [], "utt2spk": []}
        for number in range(first, first + speakers):
            for i, text in enumerate(("MARK IS GOING TO SEE ELEPHANT", "HERE IS TIME'S CLOTH")):
                id = f"{number:05d}{i:04d}"
                file = f"WAVE/SPEAKER{number:04d}/{id}.WAV"
                write_samples(root / file, tone(2.0 + i / 10, 200 + number % 1000), "<i2")
                lines["wav.scp"].append(f"{id}\t{file}")
                lines["text"].append(f"{id}\t{text}")
                lines["utt2spk"].append(f"{id} {number:04d}")
        (root / half).mkdir()
        for name, content in lines.items():
            (root / half / name).write_text("\n".join(content) + "\n", encoding="utf-8")
    return root
