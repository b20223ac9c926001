"""Help and errors in options need no heavy imports, and one program has all commands."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from supernet import transcribe
from supernet.__main__ import ORDER, main
from supernet.commands.export_source import FORMATS
from supernet.console.front import GROUP, called_through, command
from supernet.console.parser import Parser, parse, whole
from supernet.export.__main__ import FORMATS as NAMES
from supernet.recognition import transcript_formats
from supernet.train import main as train
from tests.supernet.processes import REPOSITORY, environment, run

pytestmark = pytest.mark.slow

COMMANDS = sorted(entry.name for entry in entry_points(group=GROUP))
MODULES = {entry.name: entry.value.partition(":")[0] for entry in entry_points(group=GROUP)}
HEAVY = ("torch", "rich", "pydantic", "optuna", "numpy", "lhotse", "fairseq2", "matplotlib")
IN_ONE_PROCESS = """
import contextlib, io, json, runpy, sys
for module, words in json.loads(sys.argv[1]):
    sys.argv = [module, *words]
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            runpy.run_module(module, run_name="__main__", alter_sys=False)
    except SystemExit as end:
        print(json.dumps([end.code, out.getvalue(), err.getvalue()]))
print(json.dumps([name for name in %r if name in sys.modules]))
"""


def in_one_process(
    calls: list[tuple[str, list[str]]], cwd: Path
) -> tuple[list[tuple[int, str, str]], list[str]]:
    """Run modules as ``python -m`` does: exit status and output of each, and the heavy packages imported."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IN_ONE_PROCESS % (HEAVY,), json.dumps(calls)],
        cwd=cwd,
        env=environment(cwd),
        capture_output=True,
        text=True,
        check=True,
    )
    *ends, imported = map(json.loads, done.stdout.splitlines())
    return [tuple(end) for end in ends], imported


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    assert set(COMMANDS) == set(ORDER)
    calls = [(module, ["--help"]) for module in MODULES.values()]
    calls += [("supernet", [name, "--help"]) for name in COMMANDS]
    calls += [("supernet", ["--help"]), ("supernet", ["--version"]), ("supernet", [])]
    ends, imported = in_one_process(calls, tmp_path)
    assert imported == []
    # The program `supernet` and its --help return without an exit.
    assert [code for code, _, _ in ends] == [0] * (len(calls) - 2)
    for (module, _), (_, out, err) in zip(calls, ends, strict=False):
        assert "--quiet" in out or out.startswith("supernet "), module
        assert err == ""


def test_wrong_arguments_are_errors_before_heavy_imports(tmp_path: Path) -> None:
    calls = {
        "supernet.train --method simple-topk": "Did you mean simple-top-k?",
        "supernet.train --preset smal": "Did you mean small?",
        "supernet.train --steps many": "`train.num_steps` must be whole numbers, but is 'many'",
        "supernet.train --sizes 6,x": "`sizes` must be whole numbers, but is 'x'",
        "supernet.train --taks x": "`--taks` must be an option that exists, but is not. Did you mean --task",
        "supernet.evaluate": "`RUN` must be given, but is not.",
        "supernet.transcribe r a.wav --batch 0": "`--batch` must be at least 1, but is 0 instead.",
        "supernet.transcribe r a.wav --format doc": "`--format` must be one of text, jsonl, srt, vtt",
        "supernet.export r --int8-margin x": "`--int8-margin` must be a number, but is 'x' instead.",
        "supernet.latency r --rounds 1.5": "`--rounds` must be a whole number, but is '1.5' instead.",
        "supernet.cut r": "`--out` must be given, but is not.",
        "selection r --strategies greedi": "Did you mean greedy",
        "selection.study tune --out x --trials 0": "`--trials` must be at least 1, but is 0",
        "selection.study tuna": "must be one of compare, curves, tune, report, but is 'tuna'",
        "selection.worth r --alone": "`--alone` must have at least one value, but has none.",
        "tasks.prepare x": "`--out` must be given",
        "supernet trian": "Did you mean train",
        "supernet.train --out=": "`--out` must not be empty, but is.",
        "selection r --strategies=": "`--strategies` must not be empty, but is.",
        "supernet.transcribe r a.wav --beam x": "`--beam` must be a whole number, but is 'x' instead.",
        "supernet.transcribe r a.wav --lm-weight nan": "`--lm-weight` must be a number, but is 'nan'",
        "supernet.train --dry": "`--dry` must be an option that exists, but is not. Did you mean --dry-run",
        "supernet.train --task nowhere": "or the path of a corpus, but there is no such task, file or folder",
        "supernet --print-completion csh": "must be one of bash, zsh, fish, but is 'csh'",
    }
    ends, imported = in_one_process([(line.split()[0], line.split()[1:]) for line in calls], tmp_path)
    assert imported == []
    for (call, expected), (code, out, err) in zip(calls.items(), ends, strict=True):
        assert code == 2, call
        assert out == "", call
        (line,) = err.splitlines()
        assert line.startswith("error: "), call
        assert expected in line, call


def test_all_problems_with_options_are_reported_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser()
    parser.add_argument("--first", type=whole(1))
    parser.add_argument("--second", type=whole(), nargs="+")
    with pytest.raises(SystemExit) as end:
        parse(parser, ["--first", "0", "--second", "3", "x", "-7"], lambda args: ["third"])
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: `--first` must be at least 1, but is 0 instead.",
        "error: `--second` must be a whole number, but is 'x' instead.",
        "error: third",
    ]


def test_empty_paths_are_errors(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser()
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--listed", nargs="?", const="")
    assert parse(parser, ["x", "--listed"]).listed == ""
    with pytest.raises(SystemExit) as end:
        parse(parser, ["", "--out", " "])
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: `RUN` must not be empty, but is.",
        "error: `--out` must not be empty, but is.",
    ]


def test_problems_with_options_files_and_settings_are_reported_together(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--config", "nope.yaml", "--preset", "smal", "--method", "nope", "--steps", "x"]
    with pytest.raises(SystemExit) as end:
        train([*words, "--set", "zz", "--set", "train.lr=", "--set", "train.eps=x"])
    assert end.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    for expected in (
        "`--config` must be a file of settings, but there is no such file: 'nope.yaml'",
        "Did you mean small?",
        "`method` must be one of",
        "`train.num_steps` must be a whole number",
        "`--set` must look like a.b=c, but is 'zz'",
        "`--set` must give a value, but 'train.lr=' has none",
        "`train.eps` must be a number",
    ):
        assert sum(expected in line for line in lines) == 1, expected
    assert len(lines) == 7


def test_help_can_be_printed_in_ascii(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "supernet", "--help"],
        cwd=tmp_path,
        env=environment(tmp_path, {"PYTHONIOENCODING": "ascii"}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "COMMAND ..." in done.stdout
    assert done.stderr == ""


def test_names_of_formats_match_the_formats() -> None:
    assert set(NAMES) == set(FORMATS)
    assert set(transcribe.FORMATS) == set(transcript_formats.FORMATS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_contains_commands_options_and_names(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("shtab")
    main(["--print-completion", shell])
    script = capsys.readouterr().out
    for word in (*COMMANDS, "strategies", "lm-weight", "sherpa-onnx", "trials"):
        assert word in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_commands_are_suggested_in_the_form_in_which_they_were_called() -> None:
    assert command("select", "my run/it's") == """python -m selection 'my run/it'"'"'s'"""
    assert command("export", Path("runs/x"), "--size", 6) == "python -m supernet.export runs/x --size 6"
    called_through("supernet")
    try:
        assert command("study", "report", "x") == "supernet study report x"
    finally:
        called_through(None)


def test_every_command_has_a_parser_with_a_description() -> None:
    for module in MODULES.values():
        assert import_module(module).build_parser().description


@pytest.fixture
def shadowed(tmp_path: Path) -> Path:
    """A user's folder with modules that have the names of the project's packages."""
    for name in ("tasks.py", "selection.py"):
        (tmp_path / name).write_text("raise RuntimeError('not that one')\n")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "__init__.py").write_text("raise RuntimeError('not that one')\n")
    (tmp_path / "configs" / "small.yaml").write_text("- no preset")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["supernet.train", "--preset", "small", "--task", "./gone"], "'gone'"),
        (["supernet", "prepare", "./gone", "--out", "there"], "'gone'"),
        (["supernet", "select", "./gone"], "`RUN` must be"),
    ],
)
def test_modules_in_the_current_folder_do_not_interfere(
    shadowed: Path, words: list[str], expected: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=shadowed,
        env=environment(shadowed),
        capture_output=True,
        text=True,
    )
    assert "not that one" not in done.stderr
    assert "Traceback" not in done.stderr
    assert expected in done.stderr
    assert done.returncode == 2


def test_a_users_program_imports_its_own_modules(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("MINE = 1\n")
    program = "import supernet, tasks; assert tasks.MINE == 1"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment(tmp_path), check=True)


def test_the_repository_contains_the_presets() -> None:
    assert (REPOSITORY / "configs" / "small.yaml").is_file()


def test_the_number_of_threads_in_settings_overrides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from supernet.engine.recipe import engine_config
    from supernet.runs.resolve import resolve
    from supernet.system.devices import with_threads
    from supernet.system.processes import Processes

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    config = resolve([{"train": {"num_threads": 2}, "device": "cpu"}]).config
    engine: Any = engine_config(config, Processes(1, 2))
    assert engine.common.torch.num_threads is None  # the engine would warn on the console
    before = torch.get_num_threads()
    with with_threads(config.train.num_threads):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before


def test_executorch_prints_nothing_when_installed(tmp_path: Path) -> None:
    pytest.importorskip("torchao", reason="comes with the executorch extra")
    _, err = run("supernet.train", "--settings", "train.", cwd=tmp_path)
    assert err == ""
