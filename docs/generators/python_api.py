"""The pages of the Python API: which names they show, for mkdocstrings to take from the docstrings."""

from __future__ import annotations

import importlib

INTRODUCTION = """\
# Python API

The library takes Python objects and raises errors that name arguments; it never speaks of command-line
options. What is not listed here may change without notice.

"""
PUBLIC = {
    "Using a trained run": (
        "supernet.recognizer:Recognizer",
        "supernet.recognition.transcript:Transcript",
        "supernet.recognition.streaming.speech_stream:SpeechStream",
        "supernet.recognition.beam:BeamConfig",
    ),
    "On a device": (
        "supernet.runtime.device_recognizer:DeviceRecognizer",
        "supernet.runtime.export_folder:Size",
        "supernet.runtime.device_stream:DeviceStream",
    ),
    "Training": (
        "supernet.trainer:train_run",
        "supernet.trainer:TrainingListener",
        "supernet.runs.resolve:resolve",
    ),
    "Strategies": (
        "selection.strategy:Strategy",
        "selection.strategy:Ranking",
        "selection.evidence:Evidence",
        "supernet.budget:Budget",
        "supernet.budget:Prices",
        "selection.contract:StrategyContract",
    ),
    "Methods": (
        "supernet.method:Method",
        "supernet.method:Phase",
        "supernet.method:Progress",
        "supernet.method:Moment",
        "supernet.plan:Plan",
        "supernet.plan:Pass",
        "supernet.scorer:Scorer",
        "supernet.scorer:Context",
    ),
    "Tasks": (
        "supernet.task:Task",
        "supernet.task:Batch",
        "supernet.task:BatchReader",
        "supernet.task:Skipped",
    ),
    "Encoders": (
        "supernet.encoder_family:EncoderFamily",
        "supernet.encoder_family:Frontend",
        "supernet.encoder_family:Decided",
    ),
    "Heads": ("supernet.head:Head",),
    "Granularities": (
        "supernet.granularity:Granularity",
        "supernet.network.granularities:ByModule",
        "supernet.network.branches:Branches",
        "supernet.network.branches:Branch",
        "supernet.network.walk:Walk",
    ),
    "Units": (
        "supernet.units:UnitTable",
        "supernet.units:Unit",
        "supernet.units:Module",
        "supernet.units:Subnet",
    ),
    "Errors": ("supernet.errors:UserError", "supernet.errors:ArgumentError"),
}
"""By heading, the objects of the public API."""


def page() -> str:
    """The page in Markdown."""
    return INTRODUCTION + "".join(
        f"## {heading}\n\n" + "".join(f"::: {_defined(place)}\n\n" for place in places)
        for heading, places in PUBLIC.items()
    )


def _defined(place: str) -> str:
    """The full name of an object in the module that defines it."""
    module, _, name = place.partition(":")
    kls = getattr(importlib.import_module(module), name)
    return f"{kls.__module__}.{kls.__qualname__}"
