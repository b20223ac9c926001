"""Every setting is documented, and errors on unknown settings suggest existing ones."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest
from pydantic import BaseModel

from selection.study.definition import CompareDefinition, Definition, checked
from selection.study.tune_definition import TuneDefinition
from supernet.config import Config, TrainConfig
from supernet.errors import ConfigError
from supernet.runs.resolve import resolve, settings
from supernet.settings.listing import Setting, section_of, settings_of
from supernet.settings.names import GROUPS
from supernet.settings.presets import parse_set
from supernet.train import main
from tests.supernet.pretrained.folders import VARIANTS, write


def models() -> list[type[BaseModel]]:
    """The models of all configurations, plug-ins and studies."""
    plugins = [entry.load() for group in GROUPS.values() for entry in entry_points(group=group)]
    options = [plugin.Options for plugin in plugins if hasattr(plugin, "Options")]
    return [Config, CompareDefinition, TuneDefinition, *options]


@pytest.mark.parametrize("kls", models(), ids=lambda kls: kls.__name__)
def test_every_setting_and_section_is_documented(kls: type[BaseModel]) -> None:
    assert [setting.name for setting in settings_of(kls) if not setting.doc] == []
    for field in kls.model_fields.values():
        assert field.description
        if (section := section_of(field.annotation)) is not None:
            assert all(inner.description for inner in section.model_fields.values())


def test_settings_include_those_of_the_task_and_the_method() -> None:
    found = {s.name: s for s in settings({"task": "manifest", "method": {"name": "iterative-zero-out"}})}
    assert found["task"].default == "generated-speech"
    assert found["train.num_steps"] == Setting(
        "train.num_steps", "3000", "Number of updates.", TrainConfig.model_fields["num_steps"]
    )
    assert found["task.path"].default == "must be given"
    assert found["task.noise.snr"].default == "[0, 20]"
    assert "method.iterations" in found
    assert "model.num_layers" in found
    assert found.keys() > {s.name for s in settings({})} - {n for n in found if n.startswith("method.")} - {
        name for name in (s.name for s in settings({})) if name.startswith(("task.", "method."))
    }


def test_subsampling_determines_the_input_of_the_task() -> None:
    found = resolve([{"model": {"subsampling": 8}}]).config
    assert found.task.options["input"] == found.model.input == "log-mel-80ms"
    assert not found.model.freezes_frontend(0)
    with pytest.raises(ConfigError, match=r"`task\.input` must be 'log-mel-80ms'"):
        resolve([{"model": {"subsampling": 8}, "task": {"input": "log-mel"}}])


def test_other_encoders_than_the_built_in_one_have_no_subsampling_to_set(tmp_path: Path) -> None:
    write(tmp_path, VARIANTS["wav2vec2-base"])
    for sizes in ([2, 4], [4]):
        with pytest.raises(ConfigError) as e:
            resolve([{"sizes": sizes, "model": {"init": str(tmp_path), "subsampling": 8}}])
        (problem,) = e.value.problems
        assert problem.startswith("`model.subsampling` must be 4 with `model.encoder` 'hf-wav2vec2'")


def test_the_longest_utterance_fits_after_subsampling() -> None:
    coarse = {"subsampling": 8, "max_frames": 256}
    assert resolve([{"model": coarse, "task": {"max_seconds": 20.5}}]).config.model.max_frames == 256
    with pytest.raises(ConfigError, match=r"`task\.max_seconds` must fit .* 21 s are 261 frames"):
        resolve([{"model": coarse, "task": {"max_seconds": 21}}])


def test_settings_are_listed_in_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--settings", "--method", "iterative-zero-out"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    heads = [line.split(" ")[0] for line in lines if not line.startswith(" ")]
    expected = [s.name for s in settings({"task": "generated-speech", "method": "iterative-zero-out"})]
    assert heads == expected
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        assert line.startswith("    ") or after.startswith("    "), f"{line} has no documentation"

    main(["--settings", "train."])
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(("train.", "    ")) for line in lines)
    assert "train.lr = 0.004" in lines
    with pytest.raises(SystemExit):
        main(["--settings", "train.lrr"])
    assert "Did you mean train.lr?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "meant"),
    [
        ("lr=0.1", "train.lr"),
        ("train.lrr=0.1", "lr"),
        ("trian.lr=0.1", "train"),
        ("model.lr=0.1", "train.lr"),
        ("train.dim=8", "model.dim"),
        ("kernel=3", "model.kernel"),
        ("dropuot=0.1", "model.dropout"),
        ("task.num_steps=3", "train.num_steps"),
        ("method.num_layers=3", "model.num_layers"),
        ("batch_seconds=3", "task.batch_seconds"),
        ("train.score_learning=0.1", "method.score_learning"),
        ("task.spec_augment.time_mask=3", "time_masks"),
        ("task.noise.foldr=here", "folder"),
        ("task.batch_secnds=3", "batch_seconds"),
        ("method.score_lerning=1", "score_learning"),
        ("sizs=[1,2]", "sizes"),
    ],
)
def test_the_error_on_an_unknown_setting_suggests_existing_ones(setting: str, meant: str) -> None:
    with pytest.raises(ConfigError) as found:
        resolve([parse_set(setting)])
    name = (
        setting.partition("=")[0].rpartition(".")[0]
        if setting.startswith("trian")
        else setting.partition("=")[0]
    )
    (problem,) = (p for p in found.value.problems if p.startswith(f"`{name}` must be a setting"))
    assert problem.endswith("?")
    assert meant in problem.rpartition("Did you mean ")[2].rstrip("?").split(" or ")


@pytest.mark.parametrize(
    ("kls", "setting", "meant"),
    [
        (CompareDefinition, "seedz=[1]", "seeds"),
        (CompareDefinition, "lr=1", "settings.train.lr"),
        (CompareDefinition, "train.num_steps=3", "settings.train"),
        (TuneDefinition, "space.x.lo=1", "low"),
        (TuneDefinition, "objectivs=[wer]", "objectives"),
    ],
)
def test_the_error_on_an_unknown_key_of_a_study_suggests_existing_ones(
    kls: type[Definition], setting: str, meant: str
) -> None:
    with pytest.raises(ConfigError) as found:
        checked(kls, parse_set(setting))
    assert any(f"Did you mean {meant}" in problem for problem in found.value.problems), found.value.problems


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "task.tokens=no",
            "`task.tokens` must be 'characters', 'words', 'unigram' or 'bpe' or a path, but is "
            "False instead. "
            "YAML takes yes, no, on and off for truth values: quote them.",
        ),
        ("train.lr=fast", "`train.lr` must be a number, but is 'fast' instead."),
        ("train.lr=-1", "`train.lr` must be greater than 0, but is -1 instead."),
        ("sizes=6", "`sizes` must be a list, but is 6 instead."),
        ("sizes=[2,x]", "`sizes.1` must be a whole number, but is 'x' instead."),
        ("seed=1.5", "`seed` must be a whole number, but is 1.5 instead."),
        ("task.noise={}", "`task.noise.folder` must be given, but is not."),
        ("task.noise=3", "`task.noise` must be a mapping of settings, but is 3 instead."),
        (
            "passes.stages={12: 0.1}",
            "`passes.stages` must name some of [6, 9], in this order, but names [12] instead.",
        ),
        (
            "passes.stages={9: 0.1, 6: 0.1}",
            "`passes.stages` must name some of [6, 9], in this order, but names [9, 6] instead.",
        ),
        ("passes.stages={6: 0.6, 9: 0.6}", "`passes.stages` must add up to 1 at most, but to 1.2 instead."),
        ("passes.shares={a: 1}", "`passes.shares` must name the sizes [6, 9, 12], but names [a] instead."),
        ("model=tiny", "`model` must be a mapping of settings, but is 'tiny' instead."),
    ],
)
def test_errors_on_wrong_values_contain_no_internal_names(setting: str, message: str) -> None:
    with pytest.raises(ConfigError) as found:
        resolve([parse_set(setting)])
    (problem,) = found.value.problems
    assert problem == message
