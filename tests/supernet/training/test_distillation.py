"""Imitation of a trained network in the loss of a step, and the trainings that use it."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from supernet import train
from supernet.errors import ArgumentError, ConfigError
from supernet.methods.individual import Individual, IndividualOptions
from supernet.network.distillation import Teacher, imitation_losses
from supernet.network.supernet_ctc import SupernetCTC
from supernet.plan import Pass, Plan
from supernet.runs.former import updated
from supernet.runs.model_file import fingerprint
from supernet.runs.resolve import resolve
from supernet.runs.run import Run, as_data
from supernet.training.compute import unit_steps_alone
from supernet.training.step import step_of
from tests.supernet import tiny
from tests.supernet.processes import LEARNING, digest, settings
from tests.supernet.talkative import make_run
from tests.supernet.tiny import recognizer, tiny_config

FRAMES = [60, 33, 5, 47]


def test_only_frames_that_tell_something_count() -> None:
    """By hand: of three frames, one is blank in both, and one is padding."""
    teacher_SV = torch.tensor([[0.9, 0.05, 0.05], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]])
    student_SV = torch.tensor([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.3, 0.3, 0.4]])
    found_1 = imitation_losses(student_SV.log()[None], teacher_SV.log()[None], [2])
    expected = 0.2 * torch.tensor(0.2 / 0.6).log() + 0.7 * torch.tensor(0.7 / 0.3).log()
    torch.testing.assert_close(found_1, expected[None])


def loss(net: SupernetCTC, teacher: Teacher | None, plan: Plan) -> torch.Tensor:
    net.teacher = teacher
    data = tiny.batch(FRAMES)
    found: torch.Tensor = net(data, step_of(plan, len(FRAMES))).total
    return found


@pytest.mark.parametrize("granularity", ["layer", "module"])
def test_a_network_that_imitates_itself_has_the_loss_of_the_transcripts_alone(granularity: str) -> None:
    net = recognizer(tiny_config(granularity, model={"intermediate": ()}))
    full = net.table.full
    plan = Plan((Pass(net.config.names[-1], full),))
    plain = loss(net, None, plan)
    other = recognizer(tiny_config(granularity, model={"intermediate": ()}))
    torch.testing.assert_close(loss(net, Teacher(other, full, 0.3), plan), 0.7 * plain)
    assert not any(parameter.requires_grad for parameter in other.parameters())


def test_final_outputs_of_all_passes_imitate_and_intermediate_ones_do_not() -> None:
    net, other = recognizer(tiny_config()), recognizer(tiny_config(), seed=1)
    full, half = net.table.full, net.table.first(2)
    shared = (Pass("4", full, share=0.5, weight=2.0), Pass("2", half, share=0.5))
    plan, teacher = Plan(shared), Teacher(other, full, 0.3)
    data = tiny.batch(FRAMES)
    plain = net(data, step_of(plan, len(FRAMES)))
    wanted_BSV = teacher.log_probs(data)
    lengths = [net.input.num_stream_frames(n) for n in FRAMES]
    expected, share = plain.total.clone(), 1 - net.reader.weight
    for p, rows in zip(plan.passes, step_of(plan, len(FRAMES)).rows, strict=True):
        found_BSV = net.log_probs(data.features_BTF, data.num_frames, p.kept)
        part = slice(rows.start, rows.stop)
        imitation = imitation_losses(found_BSV[part], wanted_BSV[part], lengths[part]).sum()
        transcripts = plain.by_pass[p.name][0]
        expected += p.weight * share * 0.3 * (imitation - transcripts)
    torch.testing.assert_close(loss(net, teacher, plan), expected)


def test_the_teacher_counts_a_third_of_an_update() -> None:
    config = tiny_config(sizes=(4,), train={"num_steps": 30})
    plain = Individual(IndividualOptions(), config)
    passes = config.passes.model_copy(update={"teacher": "somewhere"})
    taught = Individual(IndividualOptions(), config.model_copy(update={"passes": passes}))
    assert unit_steps_alone(plain) == 120
    assert unit_steps_alone(taught) == 160


def test_a_training_imitates_a_run_and_resumes(finished: tuple[Run, str], here: Path, tmp_path: Path) -> None:
    teacher = f"passes.teacher={finished[0].folder}"
    arguments = [*settings(), *LEARNING, "--set", teacher, "--out", str(tmp_path / "run")]
    train.main(arguments)
    run = Run(tmp_path / "run")
    assert run.results()["unit_steps"] > finished[0].results()["unit_steps"]
    weights = run.model_stem.with_suffix(".safetensors")
    assert not any("teacher" in name for name in load_file(weights))
    expected = digest(weights)
    assert expected != digest(finished[0].model_stem.with_suffix(".safetensors"))
    for file in (weights, run.results_file):
        file.unlink()
    shutil.rmtree(run.checkpoints / "step_24")
    train.main(arguments)
    assert digest(weights) == expected


@pytest.mark.parametrize("wrong", ["nowhere", "unfinished", "tokens"])
def test_an_unusable_teacher_is_one_clear_line(
    wrong: str, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, words = tmp_path / wrong, "has no model.safetensors"
    if wrong == "tokens":
        make_run(folder)
        words = "must have the tokens of this training"
    elif wrong == "unfinished":
        folder.mkdir()
    with pytest.raises(SystemExit) as end:
        train.main(
            [*settings(), *LEARNING, "--set", f"passes.teacher={folder}", "--out", str(tmp_path / "run")]
        )
    assert end.value.code == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert "`passes.teacher`" in line
    assert words in line


@pytest.mark.parametrize("wrong", ["nowhere", "unfinished"])
def test_a_dry_run_checks_the_teacher(
    wrong: str, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "unfinished").mkdir()
    with pytest.raises(SystemExit) as end:
        train.main([*settings(), "--dry-run", "--set", f"passes.teacher={tmp_path / wrong}"])
    assert end.value.code == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert line.endswith(f"but '{tmp_path / wrong}' has no model.safetensors.")


def test_a_replaced_teacher_is_noticed(finished: tuple[Run, str], tmp_path: Path) -> None:
    """By its weights, which the configuration records; a finished run does not need it again."""
    teacher, task = tmp_path / "teacher", {"task": {"name": "manifest", "path": "nowhere"}}
    shutil.copytree(finished[0].folder, teacher)
    layers = [task, {"passes": {"teacher": str(teacher)}}]
    config = resolve(layers).config
    weights = teacher / "model.safetensors"
    assert config.passes.teacher_weights == fingerprint(teacher / "model")
    begun = Run(tmp_path / "run")
    begun.begin(config)
    begun.begin(resolve(layers, as_data(config)).config)
    tensors = load_file(weights)
    save_file({name: x + 1 for name, x in tensors.items()}, weights)
    now = resolve(layers, as_data(config)).config
    with pytest.raises(ArgumentError, match=r"passes\.teacher_weights was \w{16}, is \w{16}"):
        begun.begin(now)
    with pytest.raises(ConfigError, match=r"`passes\.teacher` must have the weights"):
        resolve([as_data(config)])
    weights.unlink()
    assert resolve(layers, as_data(config)).config == config
    with pytest.raises(ConfigError, match=r"has no model\.safetensors"):
        resolve(layers)


def test_a_run_begun_before_teachers_were_recorded_continues(
    finished: tuple[Run, str], tmp_path: Path
) -> None:
    layers = [{"passes": {"teacher": str(finished[0].folder)}}]
    config = resolve(layers).config
    before = as_data(config)
    del before["passes"]["teacher_weights"]
    run = Run(tmp_path)
    run.config_file.write_text(json.dumps(before))
    run.begin(config, partial(updated, now=config))
    assert run.config_data()["passes"]["teacher_weights"] == config.passes.teacher_weights
