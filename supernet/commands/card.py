"""Model cards of cut models and exports."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from supernet.console.front import program
from supernet.errors import UserError
from supernet.export.acceptance import FileCheck
from supernet.export.kinds import kind_of
from supernet.network.model_costs import macs
from supernet.network.supernet_ctc import SupernetCTC, num_parameters
from supernet.recognition.streaming.chunk_option import chunking_of
from supernet.reporting.model_card import CardSource, Rate, SizeFacts, card
from supernet.runs.background import CARD, background_of
from supernet.runs.cut_model import Cut
from supernet.runs.records import ResultsRecord, SizeRecord, checked
from supernet.runs.run import Run
from supernet.scoring.error_rates import Measure, score
from supernet.system.files import write_whole

MEASURES: tuple[Measure, Measure] = ("wer", "cer")
_TORCH = 'from supernet import Recognizer\n\nprint(Recognizer.load(".").transcribe("speech.wav").text)'
USAGE = {
    "torch": _TORCH,
    "huggingface": "from transformers import pipeline  # reads files with ffmpeg\n\n"
    'recognize = pipeline("automatic-speech-recognition", model=".")\nprint(recognize("speech.wav")["text"])',
}
"""By format, a program that uses the files in the current folder."""
RECOGNIZE = (
    "import sherpa_onnx, soundfile; "
    "r = sherpa_onnx.OfflineRecognizer.{kind}(model={model!r}, tokens={tokens!r}{more}); "
    "s = r.create_stream(); a, rate = soundfile.read('speech.wav', dtype='float32'); "
    "s.accept_waveform(rate, a); r.decode_stream(s); print(s.result.text)"
)
"""A program that uses an export as a phone does."""
RECOGNIZE_LIVE = (
    "import numpy, sherpa_onnx, soundfile; "
    "r = sherpa_onnx.OnlineRecognizer.from_wenet_ctc(model={model!r}, tokens={tokens!r}{more}); "
    "s = r.create_stream(); a, rate = soundfile.read('speech.wav', dtype='float32'); "
    "s.accept_waveform(rate, numpy.pad(a, (0, rate))); "
    "[r.decode_stream(s) for _ in iter(lambda: r.is_ready(s), False)]; print(r.get_result(s))"
)
"""Likewise, chunk by chunk; a second of silence fills the last one."""
LIBRARIES = {"huggingface": "transformers", "sherpa-onnx": "sherpa-onnx", "onnx": "onnx"}
"""By format, the library that reads the files, by its name on Hugging Face."""


def sherpa_program(recognizer: SupernetCTC, model: str, tokens: str, chunk: str | None = None) -> str | None:
    """A program that recognizes with the files of an export by sherpa-onnx, if that can run them; live if
    they are for chunks of a duration.
    """
    if (kind := kind_of(recognizer)).problem(recognizer) is not None:
        return None
    if chunk is not None:
        chunking = chunking_of(recognizer, chunk)
        more = f", chunk_size={chunking.frames}, num_left_chunks={chunking.left}"
        return RECOGNIZE_LIVE.format(more=more, model=model, tokens=tokens)
    more = "".join(f", {name}={value}" for name, value in kind.arguments(recognizer).items())
    return RECOGNIZE.format(kind=kind.constructor, more=more, model=model, tokens=tokens)


def made_by(name: str, words: Iterable[str]) -> str:
    """The command line of ``name``. Of absolute paths, only the last part is public."""
    shown = (Path(word).name if Path(word).is_absolute() else word for word in words)
    return f"{program(name)} {shlex.join(shown)}"


def write_card(
    run: Run,
    cuts: Iterable[tuple[Cut, Sequence[FileCheck]]],
    folder: Path,
    command: str,
    format: str,
    usage: str | None = None,
) -> None:
    """Write the card of a cut model, or of exported files, into ``folder``.

    Args:
        run: The run, or the checkpoint, of the cuts.
        cuts: The sizes in the folder, and the checks of their files.
        folder: The folder of the files.
        command: The command that made them.
        format: Their format.
        usage: A program that uses them. None: that of the format.
    """
    known = background_of(run.folder)
    source = CardSource(
        f"{run.name} {folder.resolve().name}",
        known,
        (command,),
        USAGE.get(format, "") if usage is None else usage,
        LIBRARIES.get(format),
    )
    write_whole(folder / CARD, card(source, [facts(run, cut, checks, folder) for cut, checks in cuts]))


def facts(run: Run, cut: Cut, checks: Sequence[FileCheck], folder: Path) -> SizeFacts:
    """The facts of a size; without ``checks``, it is the only one in ``folder``."""
    network, subnet, budget = cut.model.recognizer, cut.subnet, cut.provenance["budget"]
    files = {check.file: check.num_bytes for check in checks}
    files = files or {file.name: file.stat().st_size for file in folder.glob("*.safetensors")}
    rates, known = list[Rate](), None
    if not {"layers", "weights"} & cut.provenance.keys():  # else they are of other weights
        known = _recorded(run, subnet.kept)
        rates = _rates(run, cut, known)
    for check in checks:
        if check.rate is not None and not check.exact:
            rates.append(Rate(check.measure, check.rate, of=check.file))
        elif check.rate is not None and not any(rate.of is None for rate in rates):
            rates.insert(0, Rate(check.measure, check.rate))
    rtf, is_busy = (None, False) if known is None else (known.rtf, known.rtf_busy)
    return SizeFacts(budget, subnet.kept, num_parameters(network), macs(network), rates, rtf, is_busy, files)


def _recorded(run: Run, kept: Sequence[str]) -> SizeRecord | None:
    """The entry of a subnet in the results of ``run``."""
    try:
        results = checked(ResultsRecord, run.results(), run.results_file)
    except (UserError, OSError):
        return None
    return next((size for size in results.sizes.values() if {*size.kept} == {*kept}), None)


def _rates(run: Run, cut: Cut, known: SizeRecord | None) -> list[Rate]:
    """The error rates on the test split of a size that was scored, in the results or by its transcripts."""
    if known is not None:
        return [Rate(measure, known.rate(measure), known.interval(measure)) for measure in MEASURES]
    try:
        rows = run.transcripts(f"test-{cut.provenance['selection']}-{cut.provenance['budget']}")
        found = score([reference for _, reference, _ in rows], [hypothesis for _, _, hypothesis in rows])
    except (UserError, OSError, ValueError, KeyError):
        return []
    return [Rate("wer", found.wer, found.wer_ci95), Rate("cer", found.cer, found.cer_ci95)]
