"""The same three utterances, listed in every format."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import soundfile
import torch
from lhotse import CutSet, Recording, SupervisionSegment

from supernet.task import Split
from tests.tasks.folders import tone, write_wav

NAMES: dict[Split, str] = {"train": "train", "valid": "dev", "test": "test"}
TEXTS = ("a bc", "bc", "c a")


def write_audio(folder: Path) -> list[Path]:
    """Write three recordings of 1, 1.2 and 1.4 s."""
    return [write_wav(folder / f"u{i}.wav", tone(1 + i / 5, 300 + 50 * i)) for i in range(3)]


def rows(folder: Path) -> list[dict[str, Any]]:
    """Write the recordings and return their rows, for formats with named columns."""
    files = write_audio(folder / "audio")
    return [
        {"audio_filepath": f"audio/{file.name}", "text": text, "speaker": f"s{i % 2}"}
        for i, (file, text) in enumerate(zip(files, TEXTS, strict=True))
    ]


def nemo(folder: Path, name: str) -> None:
    lines = [json.dumps(row | {"duration": 1 + i / 5}) for i, row in enumerate(rows(folder))]
    (folder / f"{name}_manifest.json").write_text("\n".join(lines) + "\n", encoding="utf-8")


def espnet(folder: Path, name: str) -> None:
    utts = {
        f"utt{i}": {
            "input": [{"name": "input1", "feat": row["audio_filepath"], "shape": [100, 1]}],
            "output": [{"name": "target1", "text": row["text"], "tokenid": "1 2"}],
            "utt2spk": row["speaker"],
        }
        for i, row in enumerate(rows(folder))
    }
    (folder / f"{name}.json").write_text(json.dumps({"utts": utts}, indent=4), encoding="utf-8")


def json_list(folder: Path, name: str) -> None:
    (folder / f"{name}.json").write_text(json.dumps(rows(folder), indent=1), encoding="utf-8")


def kaldi_folder(folder: Path, name: str) -> None:
    data = folder / "data" / name
    data.mkdir(parents=True)
    listed = rows(folder)
    write = {
        "wav.scp": [f"u{i} {row['audio_filepath']}" for i, row in enumerate(listed)],
        "text": [f"u{i} {row['text']}" for i, row in enumerate(listed)],
        "utt2spk": [f"u{i} {row['speaker']}" for i, row in enumerate(listed)],
    }
    for file, lines in write.items():
        (data / file).write_text("\n".join(lines) + "\n", encoding="utf-8")


def kaldi_segments(folder: Path, name: str) -> None:
    """Write the utterances as unsorted segments of one recording, the last one up to its end."""
    data = folder / "data" / name
    data.mkdir(parents=True)
    files = write_audio(folder / "parts")
    joined = [soundfile.read(file, dtype="float32")[0] for file in files]
    write_wav(folder / "talk.wav", torch.cat([torch.from_numpy(part) for part in joined]).numpy())
    (data / "wav.scp").write_text(f"talk cat {folder}/talk.wav |\n")
    (data / "segments").write_text("u1 talk 1.0 2.2\nu0 talk 0 1.0\nu2 talk 2.2 -1\n")
    (data / "text").write_text("".join(f"u{i} {text}\n" for i, text in enumerate(TEXTS)))
    (data / "utt2spk").write_text("".join(f"u{i} s{i % 2}\n" for i in range(3)))


def wav2vec(folder: Path, name: str) -> None:
    listed = rows(folder)
    lines = [str(folder), *(f"{row['audio_filepath']}\t16000" for row in listed)]
    (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / f"{name}.wrd").write_text("\n".join(row["text"] for row in listed) + "\n", encoding="utf-8")


def table(suffix: str) -> Callable[[Path, str], None]:
    def write(folder: Path, name: str) -> None:
        with open(folder / f"{name}{suffix}", "w", encoding="utf-8", newline="") as file:
            dialect = "excel" if suffix == ".csv" else "excel-tab"
            writer = csv.DictWriter(file, ["path", "text", "speaker"], dialect=dialect)
            writer.writeheader()
            for row in rows(folder):
                writer.writerow(
                    {"path": row["audio_filepath"], "text": row["text"], "speaker": row["speaker"]}
                )

    return write


def pack(tar: Path, files: dict[str, bytes]) -> Path:
    """Pack ``files``, a mapping from names to contents, into a tar file in that order."""
    tar.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(tar, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return tar


def webdataset(folder: Path, name: str) -> None:
    files: dict[str, bytes] = {}
    for i, row in enumerate(rows(folder)):
        files[f"u{i}.wav"] = (folder / row.pop("audio_filepath")).read_bytes()
        files[f"u{i}.txt"] = (row.pop("text") + "\n").encode()
        files[f"u{i}.json"] = json.dumps(row).encode()
    pack(folder / f"{name}-000000.tar", files)


def cuts(folder: Path) -> CutSet:
    """Write the recordings of ``rows`` and return their cuts."""
    found = []
    for row in rows(folder):
        recording = Recording.from_file(folder / row["audio_filepath"])
        cut = recording.to_cut()
        cut.supervisions = [
            SupervisionSegment(
                cut.id, recording.id, 0, cut.duration, text=row["text"], speaker=row["speaker"]
            )
        ]
        found.append(cut)
    return CutSet.from_cuts(found)


def shar(folder: Path, name: str) -> None:
    (folder / name).mkdir()
    cuts(folder).to_shar(folder / name, fields={"recording": "flac"}, shard_size=2)


WRITERS: dict[str, Callable[[Path, str], None]] = {
    "nemo": nemo,
    "espnet": espnet,
    "json-list": json_list,
    "kaldi": kaldi_folder,
    "kaldi-segments": kaldi_segments,
    "wav2vec": wav2vec,
    "csv": table(".csv"),
    "tsv": table(".tsv"),
    "webdataset": webdataset,
    "shar": shar,
}
