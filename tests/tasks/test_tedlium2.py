"""TED-LIUM as unpacked: talks in NIST's SPHERE format, transcripts as segment time marks."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
import torch

from supernet.audio.features import fbank
from supernet.task import SPLITS, TaskError
from tasks.tedlium2 import Tedlium2, normalize
from tests.supernet.processes import run, settings
from tests.tasks.corpora import write_talk, write_tedlium
from tests.tasks.folders import quiet


def opened(root: Path, **options: object) -> Tedlium2:
    return Tedlium2(
        Tedlium2.Options.model_validate({"path": root, "cache": root.parent / "cache", **options})
    )


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Tedlium2:
    made = opened(write_tedlium(tmp_path_factory.mktemp("corpus") / "TEDLIUM_release2"))
    made.prepare(quiet)
    return made


@pytest.mark.parametrize(
    ("written", "scored"),
    [
        ("it 's a cab", "it's a cab"),
        ("he 'd 've gone", "he'd've gone"),
        ("' cause we 're here", "'cause we're here"),
        ("rock 'n roll", "rock'n roll"),
        ("the <unk> 's house <unk>", "the house"),
        ("{NOISE} well <sil> um [LAUGH]", "well um"),
        ("read(2) it (AnnA_2009-12.00-13.00)", "read it"),
        ("Some  CAPITALS", "some capitals"),
        ("<unk>", ""),
    ],
)
def test_transcripts_are_normalized_for_scoring(written: str, scored: str) -> None:
    assert normalize(written) == scored
    assert normalize(scored) == scored


def test_utterances_are_the_scored_segments(task: Tedlium2) -> None:
    segments = {
        split: [
            (cut.start, round(cut.duration, 6), cut.supervisions[0].text) for cut in task.folder.cuts[split]
        ]
        for split in SPLITS
    }
    assert segments["test"] == segments["valid"] == [(0.5, 1.5, "dab it's"), (2.5, 3.49, "a bad cab")]
    assert segments["train"][:3] == [
        (0.0, 1.5, "it's a bad cab"),
        (1.5, 1.5, "a cab dab"),
        (3.0, 1.25, "a cab'd've bad"),
    ]
    assert len(segments["train"]) == 9
    assert task.skipped() == []


def test_speakers_are_those_of_the_transcripts(task: Tedlium2) -> None:
    assert {cut.supervisions[0].speaker for cut in task.folder.cuts["test"]} == {"Dora"}
    assert {cut.supervisions[0].speaker for cut in task.folder.cuts["train"]} == {
        "AnnA_2009",
        "BertB_2010X",
        "CarlC_2011",
    }


def test_features_equal_those_of_the_segments_samples(task: Tedlium2) -> None:
    (batch,) = task.eval_batches("test", task.tokens())
    row = batch.texts.index("dab it's")
    samples, _ = soundfile.read(Path(task.options.path) / "test/sph/Doratest_2012.sph", dtype="float32")
    expected = fbank(torch.from_numpy(samples[8000:32000]))
    assert batch.num_frames[row] == len(expected)
    torch.testing.assert_close(batch.features_BTF[row, : len(expected)], expected, rtol=1e-5, atol=1e-4)


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    root = write_tedlium(tmp_path / "TEDLIUM_release2")
    (root / "train" / "sph" / "AnnA_2009.sph").unlink()
    (root / "dev" / "stm" / "Doradev_2012.stm").unlink()
    write_talk(
        root / "train",
        "Emil_2013",
        [
            "Emil_2013 1 Emil_2013 1.0 2.0 <NA> a cab",
            "Emil_2013 1 Emil_2013 one two <NA> a cab",
            "Emil_2013 1 Emil_2013 5.0 9.0 <NA> a cab",
            "Emil_2013 1 Emil_2013 3.0 4.0 <NA> <unk>",
        ],
    )
    with pytest.raises(
        TaskError, match=r"valid\.jsonl\.gz` must hold utterances, but is empty.*problems\.tsv"
    ):
        opened(root).prepare(quiet)
    (problems,) = (tmp_path / "cache").glob("tedlium2-*/problems.tsv")
    lines = [line.split("\t") for line in problems.read_text().splitlines()[1:]]
    found = sorted((line[0], line[2], Path(line[3]).name) for line in lines)
    assert found == [
        ("train", "audio without text", "Emil_2013.stm:4"),
        ("train", "bad line", "Emil_2013.stm:2"),
        ("train", "missing file", "AnnA_2009.stm:1"),
        ("train", "missing file", "AnnA_2009.stm:2"),
        ("train", "missing file", "AnnA_2009.stm:3"),
        ("train", "segment", "Emil_2013.stm:3"),
        ("valid", "audio without text", "Doradev_2012.sph"),
    ]


def test_a_missing_corpus_is_an_error_that_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"lacks train/stm, dev/stm, test/stm\..*openslr\.org/19"):
        opened(tmp_path).prepare(quiet)


def test_a_run_trains_on_it(tmp_path: Path) -> None:
    write_tedlium(tmp_path / "TEDLIUM_release2")
    options = settings(num_steps=4, checkpoint_every=4, validate_every=4)
    printed, _ = run("supernet.train", *options, "--task", "tedlium2", "--out", "run", cwd=tmp_path)
    assert "test WER" in printed
    assert (tmp_path / "run" / "transcripts" / "test-2.tsv").read_text().count("\n") == 2
