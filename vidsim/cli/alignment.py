"""How encoders of the store compare with people: which layers, on which stimuli, with what result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vidsim.cli.judgments.source import load_split
from vidsim.cli.root import root_of
from vidsim.cli.seen import seen_in_training
from vidsim.cli.spaces import Space, captions_of, find_space, holds, table_of
from vidsim.errors import NoStore, VidsimError

if TYPE_CHECKING:
    from jaxtyping import Int
    from numpy import ndarray

    from vidsim.analysis.alignment import Alignment
    from vidsim.analysis.layers import LayerChoice
    from vidsim.rsm import RSM
    from vidsim.store import EmbeddingTable
    from vidsim.triplets import Triplets

AUTO = "auto"
ALL = "all"
TRAIN = "train"
FIT = "fit"


@dataclass(frozen=True)
class Question:
    """Hold what `vidsim align` was asked; judgments are read once, however many parts of the answer need them.

    Parameters
    ----------
    judgments : str
        Judgments in the store by name, a file or a folder.
    encoders : sequence of str
        Encoders, ``ENCODER:LAYER``, similarity matrices or files.
    split : str, optional
        Stimuli reported on.
    context : {"split", "any"}
        Which trials count for a pair.
    captions : {"mean", "first"}
        Which embeddings of encoders that read.
    layer : str
        ``"auto"``, ``"all"``, or a name.
    similarity : {"cosine", "pearson"}
        How embeddings are compared.
    protocol : {"default", "paper"}
        How reliability is told.
    over : {"stimuli", "participants", "both"}
        What the bootstrap resamples.
    against : str, optional
        The encoder that all others are compared with.
    resamples, seed : int
        Of the bootstrap.
    root : str
        Artefact root.
    neighbours : int, optional
        Neighbours that count where retrieval is scored; None where it is not.
    """

    judgments: str
    encoders: Sequence[str]
    split: str | None
    context: str
    captions: str
    layer: str
    similarity: str
    protocol: str
    over: str
    against: str | None
    resamples: int
    seed: int
    root: str
    neighbours: int | None = None
    _read: "dict[str | None, tuple[Triplets, Int[ndarray, ' u'], str | None]]" = field(
        default_factory=dict["str | None", Any], init=False, repr=False, compare=False
    )

    def trials(self, split: str | None) -> "tuple[Triplets, Int[ndarray, ' u']]":
        """Find what is known about a split's stimuli, and who judged it.

        Parameters
        ----------
        split : str, optional
            Name of the split; None for all stimuli.

        Returns
        -------
        tuple of Triplets and array of shape (u,)
            As `vidsim.analysis.reliability.restrict_people` gives them.

        Raises
        ------
        VidsimError
            If there are no such judgments, or no such split.
        """
        triplets, people, _ = self._found(split)
        return triplets, people

    def predicted(self, split: str | None) -> str | None:
        """Say whose predictions the judgments of a split are; None where people judged."""
        return self._found(split)[2]

    def _found(self, split: str | None) -> "tuple[Triplets, Int[ndarray, ' u'], str | None]":
        from vidsim.analysis.reliability import restrict_people
        from vidsim.data.judgments.predicted import note

        if split not in self._read:
            judgments, ids = load_split(self.judgments, self.root, split)
            who = judgments.participants[1][~judgments.catch]
            kept = restrict_people(judgments.triplets, who, judgments.ids if ids is None else ids)
            self._read[split] = (*kept, None if judgments.predicted is None else note(judgments.predicted))
        return self._read[split]


def measure(question: Question) -> dict[str, Any]:
    """Compare encoders with people.

    Parameters
    ----------
    question : Question
        What is asked.

    Returns
    -------
    dict
        What ``vidsim align --json`` prints.

    Raises
    ------
    VidsimError
        If an encoder, layer, split or stimulus is not there, or something cannot be compared.
    """
    from vidsim.analysis.agreement import agreement
    from vidsim.analysis.alignment import align
    from vidsim.analysis.odd_one_out import CHANCE
    from vidsim.analysis.quality import plain

    triplets, people = question.trials(question.split)
    if not len(triplets):
        raise VidsimError(f"no trial of {question.judgments!r} lies wholly within split {question.split or 'all'!r}")
    triplets = triplets.occurring(question.context)
    spaces: dict[str, tuple[dict[str, Any], RSM]] = {}
    for name in dict.fromkeys(question.encoders):
        spaces |= _spaces(question, name, tuple(triplets.ids))
    against = question.against
    if against is not None and against not in spaces:
        raise VidsimError(f"--against {against!r} is none of the encoders compared: {', '.join(spaces)}")
    if against is not None and len(spaces) == 1:
        raise VidsimError(
            f"--against {against!r} is the only encoder compared; give others with --encoders, or leave it out"
        )
    models = {name: rsm for name, (_, rsm) in spaces.items()}
    found = align(
        triplets,
        models,
        context=question.context,
        over=question.over,
        participants=people if question.context == "any" else people[: len(triplets)],
        against=against,
        resamples=question.resamples,
        seed=question.seed,
    )
    answers: list[dict[str, Any]] = [
        {"name": name, **_answer(question, triplets, spaces[name][0], alignment)}
        for name, alignment in found.models.items()
    ]
    answers.sort(key=lambda answer: -(answer["rho2"] if answer["rho"] > 0 else -answer["rho2"]))
    curves = None
    if any(answer["curve"] for answer in answers):
        split = _training(question.split)
        curves = {"split": split, **_reliability(question, question.trials(split)[0])}
    agreed = agreement(triplets, people[: len(triplets)], resamples=min(question.resamples, 1000), seed=question.seed)
    return plain(
        {
            "encoders": answers,
            "compared": [vars(difference) for difference in found.differences],
            **_reliability(question, triplets),
            "agreement": agreed.agreement,
            "agreement_interval": agreed.interval,
            "chance": CHANCE,
            "stimuli": len(triplets.ids),
            "judgments": question.judgments,
            "predicted": question.predicted(question.split),
            "over": question.over,
            "participants": len(set(people[people >= 0].tolist())),
            "retrieval": _retrieval(question, triplets, models),
            "curves": curves,
            "resamples": question.resamples,
            "seed": question.seed,
        }
    )


def _answer(question: Question, triplets: "Triplets", space: dict[str, Any], found: "Alignment") -> dict[str, Any]:
    """Say how closely a space matches people, and what was asked."""
    from vidsim.report.seen import SEEN

    return {
        **space,
        **{name: value for name, value in vars(found).items() if name != "accuracies"},
        **found.accuracies,
        "interval": found.intervals["rho"],
        "published": _published(space, question),
        SEEN: seen_in_training(space["encoder"], space["layer"], triplets.ids, question.root),
        "trials": len(triplets),
        **{name: getattr(question, name) for name in ("split", "context", "similarity", "protocol")},
    }


def _published(space: dict[str, Any], question: Question) -> Mapping[str, float] | None:
    """Find the paper's numbers of an encoder, where the layer is its own or was chosen as the paper chose."""
    from vidsim.cli.encoders import find_card
    from vidsim.report.paper import published

    numbers = published(space["encoder"])
    if numbers is None or space["layer_choice"] == "cross-validated":
        return numbers
    try:
        own = find_card(space["encoder"], root_of(question.root)).default_layer
    except VidsimError:  # similarities of that name, or an adapter that is gone
        return None
    return numbers if space["layer"] == own else None


def _retrieval(question: Question, triplets: "Triplets", models: "dict[str, RSM]") -> dict[str, Any] | None:
    from dataclasses import asdict

    from vidsim.analysis.neighbours import neighbours

    if question.neighbours is None:
        return None
    found = neighbours(
        triplets.rsm(question.context),
        models,
        k=question.neighbours,
        against=question.against,
        resamples=question.resamples,
        seed=question.seed,
    )
    return asdict(found)


def _training(split: str | None) -> str | None:
    """Name the stimuli that a layer may be chosen on: never any that are reported on."""
    return {None: None, FIT: FIT, "val": FIT}.get(split, TRAIN)


def _spaces(question: Question, name: str, ids: "tuple[str, ...]") -> "dict[str, tuple[dict[str, Any], RSM]]":
    """Find the similarities of an encoder's layer, or layers, and say which and why."""
    from vidsim.adapt.card import FAMILY
    from vidsim.store import Store

    try:
        store = Store(root_of(question.root))
    except NoStore:
        store = None
    if store is None or not holds(store, name):
        space = find_space(name, question.root, question.captions)  # or says what there is
        encoder, _, layer = space.name.partition(":")
        if question.layer != AUTO and store is not None and holds(store, encoder):
            raise VidsimError(f"{name!r} names its layer, and --layer {question.layer} too; leave one of them out")
        facts = {"encoder": encoder, "layer": layer or None, "layer_choice": "given", "curve": None, "table": None}
        return {space.name: (facts, space.rsm(ids, question.similarity))}
    layer = None if question.layer in {AUTO, ALL} else question.layer
    table = table_of(store, name, question.captions, layer)
    facts: dict[str, Any] = {"encoder": name, "curve": None, "table": table.name}
    family = table.identity.get("family")
    if captions_of(table) is not None:
        facts["captions"] = captions_of(table)
    if question.layer == ALL:
        return {
            f"{name}:{own}": (
                {**facts, "layer": own, "layer_choice": "all"},
                Space(f"{name}:{own}", table[own]).rsm(ids, question.similarity),
            )
            for own in table.layers
        }
    used, why = layer or table.default_layer, "given" if layer else "default"
    if layer is None and len(table.layers) > 1:
        choice, problem = _choice(question, table)
        # where the same stimuli are reported on, a choice among layers would flatter the encoder; an adapter was fitted
        # at its default layer, to the stimuli that the choice would be made on
        if question.split not in {None, TRAIN, FIT} and family not in {"sentence", FAMILY}:
            if choice is None:
                raise VidsimError(f"no layer of {name!r} can be chosen: {problem}; name one with --layer")
            used, why = choice.layer, "cross-validated"
        if choice is not None:
            facts |= {"curve": dict(choice.curve), "curve_error": dict(choice.error)}
    return {
        name: (
            {**facts, "layer": used, "layer_choice": why},
            Space(f"{name}:{used}", table[used]).rsm(ids, question.similarity),
        )
    }


def _choice(question: Question, table: "EmbeddingTable") -> "tuple[LayerChoice | None, str]":
    """Measure every layer on stimuli that are not reported on (or on all, if there is no split); or say why not."""
    from vidsim.analysis.layers import choose_layer

    try:
        human = question.trials(_training(question.split))[0].occurring().rsm()
        layers = {
            own: Space(f"{table.encoder}:{own}", table[own]).rsm(human.ids, question.similarity) for own in table.layers
        }
        return choose_layer(human, layers, seed=question.seed), ""
    except VidsimError as error:
        return None, str(error)


def _reliability(question: Question, triplets: "Triplets") -> dict[str, Any]:
    from vidsim.analysis.reliability import reliability

    method = "votes" if question.protocol == "paper" else "trials"
    try:
        found = reliability(
            triplets,
            method=method,
            context=question.context,
            resamples=min(question.resamples, 1000),
            seed=question.seed,
        )
    except VidsimError:  # too few pairs were judged twice
        return {"reliability": None, "reliability_interval": None, "reliability_method": method}
    paper = {"reliability_squared": found.spearman_brown_squared} if method == "votes" else {}
    return {
        "reliability": found.spearman_brown,
        "reliability_interval": found.interval,
        "reliability_method": method,
        **paper,
    }
