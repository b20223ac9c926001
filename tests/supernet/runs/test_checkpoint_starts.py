"""Training from a fine-tuned checkpoint: its head, and its frozen layers."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from supernet.encoder_family import PretrainedError
from supernet.errors import ArgumentError, ConfigError
from supernet.network.supernet_ctc import SupernetCTC
from supernet.pretrained.reading import read_checkpoint
from supernet.runs.adoption import adopt
from supernet.runs.checkpoint_model import fingerprint_of, open_checkpoint
from supernet.runs.pretrained import begin, said, tokens_of
from supernet.runs.resolve import Resolved, resolve
from supernet.runs.run import Run, as_data
from supernet.task import Batch
from supernet.text.tokens import Tokens
from supernet.train import main as train
from supernet.training.optim import SkippingAdamW, parameter_groups
from supernet.training.schedule import Schedule
from supernet.training.step import StepLosses, supernet_of
from tests.supernet.pretrained.folders import VARIANTS, speech, their_log_probs, write
from tests.supernet.recognizing import log_probs

LETTERS = Tokens.from_texts(["a bc"])
OTHERS = Tokens.from_texts(["a xyz"])
LENGTHS = [5000, 3217]
NEW = "with a new head"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "mine", VARIANTS["wav2vec2-large"])
    return tmp_path / "mine"


def resolved(folder: Path, *layers: dict[str, Any], **model: Any) -> Resolved:
    task = {"task": {"name": "manifest", "path": "nowhere"}}
    return resolve([task, {"sizes": [2, 4], "model": {"init": str(folder), **model}}, *layers])


def begun(found: Resolved, tokens: Tokens) -> SupernetCTC:
    """The network of a training before any update."""
    torch.manual_seed(1)
    net = supernet_of(found.method, len(tokens))
    begin(net, tokens)
    return net


@pytest.mark.parametrize("heads", ["shared", "per-size"])
@pytest.mark.parametrize("variant", ["wav2vec2-large", "wavlm-base", "conformer-rotary", "parakeet"])
def test_before_any_update_the_full_network_equals_the_checkpoint(
    tmp_path: Path, variant: str, heads: str
) -> None:
    model = write(tmp_path, VARIANTS[variant])
    found = resolved(tmp_path, heads=heads, init_head="keep")
    tokens = tokens_of(found.config.model, LETTERS)
    assert tokens == open_checkpoint(tmp_path).tokens
    net, order = begun(found, tokens).eval(), list(read_checkpoint(tmp_path).order)
    for samples in speech(LENGTHS):
        (actual_SV,) = log_probs(net, net.table.full, [samples])
        (expected_SV,) = their_log_probs(tmp_path, model, [samples])
        torch.testing.assert_close(actual_SV, expected_SV[:, order], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("head", "corpus", "is_kept", "words"),
    [
        ("auto", LETTERS, True, "with its head"),
        ("auto", OTHERS, False, f"{NEW}, because its tokens differ: 'x', 'y', 'z' are not among them"),
        ("keep", OTHERS, True, "with its head"),
        ("replace", LETTERS, False, NEW),
    ],
)
def test_the_head_is_kept_if_its_tokens_spell_the_corpus(
    folder: Path, head: str, corpus: Tokens, is_kept: bool, words: str
) -> None:
    found, whole = resolved(folder, init_head=head), open_checkpoint(folder)
    tokens = tokens_of(found.config.model, corpus)
    assert tokens == (whole.tokens if is_kept else corpus)
    assert said(found.config.model, tokens) == f"starts from {folder}, {words}"
    ours, theirs = (net.state_dict() for net in (begun(found, tokens), whole.recognizer))
    for name in (name for name in theirs if name.startswith(("frontend.", "encoder."))):
        assert torch.equal(ours[name], theirs[name])
    assert (ours["heads.shared.weight"].shape == theirs["heads.shared.weight"].shape) == is_kept


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        ({"model": {"init": None, "init_head": "keep"}}, "`model.init_head` must go with `model.init`"),
        ({"model": {"freeze_layers": 5}}, "`model.freeze_layers` must be at most 4"),
        ({"model": {"freeze_layers_steps": 5}}, "`model.freeze_layers_steps` must go with"),
        (
            {"model": {"freeze_layers": 1}, "train": {"data_parallelism": "fsdp"}},
            "`train.data_parallelism` must be ddp with `model.freeze_layers`",
        ),
    ],
)
def test_settings_that_do_not_fit_are_errors(folder: Path, layer: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as e:
        resolved(folder, layer)
    assert any(line.startswith(problem) for line in e.value.problems), e.value.problems


def test_a_damaged_vocabulary_is_a_problem_unless_the_head_is_replaced(folder: Path) -> None:
    (folder / "vocab.json").write_text("{}")
    with pytest.raises(ConfigError, match="one token for each of the 10 outputs"):
        resolved(folder)
    assert resolved(folder, init_head="replace").config.model.init_head == "replace"


def test_tokens_spell_those_that_split_the_same_texts() -> None:
    more, words = Tokens(("<blk>", "<s>", *"abc xyz")), Tokens(("<blk>", "a", "bc"), "words")
    assert more.spells(LETTERS)
    assert not LETTERS.spells(more)
    assert not more.spells(words)
    assert not words.spells(LETTERS)
    assert Tokens(("<blk>", "a", "bc", "d"), "words").spells(words)


def test_texts_are_read_in_the_case_of_the_checkpoint(folder: Path, tones: Path, tmp_path: Path) -> None:
    file = folder / "vocab.json"
    file.write_text(
        json.dumps({s.upper() if len(s) == 1 else s: i for s, i in json.loads(file.read_text()).items()})
    )
    corpus = {"name": "manifest", "path": str(tones)}
    found = resolve([{"task": corpus, "sizes": [2, 4], "model": {"init": str(folder)}}])
    found.task.prepare(lambda *_: None)
    assert found.task.tokens().symbols == ("<blk>", *" ABC")
    assert tokens_of(found.config.model, found.task.tokens()) == open_checkpoint(folder).tokens
    assert {
        text for batch in found.task.eval_batches("test", found.task.tokens()) for text in batch.texts
    } == {"A BC"}
    assert adopt(folder, tmp_path / "run", corpus, "layer").config_data()["task"]["case"] == "upper"
    for layer in ({"task": {"case": "as-is"}}, {"model": {"init_head": "replace"}}):
        assert resolved(folder, layer).config.task.options["case"] == "as-is"


def test_a_checkpoint_is_read_once_until_it_changes(folder: Path) -> None:
    found, file = resolved(folder), folder / "vocab.json"
    content, stat = file.read_bytes(), file.stat()
    # Only the time of a file and its size tell that it changed.
    file.write_bytes(b"{" + b" " * (len(content) - 1))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    tokens = tokens_of(found.config.model, LETTERS)
    assert said(found.config.model, tokens) == f"starts from {folder}, with its head"
    begun(found, tokens)
    file.touch()
    with pytest.raises(PretrainedError, match=r"vocab\.json' must"):
        tokens_of(found.config.model, LETTERS)


def test_the_tokens_of_a_run_are_known_without_its_weights(folder: Path, tmp_path: Path) -> None:
    adopt(folder, tmp_path / "run", {"name": "manifest", "path": "nowhere"}, "layer")
    expected = open_checkpoint(folder).tokens
    found = resolved(tmp_path / "run", init_head="keep").config.model
    (tmp_path / "run" / "model.safetensors").write_bytes(b"damaged")
    assert tokens_of(found, LETTERS) == expected
    assert said(found, expected).endswith("with its head")


def test_a_replaced_checkpoint_is_noticed(folder: Path, tmp_path: Path) -> None:
    """By its weights, which the configuration records; a run that goes on does not need them again."""
    config, run = resolved(folder).config, Run(tmp_path / "run")
    assert config.model.init_checkpoint == fingerprint_of(folder)
    run.begin(config)
    tensors = load_file(folder / "model.safetensors")
    save_file({name: x + 1 for name, x in tensors.items()}, folder / "model.safetensors")
    with pytest.raises(ArgumentError, match=r"model\.init_checkpoint was \w{16}, is \w{16}"):
        run.begin(resolved(folder).config)
    with pytest.raises(ConfigError, match=r"`model\.init` must have the weights `model\.init_checkpoint`"):
        resolve([as_data(config)])
    shutil.rmtree(folder)
    assert resolve([as_data(config)]).config == config


class Training:
    """A training of a few updates on noise."""

    def __init__(self, found: Resolved, change: Callable[[SupernetCTC], None] = lambda net: None) -> None:
        config = found.config
        self.net = begun(found, LETTERS).train()
        change(self.net)
        self._steps = StepLosses(self.net, Schedule(found.method, self.net, config.seed))
        counts = self.net.skipped_updates, self.net.skipped_in_a_row
        self._optimizer = SkippingAdamW(parameter_groups(self.net, config.train), config.train, *counts)

    def update(self, step: int) -> float:
        """Update once; returns the loss before."""
        torch.manual_seed(step)
        rows = [x[:, None] for x in speech(LENGTHS)]
        samples_BT1 = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        targets_BL, names = torch.ones(2, 1, dtype=torch.int64), ["a", "b"]
        batch = Batch(samples_BT1, LENGTHS, targets_BL, [1, 1], names, names, self.net.input)
        self._steps.begin(step)
        self._optimizer.zero_grad()
        loss = self._steps.loss(batch).total
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return float(loss.detach())


def layers(net: SupernetCTC) -> list[list[Tensor]]:
    return [[p.detach().clone() for p in layer.parameters()] for layer in net.encoder.layers.values()]


def unchanged(before: list[list[Tensor]], after: list[list[Tensor]]) -> list[bool]:
    pairs = zip(before, after, strict=True)
    return [all(torch.equal(a, b) for a, b in zip(old, new, strict=True)) for old, new in pairs]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("frontend", [0, None])
def test_the_first_layers_stay_frozen_for_the_given_number_of_updates(
    folder: Path, frontend: int | None, recompute: bool
) -> None:
    train = {"num_steps": 8, "recompute": recompute}
    settings = {"freeze_layers": 2, "freeze_layers_steps": 2, "freeze_frontend_steps": frontend}
    passes = {"smallest_first": 0, "sharing": "batch", "layer_drop": 0}
    training = Training(
        resolved(folder, {"train": train, "method": "on-demand", "passes": passes}, **settings)
    )
    start = layers(training.net)
    for step in range(2):
        training.update(step)
    frozen = layers(training.net)
    assert unchanged(start, frozen) == [True, True, False, False]
    training.update(2)
    assert not any(unchanged(frozen, layers(training.net)))


@pytest.mark.slow
def test_a_run_keeps_the_head_and_needs_the_checkpoint_only_to_start(
    folder: Path, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = open_checkpoint(folder).tokens
    settings = {"model.init": folder, "model.freeze_layers": 3, "train.num_steps": 2, "task.batch_seconds": 4}
    settings |= {f"train.{name}_every": 1 for name in ("publish", "checkpoint", "validate")}
    options = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    command = ["--task", "tones", "--sizes", "2,4", "--device", "cpu", "--method", "on-demand", *options]
    with monkeypatch.context() as patch:
        patch.setattr(Run, "save_results", interrupted)
        with pytest.raises(SystemExit):
            train([*command, "--out", "runs/kept"])
    assert "with its head" in capsys.readouterr().out
    shutil.rmtree(folder)
    train([*command, "--out", "runs/kept"])
    found = Run(here / "runs" / "kept")
    assert found.is_finished
    assert found.tokens("characters") == tokens


def interrupted(*arguments: object) -> None:
    """Interrupt a training at its end, as Ctrl-C does."""
    raise KeyboardInterrupt
