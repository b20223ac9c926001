"""Commands accept a fine-tuned checkpoint in place of a run."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
import soundfile
import torch

from selection.__main__ import main as select
from selection.comparing.comparison import UnitFacts
from selection.comparing.earlier import stored
from supernet import Recognizer
from supernet.__main__ import main as program
from supernet.cut import main as cut
from supernet.evaluate import main as evaluate
from supernet.export.__main__ import main as export
from supernet.network.cutting import cut as cut_out
from supernet.recognition.decoding import greedy
from supernet.runs.checkpoint_model import open_checkpoint
from supernet.runs.model_file import fingerprint
from supernet.runs.run import Run
from supernet.scoring.error_rates import score
from supernet.text.plain import plain
from supernet.transcribe import main as transcribe
from tasks.manifest import Manifest
from tests.supernet.network.test_wav2vec2_recognizer import write as write_card
from tests.supernet.pretrained.folders import VARIANTS, speech, write
from tests.supernet.processes import run
from tests.test_documents import ROOT
from tests.test_manual import blocks

pytestmark = pytest.mark.slow

GUIDE = ROOT / "docs/how-to/fine-tuned-checkpoint.md"


@pytest.fixture(scope="module")
def checkpoint(place: Path) -> Path:
    write(place / "mine", VARIANTS["wav2vec2-large"])
    return place / "mine"


def test_layers_are_selected_without_training_and_can_be_cut(checkpoint: Path, here: Path) -> None:
    place, command = (
        here,
        ("selection", "mine", "--task", "tones", "--budget", "units=2", "--budget", "params=80%"),
    )
    printed, told = run(*command, "--strategies", "greedy,similarity", cwd=place)
    assert "greedy" in printed
    folder = place / "runs" / "mine-tones"
    assert "'mine' is scored, and its units are chosen, in runs/mine-tones." in told
    results = Run(folder).results()
    assert list(results["sizes"]) == ["4"]
    assert (folder / "report.html").is_file()

    assert "WER after it" in printed
    assert [fact.rate_after for fact in facts_of(folder)] == [valid_rate(checkpoint, n) for n in (1, 2, 3, 4)]

    chosen = folder / "selections" / "greedy.json"
    cut([str(folder), "--selection", str(chosen), "--size", "2", "--out", "small"])
    kept = next(c for c in json.loads(chosen.read_text())["choices"] if c["budget"] == "2")["kept"]
    (place / "two.json").write_text(json.dumps({"format": 1, "granularity": "layer", "kept": kept}))
    cut(["mine", "--selection", "two.json", "--out", "same"])
    cut(["mine", "--selection", str(chosen), "--size", "2", "--out", "direct"])
    for name in ("moved", "small/selections"):  # copies in other folders say nothing about their network
        (place / name).mkdir()
        shutil.copy(chosen, place / name / "greedy.json")
        with pytest.raises(SystemExit) as e:
            cut(["mine", "--selection", f"{name}/greedy.json", "--size", "2", "--out", "refused"])
        assert e.value.code == 2
    (samples,) = speech([30_000])
    texts = [
        Recognizer.load(place / "mine", selection=place / "two.json").transcribe(samples, 16_000).text,
        *(
            Recognizer.load(place / name).transcribe(samples, 16_000).text
            for name in ("small", "same", "direct")
        ),
    ]
    assert len(set(texts)) == 1


def facts_of(folder: Path) -> Sequence[UnitFacts]:
    found = stored(Run(folder).comparison_file, fingerprint(Run(folder).model_stem))
    assert found is not None
    return found.facts


def valid_rate(checkpoint: Path, number: int) -> float:
    """The error rate on the validation split of a network with the first layers only."""
    model = open_checkpoint(checkpoint)
    net, tokens = model.recognizer, model.tokens
    small = cut_out(net, net.table.subnet(net.table.first(number)))
    options = {"path": checkpoint.parent / "tones", "input": "samples"}
    task = Manifest(Manifest.Options.model_validate(options))
    task.prepare_for(["valid"], tokens, lambda *_: None)
    texts, found = list[str](), list[str]()
    for batch in task.eval_batches("valid", tokens):
        with torch.inference_mode():
            log_probs = small.log_probs(batch.features_BTF, batch.num_frames, small.table.full)
        found += greedy(log_probs, batch.stream_lengths, tokens)
        texts += batch.texts
    return score(texts, found).rate


def test_a_checkpoint_is_evaluated_on_any_corpus(
    checkpoint: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(["mine", "--task", "tones", "--split", "valid,test"])
    printed = capsys.readouterr().out
    assert "mine-tones, valid" in printed
    assert "mine-tones, test" in printed


def test_a_checkpoint_transcribes(checkpoint: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(here / "a.wav", torch.cat(speech([20_000])).numpy(), 16_000, subtype="FLOAT")
    transcribe(["mine", "a.wav"])
    text = Recognizer.load(checkpoint).transcribe(here / "a.wav").text
    assert capsys.readouterr().out == f"a.wav\t{plain(text)}\n"


def test_the_card_of_a_recognizer_of_fairseq2_takes_the_place_of_a_run(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "theirs").mkdir()
    card = str(write_card(here / "theirs")[0].relative_to(here))
    soundfile.write(here / "b.wav", torch.cat(speech([20_000])).numpy(), 16_000, subtype="FLOAT")
    transcribe([card, "b.wav"])
    assert capsys.readouterr().out.startswith("b.wav\t")
    evaluate([card, "--task", "tones"])
    assert "card-tones, test" in capsys.readouterr().out
    (here / "pair.json").write_text('{"format": 1, "granularity": "layer", "kept": ["layers.0", "layers.3"]}')
    cut([card, "--selection", "pair.json", "--out", "pair"])
    whole = Recognizer.load(here / card, selection=here / "pair.json")
    small = Recognizer.load(here / "pair")
    assert small.size == 2
    assert small.transcribe("b.wav") == whole.transcribe("b.wav")
    export([card, "--task", "tones", "--format", "torch", "--out", "exported"])
    record = json.loads((here / "exported" / "export.json").read_text())
    assert record["compared_on_test"]
    assert record["model"]["kept"] == [f"layers.{i}" for i in range(4)]


@pytest.mark.parametrize(
    ("main", "words", "problem"),
    [
        (evaluate, ["mine"], "`--task` must name the corpus to score 'mine' on, but is not given."),
        (select, ["mine", "--strategies", "tail"], "`--task` must name the corpus to score"),
        (cut, ["mine", "--out", "mine"], "but 'mine' is a checkpoint. Name another one."),
        (export, ["mine"], "`--task` must name the corpus to compare the transcripts of 'mine' on"),
        (transcribe, ["nothing", "a.wav"], "there is no such folder: 'nothing'"),
    ],
)
def test_missing_options_are_one_clear_line(
    checkpoint: Path,
    here: Path,
    main: Callable[[list[str]], None],
    words: list[str],
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert problem in refused(main, words, capsys)


def test_a_changed_checkpoint_is_detected(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "other", VARIANTS["wav2vec2-base"])
    evaluate(["other", "--task", "tones"])
    write(here / "other", VARIANTS["hubert-base"])
    capsys.readouterr()
    problem = refused(evaluate, ["other", "--task", "tones"], capsys)
    assert "must be made of the weights of 'other', but is not. Rename or delete it first." in problem


def refused(main: Callable[[list[str]], None], words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The only error message of a command."""
    with pytest.raises(SystemExit) as e:
        main(words)
    assert e.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    return line


CHEAPER = {
    "select": ["--strategies", "greedy"],
    "export": ["--format", "torch"],
    "train": ["--set", "train.num_steps=2", "--set", "task.batch_seconds=4"],
}
"""Options with which the commands of the guide only take seconds."""


def test_the_commands_of_the_guide_work(
    checkpoint: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "guide").mkdir()
    monkeypatch.chdir(here / "guide")
    shutil.copytree(checkpoint, "CHECKPOINT")
    Path("my_corpus").symlink_to(here / "tones")
    Path("recordings").mkdir()
    soundfile.write("recordings/a.wav", torch.cat(speech([20_000])).numpy(), 16_000, subtype="FLOAT")
    for _, block in blocks(GUIDE, "bash"):
        for line in block.strip().splitlines():
            words = shlex.split(line, comments=True)
            if words[0] != "supernet" or "--upload" in words or _lacks_a_library(words):
                continue
            more = CHEAPER.get(words[1], []) if "--format" not in words else []
            program([*(word for word in words[1:] if word != "--int8"), *more])
    assert Run(Path("runs/joint")).is_finished
    assert Run(Path("runs/merged")).is_finished
    small, exports = Path("for-the-hub"), Run(Path("runs/CHECKPOINT-my_corpus")).exports
    assert len([folder for folder in small.iterdir() if folder.is_dir()]) == len(list(exports.iterdir()))


def _lacks_a_library(words: list[str]) -> bool:
    return any("lora_rank" in word for word in words) and find_spec("peft") is None
