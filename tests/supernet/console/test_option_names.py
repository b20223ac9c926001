"""Translation of the library's messages into options of a command."""

from __future__ import annotations

from supernet.console.option_names import option_names, setting_options


def test_names_of_arguments_become_options() -> None:
    text = "`lm_weight` must go with `lm`, but `folder` 'lm' has `other`."
    assert option_names(text, ["lm", "lm_weight", "folder"]) == (
        "`--lm-weight` must go with `--lm`, but `RUN` 'lm' has `other`."
    )


def test_settings_with_values_become_options() -> None:
    text = "Use `task.vocab_size=30`, `task.noise.snr=[5,5]` or `vocab_size`, as `a=b` and `--set task.a=b`."
    assert setting_options(text) == (
        "Use `--set task.vocab_size=30`, `--set task.noise.snr=[5,5]` or `vocab_size`, as `a=b` and "
        "`--set task.a=b`."
    )
