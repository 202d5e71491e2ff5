"""The configuration of LoRA weights as PEFT writes it, read strictly."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from peft import LoraConfig

from vidsim.adapt.manifest import RESTORE, Kind, check_facts
from vidsim.errors import VidsimError

CONFIG = "adapter_config.json"
"""What PEFT calls the file."""


def _only(value: Any) -> Kind:
    return json.dumps(value), lambda found: found == value


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


SETTINGS: Mapping[str, Kind] = {
    "r": ("a whole number, at least 1", lambda value: type(value) is int and value >= 1),
    "lora_alpha": ("a number above 0", lambda value: _number(value) and 0 < value < float("inf")),
    "lora_dropout": ("a number, at least 0 and below 1", lambda value: _number(value) and 0 <= value < 1),
    "target_modules": (
        "a list of names",
        lambda value: isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value),
    ),
}
"""What `attach` chooses of PEFT's configuration, and `read_lora_config` reads."""

NOTES = frozenset({"base_model_name_or_path", "revision", "peft_version", "inference_mode"})
"""What shapes no embedding. All else is as PEFT has it by itself."""


def write_lora_config(config: LoraConfig, folder: Path) -> None:
    """Write PEFT's configuration of an adapter, the same bytes for the same training: PEFT's order of names is random.

    Parameters
    ----------
    config : LoraConfig
        Of `vidsim.adapt.attached.attach`.
    folder : Path
        The adapter's folder.
    """
    made = replace(config, inference_mode=True)
    made.target_modules = sorted(made.target_modules or ())  # a set before  # pyright: ignore[reportAttributeAccessIssue]
    made.save_pretrained(os.fspath(folder))


def read_lora_config(path: Path) -> LoraConfig:
    """Read PEFT's configuration of an adapter.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    LoraConfig
        What `vidsim.adapt.attached.attach` chose.

    Raises
    ------
    VidsimError
        If it cannot be read, or says what `attach` would not have chosen, which PEFT may ignore or trip over.
    """
    where = repr(os.fspath(path))
    try:
        facts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise VidsimError(f"{where} of the adapter cannot be read: {error}; {RESTORE}") from error
    if not isinstance(facts, dict):
        raise VidsimError(f"{where} is no JSON object; {RESTORE}")
    plain = json.loads(json.dumps(LoraConfig().to_dict()))
    # what another version of PEFT knows and leaves off says nothing
    told = {key: value for key, value in facts.items() if key not in NOTES and (value or key in plain)}
    check_facts(where, told, {**{key: _only(value) for key, value in plain.items() if key in told}, **SETTINGS})
    return LoraConfig(**{key: facts[key] for key in SETTINGS}, inference_mode=True)
