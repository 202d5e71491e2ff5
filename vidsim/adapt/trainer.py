"""Training: epochs of steps over judgments, resumable, the best epoch by validation kept as an adapter."""

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor, nn

from vidsim.adapt import adapter
from vidsim.adapt.adapter import Attached
from vidsim.adapt.batches import Step
from vidsim.adapt.batches.sampler import make_batches
from vidsim.adapt.drafts import replaced
from vidsim.adapt.head import Head, LinearHead
from vidsim.adapt.linear import LinearTransform
from vidsim.adapt.manifest import Manifest, hash_file
from vidsim.adapt.material import Material
from vidsim.adapt.objective import Objective
from vidsim.adapt.penalty import fit_any
from vidsim.adapt.recipe import Recipe
from vidsim.adapt.schedule import learning_rate
from vidsim.adapt.scores import METRICS, scores
from vidsim.adapt.state import State, optimiser_state, read_state, restore_optimiser
from vidsim.adapt.tower import FRAMES, FrameTower, TextTower, Tower
from vidsim.adapt.trainable import refuse_untrainable
from vidsim.embeddings import Embeddings
from vidsim.encoders import catalog
from vidsim.encoders.sentence import SentenceEncoder
from vidsim.encoders.transfer import Fetched
from vidsim.errors import VidsimError
from vidsim.extract.run import library_versions


@runtime_checkable
class Watcher(Protocol):
    """What a training run tells while it goes on."""

    def begin(self, name: str, seed: int, epochs: int, steps: int, done: int) -> None:
        """Say what begins, and how many epochs are done already."""
        ...

    def step(self, number: int, losses: Mapping[str, float]) -> None:
        """Say that a step was made, and its losses."""
        ...

    def epoch(self, row: Mapping[str, Any], best: int) -> None:
        """Say what was measured after an epoch, and which was the best so far."""
        ...


class Trained(nn.Module):
    """Hold what is trained in one module, as accelerate wants it: the network, the head, and how they are run."""

    def __init__(self, tower: Tower, attached: Attached) -> None:
        super().__init__()
        self.trunk = attached.trunk
        self.head = attached.head
        self._tower = tower

    def forward(self, ids: Sequence[str], rng: np.random.Generator | None) -> Float[Tensor, "n d"]:
        """Embed stimuli.

        Parameters
        ----------
        ids : sequence of str
            Stimuli.
        rng : Generator, optional
            Draws what is random.

        Returns
        -------
        tensor of shape (n, d)
            What the losses compare.
        """
        vectors = self._tower(ids, rng)
        return vectors if self.head is None else self.head(vectors)


@dataclass(frozen=True, eq=False)
class _Made:
    """A step that was made, and its losses on their way from the device: the whole, then the parts named."""

    step: Step
    number: int
    names: tuple[str, ...]
    losses: Fetched


class Trainer:
    """Fine-tune an encoder on odd-one-out judgments (paper, section 3.3; METHODS, section 4).

    Parameters
    ----------
    recipe : Recipe
        How.
    resolved : Resolved
        The encoder, whose files have been found.
    material : Material
        On what.
    seed : int
        Of everything random.
    device : str
        As for `vidsim.encoders.catalog.resolve_device`.
    transform : LinearTransform, optional
        What a linear head begins as, where another run on the same material has fitted it already.

    Raises
    ------
    VidsimError
        If the encoder has no LoRA targets, or there is nothing to train on.
    """

    def __init__(
        self,
        recipe: Recipe,
        resolved: catalog.Resolved,
        material: Material,
        *,
        seed: int,
        device: str = "auto",
        transform: LinearTransform | None = None,
    ) -> None:
        refuse_untrainable(resolved.card)
        self.recipe, self.resolved, self.material, self.seed = recipe, resolved, material, seed
        self.layer = resolved.card.default_layer
        self.batches = make_batches(recipe, material.fit, seed)
        where = catalog.resolve_device(device)
        self.accelerator = Accelerator(mixed_precision=_precision(recipe, where), cpu=where == "cpu")
        self.encoder = catalog.load(resolved, device="cpu" if where == "cpu" else str(self.accelerator.device))
        self._objective = Objective(recipe)
        self._kept = material.unlabelled or material.fit.ids
        self._base = self._embed_base()
        self.transform = transform
        torch.manual_seed(seed)
        self.attached = self._attach()
        self.weights = self.attached.trainable()
        self._human = None if material.validation is None else material.validation.rsm()

    def run(self, folder: Path, state: Path, name: str, watcher: Watcher) -> Manifest:
        """Train, and leave the adapter.

        Parameters
        ----------
        folder : Path
            Where the adapter will be; replaced if it is there.
        state : Path
            File for the state of the run; removed in the end.
        name : str
            Name of the adapter.
        watcher : Watcher
            Told how it goes.

        Returns
        -------
        Manifest
            What was left.

        Raises
        ------
        VidsimError
            If a loss is not finite (what was best until then is kept in the state), or the disk is full.
        """
        recipe, fingerprint = self.recipe, self._fingerprint()
        kept = read_state(state, fingerprint)
        model, optimiser = self._ready()
        now = kept or State(curve=[self._measured(0, {}, 0.0)], best=self._copy())
        if kept is not None:
            self.attached.fill(kept.weights, str(state))
            restore_optimiser(optimiser, self.weights, kept.optimiser)
        model, optimiser = self.accelerator.prepare(model, optimiser)
        watcher.begin(name, self.seed, recipe.optimiser.epochs, len(self.batches), now.epoch)
        for epoch in range(now.epoch, recipe.optimiser.epochs):
            if self._patience_is_over(now):
                break
            start = time.perf_counter()
            losses = self._epoch(epoch, model, optimiser, watcher)
            row = self._measured(epoch + 1, losses, time.perf_counter() - start)
            now.curve.append(row)
            if self._better(row, now.curve[now.best_epoch]):
                now.best_epoch, now.best = epoch + 1, self._copy()
            now.epoch, now.weights = epoch + 1, self._copy()
            names = {id(value): key for key, value in self.weights.items()}
            now.optimiser = optimiser_state(getattr(optimiser, "optimizer", optimiser), names)
            if self.accelerator.is_main_process:
                now.write(state, fingerprint)
            self.accelerator.wait_for_everyone()
            watcher.epoch(row, now.best_epoch)
        self.attached.fill(now.best, str(state))
        manifest = self._leave(folder, name, now)
        state.unlink(missing_ok=True)
        return manifest

    def embed(self, ids: Sequence[str]) -> Embeddings:
        """Embed stimuli as the adapter would, with what is trained as it is now.

        Parameters
        ----------
        ids : sequence of str
            Stimuli of the material.

        Returns
        -------
        Embeddings
            By the head, or the trained layer.
        """
        return self._embed(ids, self.attached.head)

    def _embed(self, ids: Sequence[str], head: nn.Module | None) -> Embeddings:
        trained = [self.encoder.model, *([] if head is None else [head])]  # pyright: ignore[reportAttributeAccessIssue]
        modes = [one.training for one in trained]
        for one in trained:
            one.eval()
        found = self.material.embed(self.encoder, head, self.layer, ids)
        for one, mode in zip(trained, modes, strict=True):
            one.train(mode)
        return found

    def _embed_base(self) -> Float[Tensor, "n d"] | None:
        """Embed by the frozen model what the retention term keeps: unlabelled stimuli, or those to fit."""
        if not self.recipe.loss.retention:
            return None
        return torch.from_numpy(self._embed(self._kept, None).matrix).to(self.accelerator.device)

    def _tower(self) -> Tower:
        if isinstance(self.encoder, SentenceEncoder):
            assert self.material.captions is not None, "an encoder that reads needs captions"
            return TextTower(self.encoder, self.material.captions, self.recipe.run.captions)
        assert isinstance(self.encoder, FRAMES)
        assert self.material.frames is not None, "an encoder that sees needs frames"
        return FrameTower(self.encoder, self.material.frames, self.layer)

    def _attach(self) -> Attached:
        settings, card = self.recipe.adapter, self.resolved.card
        targets = settings.targets
        if targets == "attention":
            targets = card.lora_targets
        elif targets == "all-linear":
            targets = adapter.linear_layers(self.encoder)
        return adapter.attach(
            self.encoder,
            rank=settings.rank,
            scaling=settings.alpha,
            targets=tuple(targets),
            dropout=settings.dropout,
            head=self._head(),
        )

    def _head(self) -> nn.Module | None:
        settings, card = self.recipe.adapter, self.resolved.card
        if settings.head == "linear":
            if self.transform is None:
                self.transform = fit_any(self._embed(self.material.fit.ids, None), self.material.fit)
            return LinearHead.of(self.transform)
        width = int(card.options.get("embedding_width", card.width))
        return Head(width, settings.head, settings.head_dropout) if settings.head else None

    def _epoch(self, epoch: int, model: Any, optimiser: Any, watcher: Watcher) -> dict[str, float]:
        """Run an epoch, and return the mean of each loss."""
        torch.manual_seed((self.seed << 32) + (epoch << 8) + self.accelerator.process_index)  # dropout
        rng = np.random.default_rng([self.seed, epoch, self.accelerator.process_index])  # captions
        model.train()
        seen: dict[str, list[float]] = {}
        last: _Made | None = None
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        shared = len(self.batches) // world * world  # all processes make as many steps: they wait for each other
        for number, step in enumerate(islice(self.batches.epoch(epoch), rank, shared, world)):
            self._set_rate(optimiser, epoch * len(self.batches) + number * world)
            loss, parts = self._step(step, epoch, model, optimiser, rng)
            self._settle(last, epoch, seen, watcher)  # a step late: a GPU goes on meanwhile
            last = _Made(step, number, tuple(parts), Fetched(torch.stack([loss, *parts.values()])))
        self._settle(last, epoch, seen, watcher)
        return {name: math.fsum(values) / len(values) for name, values in seen.items()}

    def _step(
        self, step: Step, epoch: int, model: Any, optimiser: Any, rng: np.random.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        ids = self.material.fit.ids
        with self.accelerator.autocast():
            vectors = model([ids[i] for i in step.stimuli], rng)
            if len(step.fixed):
                with torch.no_grad():  # in the same mode as the others: dropout, captions drawn
                    fixed = model([ids[i] for i in step.fixed], rng)
                vectors = torch.cat([vectors, fixed])
        vectors = vectors.float()
        loss, parts = self._objective(vectors, step, epoch, self._retained(step, vectors, model, rng))
        optimiser.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        if self.recipe.optimiser.clip:
            self.accelerator.clip_grad_norm_(self.weights.values(), self.recipe.optimiser.clip)
        optimiser.step()
        return loss.detach(), parts

    def _settle(self, made: _Made | None, epoch: int, seen: dict[str, list[float]], watcher: Watcher) -> None:
        """Take note of a step's losses, and stop if one is not finite."""
        if made is None:
            return
        value, *parts = made.losses.wait().tolist()
        if not math.isfinite(value):
            ids = self.material.fit.ids
            clips = ", ".join(repr(ids[i]) for i in dict.fromkeys(made.step.stimuli.tolist()))
            raise VidsimError(
                f"the loss is {value} in step {made.number + 1} of epoch {epoch + 1}, with stimuli {clips}; look "
                "at these, or lower optimiser.learning_rate; what was best until then is kept"
            )
        losses = dict(zip(made.names, parts, strict=True))
        for name, part in losses.items():
            seen.setdefault(name, []).append(part)
        watcher.step(made.number, losses)

    def _retained(
        self, step: Step, vectors: Float[Tensor, "n d"], model: Any, rng: np.random.Generator
    ) -> tuple[Float[Tensor, "m d"], Float[Tensor, "m e"]] | None:
        """Embed what is to stay as it was, now and by the frozen model."""
        if self._base is None:
            return None
        if not self.material.unlabelled:
            return vectors, self._base[np.concatenate([step.stimuli, step.fixed])]
        some = min(self.recipe.loss.retention_stimuli, len(self._kept))
        rows = rng.choice(len(self._kept), some, replace=False)
        with self.accelerator.autocast():
            now = model([self._kept[row] for row in rows], rng)
        return now.float(), self._base[rows]

    def _set_rate(self, optimiser: Any, step: int) -> None:
        settings = self.recipe.optimiser
        rate = learning_rate(settings, step, settings.epochs * len(self.batches))
        for group in optimiser.param_groups:
            group["lr"] = rate

    def _measured(self, epoch: int, losses: Mapping[str, float], seconds: float) -> dict[str, Any]:
        row: dict[str, Any] = {"epoch": epoch, "losses": dict(losses), "seconds": round(seconds, 3)}
        if self.material.validation is not None and self._human is not None:
            found = scores(self.embed(self.material.validation.ids), self.material.validation, self._human)
            row |= {name: found[name] if math.isfinite(found[name]) else None for name in METRICS}
        return row

    def _better(self, row: Mapping[str, Any], best: Mapping[str, Any]) -> bool:
        if self.material.validation is None:
            return True
        score, most = row[self.recipe.run.select], best[self.recipe.run.select]
        return score is not None and (most is None or score > most)

    def _patience_is_over(self, state: State) -> bool:
        patience = self.recipe.optimiser.patience
        return patience > 0 and state.epoch - state.best_epoch >= patience

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.detach().cpu().clone() for name, value in self.weights.items()}

    def _ready(self) -> tuple[Any, Any]:
        """Return what is trained and its optimiser, new, before accelerate has prepared them."""
        settings = self.recipe.optimiser
        if self.recipe.run.checkpointing:
            self.attached.trunk.activation_checkpointing_enable(  # pyright: ignore[reportCallIssue]
                activation_checkpointing_kwargs={"use_reentrant": False}
            )
        if self.recipe.run.compile:
            self._compile()
        optimiser = torch.optim.AdamW(
            self.weights.values(),
            settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=self.accelerator.device.type == "cuda",
        )
        return Trained(self._tower(), self.attached), optimiser

    def _compile(self) -> None:
        model: Any = self.encoder.model  # pyright: ignore[reportAttributeAccessIssue]
        for layer in self.resolved.card.layers:
            if layer != self.layer and layer[-1].isdigit():
                model.get_submodule(layer).compile()

    def _fingerprint(self) -> str:
        """Hash everything that the run depends on."""
        identity = self.resolved.identity
        facts = [self.recipe.resolved(), self.seed, self.material.digest, identity, self.accelerator.num_processes]
        return hashlib.sha256(json.dumps([facts, dict(library_versions())], sort_keys=True).encode()).hexdigest()

    def _leave(self, folder: Path, name: str, state: State) -> Manifest:
        """Write the adapter's folder: aside, then renamed into place."""
        self.encoder.model.eval()  # pyright: ignore[reportAttributeAccessIssue]
        if self.attached.head is not None:
            self.attached.head.eval()
        identity, resolved = self.resolved.identity, self.resolved
        manifest = Manifest(
            name=name,
            base={
                "encoder": resolved.card.name,
                "checkpoint": resolved.card.checkpoint,
                "revision": resolved.revision,
                "local": resolved.local,
                "pooling": resolved.pooling,
                **{what: identity[what] for what in ("weights", "config", "preprocess")},
            },
            layer=self.layer,
            head=len(adapter.golden_embedding(self.encoder, self.attached.head, self.layer))
            if self.attached.head
            else 0,
            files={},
            recipe=self.recipe.resolved(),
            data={**self.material.facts, "hash": self.material.digest, "trials": len(self.material.fit)},
            versions=library_versions(),
            seed=self.seed,
            parameters=sum(value.numel() for value in self.weights.values()),
            curve=state.curve,
        )
        if not self.accelerator.is_main_process:
            return manifest
        folder.parent.mkdir(parents=True, exist_ok=True)
        with replaced(folder) as made:
            adapter.save(self.attached, made, self.encoder, self.layer)
            files = {path.name: hash_file(path) for path in sorted(made.iterdir()) if path.suffix != ".md"}
            manifest = replace(manifest, files=files)
            manifest.write(made)
        return manifest


def _precision(recipe: Recipe, device: str) -> str:
    wanted = recipe.run.precision
    if wanted == "auto":
        # a CPU multiplies bfloat16 more slowly than float32, unless it has units for it
        wanted = "bfloat16" if device.startswith("cuda") and torch.cuda.is_bf16_supported() else "float32"
    return "bf16" if wanted == "bfloat16" else "no"
