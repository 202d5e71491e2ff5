"""Calibrations: the temperature that turns the similarities of an encoder's layer into probabilities of choices."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from vidsim.check import at_least
from vidsim.errors import VidsimError
from vidsim.paths import root_option
from vidsim.retrieval.artefacts import Artefacts, artefacts

FORMAT = 1


@dataclass(frozen=True)
class Calibration:
    """Hold what was fitted to judgments, and how well it does on stimuli that it was not fitted to.

    Parameters
    ----------
    encoder, layer : str
        Whose cosine similarities.
    temperature : float
        Above 0, in the unit of the similarities (`vidsim.analysis.choice.odd_probabilities`).
    judgments : str
        Name or place of the judgments.
    identity : mapping
        JSON-able facts that determine the embeddings, as their table in the store has them.
    trials : int
        Trials that the temperature was fitted to.
    nll : float
        Negative log-likelihood a trial, in nats, held out; chance is ln 3.
    ece : float
        Expected calibration error, 0 to 1, held out.
    created : str
        Moment, ISO 8601, UTC.
    versions : mapping of str to str
        Of libraries.
    split : str or None
        Stimuli whose judgments those are; None for all, or where the file does not say.

    Raises
    ------
    VidsimError
        If the temperature is not above 0, or a number is not finite.
    """

    encoder: str
    layer: str
    temperature: float
    judgments: str
    identity: Mapping[str, Any]
    trials: int
    nll: float
    ece: float
    created: str
    versions: Mapping[str, str]
    split: str | None = None

    def __post_init__(self) -> None:
        for name in ("temperature", "nll", "ece"):
            object.__setattr__(self, name, _finite(name, getattr(self, name)))  # numpy's own make no JSON
        if not self.temperature > 0:
            raise VidsimError(f"temperature {self.temperature:g}: expected a number above 0")
        at_least(0, trials=self.trials)
        object.__setattr__(self, "trials", int(self.trials))

    @property
    def summary(self) -> dict[str, Any]:
        """Say in JSON-able form what it was fitted to, how well it does, and when it was made."""
        return {name: getattr(self, name) for name in ("judgments", "split", "trials", "nll", "ece", "created")}

    def write(self, root: str) -> str:
        """Write it to ``calibration/ENCODER/LAYER.json`` of an artefact root, in place of an earlier one.

        Parameters
        ----------
        root : str
            Artefact root, a folder or URI.

        Returns
        -------
        str
            The file's place.

        Raises
        ------
        VidsimError
            If it cannot be written; what was there is then unchanged.
        """
        folder, name = _file(root, self.encoder, self.layer)
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True, allow_nan=False)
        folder.put(name, lambda path: _write(path, text))
        return f"{folder.place}/{name}"

    def check(self, identity: Mapping[str, Any], root: str) -> None:
        """Refuse embeddings that are not those it was made from.

        Parameters
        ----------
        identity : mapping
            Of the embeddings at hand, as their table or the manifest of their index has it.
        root : str
            Artefact root, named in the advice.

        Raises
        ------
        VidsimError
            If theirs is another.
        """
        if json.dumps(identity, sort_keys=True) != json.dumps(self.identity, sort_keys=True):
            wanted, used = captions_of(identity), captions_of(self.identity)
            again = advice(self.encoder, self.layer, root, self.judgments, self.split, wanted)
            other = "other embeddings (weights, sampling or preprocessing changed)"
            if None not in {wanted, used} and wanted != used:
                other = f"embeddings of --captions {used}, not {wanted}"
            raise VidsimError(
                f"the calibration of {self.encoder} {self.layer} was made from {other}; make it again: {again}"
            )


def read(root: str, encoder: str, layer: str) -> Calibration | None:
    """Read a calibration.

    Parameters
    ----------
    root : str
        Artefact root, a folder or URI.
    encoder, layer : str
        Whose.

    Returns
    -------
    Calibration or None
        None where none has been made.

    Raises
    ------
    VidsimError
        If the file is damaged, or of a newer vidsim.
    """
    folder, name = _file(root, encoder, layer)
    try:
        with folder.get(name) as path:
            content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:  # neither JSON nor text
        content = None
    place = f"{folder.place}/{name}"
    found = content.get("format") if isinstance(content, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise VidsimError(f"{place!r} has format {found}, this vidsim reads up to {FORMAT}; upgrade vidsim")
    calibration = _calibration(content)
    if calibration is None or (calibration.encoder, calibration.layer) != (encoder, layer):
        raise VidsimError(f"{place!r} is damaged; make it again: {advice(encoder, layer, root)}")
    return calibration


def find(root: str, encoder: str, layer: str, identity: Mapping[str, Any]) -> Calibration | None:
    """Read a calibration, which must have been made from the embeddings at hand.

    Parameters
    ----------
    root : str
        Artefact root, a folder or URI.
    encoder, layer : str
        Whose.
    identity : mapping
        As `Calibration.check` takes it.

    Returns
    -------
    Calibration or None
        None where none has been made.

    Raises
    ------
    VidsimError
        If the file is damaged, of a newer vidsim, or of other embeddings.
    """
    calibration = read(root, encoder, layer)
    if calibration is not None:
        calibration.check(identity, root)
    return calibration


def captions_of(identity: Mapping[str, Any]) -> str | None:
    """Tell which captions embeddings are of.

    Parameters
    ----------
    identity : mapping
        As `Calibration.check` takes it.

    Returns
    -------
    str or None
        ``"mean"`` or ``"first"``; None of an encoder that reads none.
    """
    features = identity.get("features")
    return features.get("captions") if isinstance(features, Mapping) else None


def advice(
    encoder: str,
    layer: str,
    root: str,
    judgments: str = "NAME",
    split: str | None = None,
    captions: str | None = None,
) -> str:
    """Say by which command a calibration is made.

    Parameters
    ----------
    encoder, layer : str
        Whose.
    root : str
        Artefact root.
    judgments : str
        Their name.
    split : str, optional
        Their split; None for all stimuli.
    captions : str, optional
        Which the embeddings are of; None of an encoder that reads none.

    Returns
    -------
    str
        A command for the shell.
    """
    from shlex import join

    part = [] if split is None else ["--split", split]
    read = [] if captions in {None, "mean"} else ["--captions", str(captions)]
    words = ["vidsim", "calibrate", f"{encoder}:{layer}", "--judgments", judgments, *part, *read]
    return f"{join(words)}{root_option(root)}"


def now() -> str:
    """Return the moment, as calibrations note it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _file(root: str, encoder: str, layer: str) -> tuple[Artefacts, str]:
    return artefacts(root, "calibration", quote(encoder, safe="")), f"{quote(layer, safe='')}.json"


def _finite(name: str, value: object) -> float:
    if not isinstance(value, int | float | np.integer | np.floating) or not isfinite(value):
        raise VidsimError(f"{name} {value!r}: expected a finite number")
    return float(value)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _calibration(content: Any) -> Calibration | None:
    """Take what stands in a file; None where that is not a whole calibration."""
    match content:
        case {
            "encoder": str(),
            "layer": str(),
            "temperature": float(),
            "judgments": str(),
            "identity": {**_identity},
            "trials": int(),
            "nll": float(),
            "ece": float(),
            "created": str(),
            "versions": {**_versions},
        } if isinstance(content.get("split"), str | None):
            with suppress(VidsimError):
                return Calibration(**{field.name: content.get(field.name) for field in fields(Calibration)})
        case _:
            pass
    return None
