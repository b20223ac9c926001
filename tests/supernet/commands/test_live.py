"""``transcribe --chunk``: text while the audio arrives, from files and pipes."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import wave
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import soundfile

from supernet import Recognizer, transcribe
from supernet.audio.live import read_pipe
from supernet.audio.specification import SAMPLE_RATE
from supernet.runs.run import Run
from tests.supernet.processes import environment
from tests.supernet.talkative import make_run, make_streaming_run, recordings


@pytest.fixture(scope="module")
def streaming(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_streaming_run(tmp_path_factory.mktemp("runs") / "streaming")


def texts(
    folder: Path, samples: np.ndarray[tuple[int], np.dtype[np.int16]], chunk: str = "320ms"
) -> list[str]:
    """The utterances that a stream finds, without empty ones."""
    stream = Recognizer.load(folder).stream(4, chunk)
    return [u.text for u in (*stream.accept(samples), stream.final()) if u.text]


def integers(i: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    found: np.ndarray[tuple[int], np.dtype[np.int16]] = (recordings()[i].numpy() * 32767).astype(np.int16)
    return found


def wav_bytes(samples: np.ndarray[tuple[int], np.dtype[np.int16]], rate: int = SAMPLE_RATE) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.tobytes())
    return file.getvalue()


def test_a_file_is_printed_utterance_by_utterance(
    streaming: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / f"{i}.wav" for i in range(2)]
    for i, file in enumerate(files):
        file.write_bytes(wav_bytes(integers(i + 1)))
    words = [str(streaming.folder), "--size", "4", "--chunk", "320ms", *map(str, files)]
    transcribe.main(words)
    printed = capsys.readouterr()
    expected = [text for i in range(2) for text in texts(streaming.folder, integers(i + 1))]
    assert printed.out.splitlines() == expected
    assert len(expected) >= 2
    *notes, last = printed.err.splitlines()
    assert len(notes) == 2
    assert all(" s of audio: first word " in line and "0 words changed" in line for line in notes)
    assert last.startswith("note: Medians of 2 recordings: first word ")


def test_folders_are_read_and_what_is_no_audio_is_reported(
    streaming: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.wav").write_bytes(wav_bytes(integers(1)))
    (tmp_path / "b.wav").write_bytes(b"no audio")
    words = [str(streaming.folder), "--size", "4", "--chunk", "320ms", str(tmp_path / "folder")]
    with pytest.raises(SystemExit) as end:
        transcribe.main([*words, str(tmp_path / "b.wav")])
    printed = capsys.readouterr()
    assert end.value.code == 1
    assert printed.out.splitlines() == texts(streaming.folder, integers(1))
    (complaint,) = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert complaint.startswith(f"error: '{tmp_path}/b.wav' must be readable audio, but is not: ")


def test_a_recording_that_breaks_off_leaves_nothing_to_the_next(
    streaming: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = np.concatenate([integers(2)] * 5)  # more than a block of the reader
    soundfile.write(tmp_path / "a.flac", whole, SAMPLE_RATE)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[-len(data) // 8 :] = bytes(len(data) // 8)
    (tmp_path / "a.flac").write_bytes(data)
    (tmp_path / "b.wav").write_bytes(wav_bytes(integers(1)))
    words = [str(streaming.folder), "--size", "4", "--chunk", "320ms"]
    with pytest.raises(SystemExit):
        transcribe.main([*words, str(tmp_path / "a.flac"), str(tmp_path / "b.wav")])
    printed = capsys.readouterr().out.splitlines()
    expected = texts(streaming.folder, integers(1))
    assert len(printed) > len(expected)
    assert printed[-len(expected) :] == expected


def test_a_pipe_is_recognized_before_it_ends(streaming: Run) -> None:
    """In a real process, whose standard input stays open while its first text is read."""
    whole = texts(streaming.folder, integers(2))
    command = [sys.executable, "-m", "supernet.transcribe", str(streaming.folder), "--size", "4"]
    with subprocess.Popen(
        [*command, "--chunk", "320ms", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(streaming.folder),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(wav_bytes(integers(2)))
        process.stdin.flush()
        first = process.stdout.read(1).decode()
        process.stdin.close()
        rest = process.stdout.read().decode()
        assert process.wait(timeout=60) == 0
    assert (first + rest).splitlines() == whole


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_a_pipe_of_integers_of_any_width_has_its_samples(width: int) -> None:
    samples = np.sin(np.arange(4000) / 7) * 0.5
    file = io.BytesIO()
    kind = {1: "PCM_U8", 2: "PCM_16", 3: "PCM_24", 4: "PCM_32"}[width]
    soundfile.write(file, np.stack([samples, samples], axis=1), SAMPLE_RATE, format="WAV", subtype=kind)
    stream = io.BufferedReader(io.BytesIO(file.getvalue()))
    blocks = list(read_pipe(stream, 0.1))
    assert len(blocks) == 3
    found = np.concatenate([block.numpy() for block in blocks])
    assert np.abs(found - samples).max() < 2.0 ** (1 - 8 * width) + 1e-6


def test_a_pipe_in_another_format_is_read_at_its_end() -> None:
    samples = np.sin(np.arange(4000) / 7) * 0.5
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="FLAC")
    stream = io.BufferedReader(io.BytesIO(file.getvalue()))
    found = np.concatenate([block.numpy() for block in read_pipe(stream, 0.1)])
    assert np.abs(found - samples).max() < 1e-4


def complaint(main: object, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The only line of a command that ends with status 2."""
    with pytest.raises(SystemExit) as end:
        main(words)  # type: ignore[operator]
    err = capsys.readouterr().err
    assert (end.value.code, err.count("\n")) == (2, 1), err
    return err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--chunk", "10ms"],
            "`--chunk` must be a multiple of 40ms, a frame after the frontend, but is 10ms",
        ),
        (
            ["--chunk", "much"],
            "`--chunk` must be a duration such as 320ms, or two such as 480ms+160ms, but is 'much'",
        ),
        (["--chunk", "320ms", "--out", "here"], "`--chunk` must be given without `--out`"),
        (["--chunk", "320ms", "--lm-weight", "1"], "`--chunk` must be given without `--lm-weight`"),
        (
            ["--chunk", "320ms", "--format", "srt"],
            "`--format` must be text with --chunk, but is srt instead.",
        ),
        (["--chunk", "320ms", "--cascade", "2,4"], "`--cascade` must be given without `--chunk`"),
    ],
)
def test_wrong_options_are_one_line(
    streaming: Run, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in complaint(transcribe.main, [str(streaming.folder), *options, "-"], capsys)


def test_a_network_trained_without_streaming_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run")
    err = complaint(transcribe.main, [str(run.folder), "--chunk", "320ms", "-"], capsys)
    assert "`--chunk` must be left out for a network that was trained without `model.streaming`" in err


def test_a_microphone_needs_its_package(
    streaming: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    err = complaint(transcribe.main, [str(streaming.folder), "--chunk", "320ms", "microphone"], capsys)
    assert "must find the package sounddevice" in err
    assert "pip install -e '.[microphone]'" in err


def alsa_microphone(home: Path, samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> None:
    """Make ``samples`` what the default device of ALSA records for the user with ``home``."""
    home.mkdir()
    (samples / np.float32(32768)).astype("<f4").tofile(home / "speech.raw")
    (home / ".asoundrc").write_text(
        'pcm.!default {\n type plug\n slave.pcm "speech"\n}\n'
        f'pcm.speech {{\n type file\n slave.pcm "null"\n file "/dev/null"\n infile "{home}/speech.raw"\n}}\n'
    )


def needs_portaudio() -> None:
    try:
        import_module("sounddevice")
    except (ImportError, OSError) as e:
        pytest.skip(f"needs sounddevice and PortAudio: {e}")


@pytest.mark.skipif(sys.platform != "linux", reason="ALSA, which hides the microphone, is Linux's")
def test_a_missing_microphone_is_one_line(streaming: Run, tmp_path: Path) -> None:
    needs_portaudio()
    env = environment(tmp_path)
    Path(env["HOME"]).mkdir()
    Path(env["HOME"], ".asoundrc").write_text("pcm.!default {\n type hw\n card 99\n}\n")
    process = subprocess.run(
        [sys.executable, "-m", "supernet.transcribe", streaming.folder, "--chunk", "320ms", "microphone"],
        capture_output=True,
        env=env,
        text=True,
    )
    assert process.returncode == 2
    errors = [line for line in process.stderr.splitlines() if not line.startswith("ALSA lib ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: `RECORDING` microphone must find a microphone, but does not (")


@pytest.mark.skipif(sys.platform != "linux", reason="ALSA, which plays the microphone, is Linux's")
def test_a_microphone_is_recognized_until_ctrl_c(streaming: Run, tmp_path: Path) -> None:
    """Through PortAudio, from a device of ALSA that reads a file."""
    needs_portaudio()
    pause = np.zeros(3 * SAMPLE_RATE, np.int16)
    heard = np.concatenate([integers(1), pause, integers(2), pause])
    expected = texts(streaming.folder, heard)
    env = environment(tmp_path)
    alsa_microphone(Path(env["HOME"]), heard)
    command = [sys.executable, "-m", "supernet.transcribe", str(streaming.folder), "--size", "4"]
    with subprocess.Popen(
        [*command, "--chunk", "320ms", "microphone"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        found = [process.stdout.readline().removesuffix("\n") for _ in expected[:-1]]
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        notes = process.stderr.read()
        assert process.wait(timeout=60) == 0, notes
    assert found
    assert found == expected[:-1]
    assert " s of audio: first word " in notes
