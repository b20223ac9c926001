"""Vocabularies, features and formats of checkpoints, and clear errors on unusable ones."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
import transformers
from safetensors.torch import load_file, save_file

from supernet import Recognizer
from supernet.errors import ConfigError, UserError
from supernet.network.supernet_ctc import SupernetCTC
from supernet.pretrained.reading import read_checkpoint
from supernet.runs.checkpoint_model import open_checkpoint
from supernet.runs.pretrained import begin
from supernet.runs.resolve import resolve
from tests.supernet.pretrained.folders import NUM_PIECES, TEXTS, VARIANTS, rewrite_as_release_5, speech, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "checkpoint", VARIANTS["wav2vec2-base"])
    return tmp_path / "checkpoint"


def change(file: Path, **values: Any) -> None:
    data = {**json.loads(file.read_text()), **values}
    file.write_text(json.dumps({name: x for name, x in data.items() if x is not None}))


def problems(folder: Path) -> list[str]:
    with pytest.raises(UserError) as e:
        open_checkpoint(folder)
    return str(e.value).splitlines()


def test_the_text_equals_that_of_the_tokenizer(folder: Path, tmp_path: Path) -> None:
    recognizer = Recognizer.load(folder)
    assert (recognizer.size, recognizer.sizes) == (4, (4,))
    (samples,) = speech([40_000])
    soundfile.write(tmp_path / "a.wav", samples.numpy(), 16_000, subtype="FLOAT")
    model = transformers.AutoModelForCTC.from_pretrained(folder)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    inputs = extractor(samples.numpy(), sampling_rate=16_000, return_tensors="pt")
    ids = model.eval()(**inputs).logits[0].argmax(-1)
    expected = transformers.AutoTokenizer.from_pretrained(folder).decode(ids)
    assert len(set(expected)) > 1
    assert recognizer.transcribe(tmp_path / "a.wav").text.split() == expected.split()


def test_the_blank_may_be_in_any_row_of_the_head(folder: Path) -> None:
    change(folder / "vocab.json", **{"<pad>": 9, "E": 0})
    checkpoint = read_checkpoint(folder)
    assert checkpoint.tokens.symbols[0] == "<blk>"
    assert checkpoint.tokens.symbols[1:6] == ("E", "<s>", "</s>", "<unk>", " ")
    assert list(checkpoint.order) == [9, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert [checkpoint.tokens.decode([1, 5, 6])] == ["E a"]


def test_added_tokens_beyond_the_head_are_ignored(folder: Path) -> None:
    (folder / "added_tokens.json").write_text('{"<more>": 10}')
    assert len(read_checkpoint(folder).tokens) == 10


def test_tokens_have_the_case_of_the_tokenizer(folder: Path) -> None:
    change(folder / "tokenizer_config.json", do_lower_case=True)
    assert read_checkpoint(folder).tokens.symbols[-5:] == tuple("abcde")


@pytest.mark.parametrize("form", ["shards", "pickled", "pickled shards", "half precision", "old weight norm"])
def test_every_format_of_tensors_gives_the_same_network(folder: Path, form: str) -> None:
    expected = open_checkpoint(folder).recognizer.state_dict()
    tensors = load_file(folder / "model.safetensors")
    if form == "half precision":
        save_file({name: x.half() for name, x in tensors.items()}, folder / "model.safetensors")
    elif form == "old weight norm":
        ends = {
            "parametrizations.weight.original0": "weight_g",
            "parametrizations.weight.original1": "weight_v",
        }
        for old, new in ends.items():
            tensors = {name.replace(old, new): x for name, x in tensors.items()}
        save_file(tensors, folder / "model.safetensors")
    else:
        os.remove(folder / "model.safetensors")
        is_safe, names = not form.startswith("pickled"), sorted(tensors)
        parts = [names[::2], names[1::2]] if "shards" in form else [names]
        stem, end = ("model", "safetensors") if is_safe else ("pytorch_model", "bin")
        index: dict[str, str] = {}
        for i, part in enumerate(parts):
            file = f"{stem}-{i}.{end}" if len(parts) > 1 else f"{stem}.{end}"
            chosen = {name: tensors[name] for name in part}
            save_file(chosen, folder / file) if is_safe else torch.save(chosen, folder / file)
            index |= dict.fromkeys(part, file)
        if len(parts) > 1:
            (folder / f"{stem}.{end}.index.json").write_text(json.dumps({"weight_map": index}))
    found = open_checkpoint(folder).recognizer.state_dict()
    tolerance = 1e-2 if form == "half precision" else 0
    for name, x in expected.items():
        torch.testing.assert_close(found[name], x, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("name", ["wav2vec2-large", "hubert-base", "w2v-bert", "parakeet"])
def test_a_folder_of_release_5_gives_the_same_network(tmp_path: Path, name: str) -> None:
    write(tmp_path, VARIANTS[name])
    before, expected = read_checkpoint(tmp_path), open_checkpoint(tmp_path)
    rewrite_as_release_5(tmp_path)
    now, found = read_checkpoint(tmp_path), open_checkpoint(tmp_path)
    assert before.features
    assert (now.features, now.configuration) == (before.features, before.configuration)
    assert (now.tokens, now.order) == (before.tokens, before.order)
    assert found.recognizer.config == expected.recognizer.config
    for key, x in expected.recognizer.state_dict().items():
        assert torch.equal(found.recognizer.state_dict()[key], x)


def test_the_features_of_a_folder_in_both_layouts_are_those_of_their_own_file(folder: Path) -> None:
    processor = {"feature_extractor": {"do_normalize": False, "sampling_rate": 8000}}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    assert read_checkpoint(folder).features["do_normalize"] is True
    assert not read_checkpoint(folder).problems


@pytest.mark.parametrize(
    ("processor", "part"),
    [
        (
            {"feature_extractor": {"sampling_rate": 8000}},
            "processor_config.json' must have a `sampling_rate`",
        ),
        ({"processor_class": "Wav2Vec2Processor"}, "processor_config.json' must have a `feature_extractor`"),
        ({"feature_extractor": []}, "processor_config.json' must have a `feature_extractor`"),
        ([], "processor_config.json' must"),
    ],
)
def test_unusable_features_of_release_5_are_errors(folder: Path, processor: object, part: str) -> None:
    rewrite_as_release_5(folder)
    (folder / "processor_config.json").write_text(json.dumps(processor))
    (problem,) = problems(folder)
    assert part in problem


class Evil:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.file}",)


def test_no_code_in_a_pickle_is_run(folder: Path, tmp_path: Path) -> None:
    os.remove(folder / "model.safetensors")
    torch.save({"lm_head.weight": Evil(tmp_path / "ran")}, folder / "pytorch_model.bin")
    (problem,) = problems(folder)
    assert "pytorch_model.bin' must hold tensors alone, but" in problem
    assert not (tmp_path / "ran").exists()


def test_all_problems_are_reported_together(folder: Path) -> None:
    change(folder / "preprocessor_config.json", sampling_rate=8000)
    change(folder / "vocab.json", E=None)
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.bias"]
    tensors["decoder.weight"] = torch.zeros(2)
    save_file(tensors, folder / "model.safetensors")
    found = problems(folder)
    assert len(found) == 4
    for line, part in zip(
        found,
        [
            "preprocessor_config.json' must have a `sampling_rate` of 16000, but has 8000.",
            "vocab.json' must have one token for each of the 10 outputs of the head, but has 9 tokens",
            "must have the tensor 'lm_head.bias', but has not.",
            "must have the tensors of its model only, but has 'decoder.weight'.",
        ],
        strict=True,
    ):
        assert part in line


def test_missing_shards_are_an_error(folder: Path) -> None:
    os.rename(folder / "model.safetensors", folder / "model-1.safetensors")
    index = {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-3.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    found = problems(folder)
    assert [line.split("/")[-1] for line in found] == [
        "model-2.safetensors' must exist, but is missing.",
        "model-3.safetensors' must exist, but is missing.",
    ]


def test_shards_must_be_next_to_their_index(folder: Path) -> None:
    os.rename(folder / "model.safetensors", folder.parent / "model.safetensors")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../model.safetensors"}}')
    (problem,) = problems(folder)
    assert "must name files beside it, but names '../model.safetensors' instead." in problem


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"architectures": ["Wav2Vec2ForPreTraining"]}, "must describe a model with a CTC head"),
        ({"architectures": ["WhisperForConditionalGeneration"]}, "must describe one of Wav2Vec2ForCTC"),
        ({"architectures": None, "model_type": "bert"}, "but describes bert instead"),
        ({"conv_stride": [5, 2, 2, 2, 2, 2, 1]}, "must have the kernels and strides of the published"),
        ({"add_adapter": True}, "must have no convolutions after the encoder"),
        ({"vocab_size": "many"}, "must have a `vocab_size` of at least 2, but has many instead"),
        ({"hidden_act": "magic"}, "magic"),
        ({"hidden_size": 24}, "of shape"),
        ({"num_attention_heads": 5}, "`model.dim` must be even and a multiple of `model.num_heads` (5)"),
    ],
)
def test_other_networks_are_errors(folder: Path, changes: dict[str, Any], part: str) -> None:
    change(folder / "config.json", **changes)
    found = problems(folder)
    assert any(part in line for line in found), found


@pytest.mark.parametrize("name", ["vocab.json", "preprocessor_config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\x00\x01"])
def test_damaged_files_are_errors(folder: Path, name: str, content: bytes | None) -> None:
    os.remove(folder / name)
    if content is not None:
        (folder / name).write_bytes(content)
    (problem,) = problems(folder)
    assert name in problem


@pytest.mark.parametrize("kind", ["BPE", "Unigram"])
def test_pieces_equal_those_of_the_tokenizer(tmp_path: Path, kind: str) -> None:
    write(tmp_path, VARIANTS["parakeet"])
    if kind == "Unigram":
        file = tmp_path / "tokenizer.json"
        data = json.loads(file.read_text())
        pieces = sorted(data["model"]["vocab"], key=data["model"]["vocab"].__getitem__)
        scored = [[piece, -1.0 - len(piece) % 3] for piece in pieces]
        file.write_text(json.dumps({**data, "model": {"type": "Unigram", "unk_id": 0, "vocab": scored}}))
    checkpoint, theirs = read_checkpoint(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    tokens, order = checkpoint.tokens, list(checkpoint.order)
    assert tokens.kind == "pieces"
    assert order[0] == NUM_PIECES - 1
    for text in [*TEXTS, "a", "tenth"]:
        ids = theirs(text)["input_ids"]
        if kind == "BPE":
            assert [order[i] for i in tokens.encode_known(text)] == [i for i in ids if i != 0]
        assert tokens.decode([order.index(i) for i in ids if i != 0]) == theirs.decode(
            [i for i in ids if i != 0], group_tokens=False
        )


def test_a_recording_is_transcribed_with_pieces(tmp_path: Path) -> None:
    write(tmp_path, VARIANTS["parakeet"])
    (samples,) = speech([40_000])
    recognizer = Recognizer.load(tmp_path)
    assert repr(recognizer).endswith("size=4, sizes=(4,), tokens=25, device='cpu')")
    result = recognizer.transcribe(samples, 16_000)
    assert result.text
    assert all(word.end <= result.seconds + 0.08 for word in result.words)


@pytest.mark.parametrize(
    ("file", "changes", "part"),
    [
        ("tokenizer.json", {"model": {"type": "WordPiece", "vocab": {}}}, "of type Unigram or BPE"),
        ("tokenizer.json", {"added_tokens": []}, "must have one token for each of the 25 outputs"),
        (
            "config.json",
            {"encoder_config": {"subsampling_factor": 4}},
            "`subsampling_factor` of 8, but has 4",
        ),
        ("config.json", {"encoder_config": None}, "must have an `encoder_config`"),
        ("preprocessor_config.json", {"hop_length": 80}, "hop_length"),
        (
            "preprocessor_config.json",
            {"feature_size": 128},
            "`feature_size` of 80, as the encoder's `num_mel_bins`",
        ),
    ],
)
def test_other_fast_conformers_are_errors(
    tmp_path: Path, file: str, changes: dict[str, Any], part: str
) -> None:
    write(tmp_path, VARIANTS["parakeet"])
    change(tmp_path / file, **changes)
    found = problems(tmp_path)
    assert any(part in line for line in found), found


def test_a_training_can_start_from_a_checkpoint(folder: Path) -> None:
    config = resolve([{"model": {"init": str(folder)}, "sizes": [2, 4]}]).config
    assert config.model.encoder.name == "hf-wav2vec2"
    assert (config.model.num_layers, config.model.dropout) == (4, 0.1)
    assert config.task.options["input"] == "samples"
    whole = open_checkpoint(folder)
    net = SupernetCTC(config, len(whole.tokens))
    begin(net, whole.tokens)
    for name, x in whole.recognizer.state_dict().items():
        if name.startswith(("frontend.", "encoder.")):
            assert torch.equal(net.state_dict()[name], x)
    shutil.rmtree(folder)
    with pytest.raises(ConfigError, match="must be a run folder, a cut model, a fairseq2 asset card"):
        resolve([{"model": {"init": str(folder)}}])


def test_a_training_from_an_invalid_configuration_is_an_error(folder: Path) -> None:
    change(folder / "config.json", conv_dim=[12])
    with pytest.raises(ConfigError) as e:
        resolve([{"model": {"init": str(folder)}}])
    (problem,) = e.value.problems
    assert problem.startswith("`model.init` must have a valid configuration, but")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"feature_projection_input_dim": 80}, "`feature_projection_input_dim` of 160, but has 80 instead"),
        ({"use_intermediate_ffn_before_adapter": True}, "of False, but has True instead"),
        ({"add_adapter": True}, "must have no convolutions after the encoder"),
    ],
)
def test_other_variants_of_w2v_bert_are_refused(tmp_path: Path, changes: dict[str, Any], part: str) -> None:
    write(tmp_path, VARIANTS["w2v-bert"])
    change(tmp_path / "config.json", **changes)
    found = problems(tmp_path)
    assert any(part in line for line in found), found
