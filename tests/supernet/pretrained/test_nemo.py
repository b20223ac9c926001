"""FastConformer-CTC checkpoints of NeMo: the same network as in `transformers`."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from sentencepiece import SentencePieceTrainer

from supernet import Recognizer
from supernet.errors import UserError
from supernet.export.acceptance import largest_difference
from supernet.export.eager import Eager
from supernet.export.huggingface import HuggingFace
from supernet.pretrained.reading import read_checkpoint
from supernet.runs.checkpoint_model import open_checkpoint
from tests.supernet.export.test_huggingface import cut_of
from tests.supernet.pretrained.folders import NUM_PIECES, TEXTS, VARIANTS, speech, their_log_probs, write
from tests.supernet.pretrained.test_reading import Evil
from tests.supernet.recognizing import log_probs

LENGTHS = [5000, 1600, 3217]
NAMES = {
    r"^encoder\.subsampling\.layers\.": "encoder.pre_encode.conv.",
    r"^encoder\.subsampling\.linear\.": "encoder.pre_encode.out.",
    r"^ctc_head\.": "decoder.decoder_layers.0.",
    r"\.conv\.norm\.": ".conv.batch_norm.",
    r"\.([qkv])_proj\.": r".linear_\1.",
    r"\.o_proj\.": ".linear_out.",
    r"\.relative_k_proj\.": ".linear_pos.",
    r"\.bias_([uv])$": r".pos_bias_\1",
}
"""Names of tensors in `transformers` and in NeMo."""


def settings() -> dict[str, Any]:
    """The settings that describe the network, as NeMo writes them."""
    return {
        "target": "nemo.collections.asr.models.ctc_bpe_models.EncDecCTCModelBPE",
        "preprocessor": {
            "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
            "sample_rate": 16_000,
            "normalize": "per_feature",
            "window_size": 0.025,
            "window_stride": 0.01,
            "window": "hann",
            "features": 80,
            "n_fft": 512,
            "log": True,
            "frame_splicing": 1,
            "dither": 1e-5,
        },
        "encoder": {
            "_target_": "nemo.collections.asr.modules.ConformerEncoder",
            "feat_in": 80,
            "n_layers": 4,
            "d_model": 16,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": 8,
            "ff_expansion_factor": 2,
            "self_attention_model": "rel_pos",
            "n_heads": 2,
            "att_context_size": [-1, -1],
            "xscaling": True,
            "conv_kernel_size": 9,
            "conv_norm_type": "batch_norm",
        },
        "decoder": {
            "_target_": "nemo.collections.asr.modules.ConvASRDecoder",
            "num_classes": NUM_PIECES - 1,
        },
        "tokenizer": {"type": "bpe", "model_path": "nemo:0123abc_tokenizer.model"},
    }


def pieces() -> bytes:
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 20),
        model_writer=model,
        vocab_size=NUM_PIECES - 1,
        model_type="bpe",
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    return model.getvalue()


def archive(file: Path, described: dict[str, Any], tensors: dict[str, Any], **more: bytes) -> Path:
    """Write a ``.nemo`` file."""
    weights = io.BytesIO()
    torch.save(tensors, weights)
    members = {
        "./model_config.yaml": yaml.safe_dump(described).encode(),
        "./model_weights.ckpt": weights.getvalue(),
        "./0123abc_tokenizer.model": pieces(),
        **more,
    }
    with tarfile.open(file, "w") as opened:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return file


def nemo_tensors(model: Any) -> dict[str, Any]:
    found = {"preprocessor.featurizer.window": torch.zeros(400)}
    for name, x in model.state_dict().items():
        for old, new in NAMES.items():
            name = re.sub(old, new, name)
        found[name] = x
    return found


@pytest.fixture
def model(tmp_path: Path) -> Any:
    """The network in `transformers`, whose checkpoint contains the settings of features."""
    return write(tmp_path / "theirs", VARIANTS["parakeet"])


def problems(file: Path) -> list[str]:
    with pytest.raises(UserError) as e:
        open_checkpoint(file)
    return str(e.value).splitlines()


def test_log_probabilities_equal_those_of_transformers(tmp_path: Path, model: Any) -> None:
    file = archive(tmp_path / "mine.nemo", settings(), nemo_tensors(model))
    ours, order = open_checkpoint(file), list(read_checkpoint(file).order)
    assert order[0] == NUM_PIECES - 1
    found = log_probs(ours.recognizer, ours.recognizer.table.full, speech(LENGTHS))
    expected = their_log_probs(tmp_path / "theirs", model, speech(LENGTHS))
    for actual_SV, expected_SV in zip(found, expected, strict=True):
        torch.testing.assert_close(actual_SV, expected_SV[:, order], atol=1e-5, rtol=1e-5)
    assert ours.tokens.decode(ours.tokens.encode("ten at tea")) == "ten at tea"
    assert Recognizer.load(file).transcribe(speech([30_000])[0], 16_000).text


LETTERS = [" ", *"abcdefghijklmnopqrstuvw"]


def without_biases(file: Path, model: Any) -> Path:
    """A checkpoint without biases, whose tokens are characters."""
    described = settings()
    described["encoder"]["use_bias"] = False
    del described["tokenizer"]
    described["labels"] = LETTERS
    kept = ("batch_norm", "norm_", "pre_encode", "decoder", "pos_bias")
    tensors = {
        name: x
        for name, x in nemo_tensors(model).items()
        if not name.endswith(".bias") or any(part in name for part in kept)
    }
    return archive(file, described, tensors)


def test_biases_may_be_missing_and_tokens_may_be_characters(tmp_path: Path, model: Any) -> None:
    found = open_checkpoint(without_biases(tmp_path / "mine.nemo", model))
    assert found.tokens.symbols == ("<blk>", *LETTERS)
    assert found.tokens.kind == "characters"
    assert not any(name.endswith("conv1.bias") for name in found.recognizer.state_dict())


@pytest.mark.parametrize("has_biases", [True, False])
def test_a_cut_goes_out_as_a_folder_of_transformers(tmp_path: Path, model: Any, has_biases: bool) -> None:
    file = tmp_path / "mine.nemo"
    if has_biases:
        archive(file, settings(), nemo_tensors(model))
    else:
        without_biases(file, model)
    small = cut_of(open_checkpoint(file))
    HuggingFace().write(small, tmp_path / "small")
    again, recognizer = open_checkpoint(tmp_path / "small"), small.model.recognizer
    assert (again.tokens.symbols, again.tokens.kind) == (small.model.tokens.symbols, small.model.tokens.kind)
    runtime = HuggingFace().open(tmp_path / "small" / "model.safetensors")
    assert largest_difference(runtime, Eager(recognizer), recognizer.input) < 1e-5
    full, found = recognizer.table.full, log_probs(again.recognizer, (True,) * 3, speech(LENGTHS))
    for actual_SV, expected_SV in zip(found, log_probs(recognizer, full, speech(LENGTHS)), strict=True):
        torch.testing.assert_close(actual_SV, expected_SV, atol=1e-5, rtol=1e-5)


def test_all_problems_are_reported_together(tmp_path: Path, model: Any) -> None:
    described = settings()
    described["encoder"] |= {"subsampling": "striding", "att_context_size": [70, 1]}
    described["preprocessor"]["sample_rate"] = 8000
    described["decoder"]["num_classes"] = 99
    found = problems(archive(tmp_path / "mine.nemo", described, nemo_tensors(model)))
    for part in (
        "encoder.subsampling dw_striding, but has striding instead.",
        "encoder.att_context_size [-1, -1], but has [70, 1] instead.",
        "preprocessor.sample_rate 16000, but has 8000 instead.",
        "must have one token for each of the 100 outputs of the head, but has 25 tokens",
        "must have the tensor 'ctc_head.weight' of shape [100, 16], but it is [25, 16].",
    ):
        assert sum(part in line for line in found) == 1, (part, found)


@pytest.mark.parametrize(
    ("section", "target", "part"),
    [
        (
            "encoder",
            "nemo.collections.asr.modules.SqueezeformerEncoder",
            "whose encoder is a ConformerEncoder",
        ),
        ("decoder", "nemo.collections.asr.modules.RNNTDecoder", "whose decoder is a ConvASRDecoder"),
    ],
)
def test_other_networks_are_errors(tmp_path: Path, model: Any, section: str, target: str, part: str) -> None:
    described = settings()
    described[section]["_target_"] = target
    (problem,) = problems(archive(tmp_path / "mine.nemo", described, nemo_tensors(model)))
    assert part in problem


def test_no_code_is_run_and_no_file_is_extracted(tmp_path: Path, model: Any) -> None:
    tensors = {**nemo_tensors(model), "decoder.decoder_layers.0.bias": Evil(tmp_path / "ran")}
    file = archive(tmp_path / "mine.nemo", settings(), tensors, **{"../outside": b"", "/tmp/absolute": b""})
    before = sorted(tmp_path.rglob("*"))
    (problem,) = problems(file)
    assert "mine.nemo: model_weights.ckpt' must hold tensors alone" in problem
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b"])
def test_damaged_archives_are_errors(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.nemo").write_bytes(content)
    (problem,) = problems(tmp_path / "mine.nemo")
    assert "mine.nemo' must" in problem
