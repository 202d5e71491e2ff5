"""Training: epochs of steps over judgments, resumable, the best epoch by validation kept as an adapter."""

import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vidsim.adapt.batches import Counts, Step
from vidsim.adapt.batches.sampler import make_batches
from vidsim.adapt.drafts import Taken
from vidsim.adapt.equip import equip
from vidsim.adapt.feasible import feasible
from vidsim.adapt.frame_tower import FrameTower
from vidsim.adapt.golden import golden_embedding
from vidsim.adapt.idle import refuse_idle_epochs
from vidsim.adapt.leave import base_of, leave
from vidsim.adapt.linear import LinearTransform
from vidsim.adapt.manifest import Manifest
from vidsim.adapt.material import Material
from vidsim.adapt.objective import Objective
from vidsim.adapt.penalty import fit_any
from vidsim.adapt.processes import Processes, device_of, join
from vidsim.adapt.recipe import Recipe
from vidsim.adapt.retention import Retention
from vidsim.adapt.schedule import learning_rate
from vidsim.adapt.scores import METRICS, scores
from vidsim.adapt.state import State, optimiser_state, read_state, restore_optimiser
from vidsim.adapt.tally import NotFinite, Tally
from vidsim.adapt.tower import tower_of
from vidsim.adapt.trainable import refuse_untrainable
from vidsim.adapt.trained import Trained
from vidsim.adapt.watcher import Watcher
from vidsim.embeddings import Embeddings
from vidsim.encoders import catalog
from vidsim.errors import VidsimError
from vidsim.extract.run import library_versions
from vidsim.paths import Place, expand


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
        If the encoder has no LoRA targets, there is nothing to train on, a stimulus lacks captions or frames that the
        encoder takes, or memory does not suffice.
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
        material.check(resolved.card)
        self.recipe, self.resolved, self.material, self.seed = recipe, resolved, material, seed
        self.layer = resolved.card.default_layer
        self.batches = make_batches(recipe, material.fit, seed)
        refuse_idle_epochs(recipe, self.batches, material.fit)
        where = catalog.resolve_device(device)
        self.accelerator = join(recipe.run, where)
        self._processes, processes = Processes(self.accelerator), self.accelerator.num_processes
        self._steps = len(self.batches) // processes * processes
        if recipe.optimiser.epochs and not self._steps:
            more = "lower batches.trials" if recipe.batches.sampler == "trials" else "raise batches.steps"
            raise VidsimError(
                f"an epoch has fewer steps ({len(self.batches)}) than there are processes ({processes}); start fewer, "
                f"or {more}"
            )
        self._objective = Objective(recipe)
        self.transform = transform
        with feasible(self.accelerator.device):
            self.encoder = catalog.load(resolved, device=device_of(self.accelerator))
            self._retention = Retention(recipe, material, self._frozen) if recipe.loss.retention else None
            torch.manual_seed(seed)
            self.tower = tower_of(self.encoder, material, recipe.run.captions, self.layer)
            first = partial(self.tower, material.fit.ids[:1], None)
            self.attached = equip(self.encoder, self.layer, recipe.adapter, self._fitted, first)
        self.weights = self.attached.trainable()
        self._human = None if material.validation is None else material.validation.rsm()

    def counts(self) -> Counts:
        """Count what the first epoch holds, of all processes; terms of retention forward more.

        Returns
        -------
        Counts
            Without the steps that do not go round among processes.
        """
        return Counts.of(self._shared(0))

    def run(self, folder: Place, state: Place, name: str, watcher: Watcher, *, force: bool = False) -> Manifest:
        """Train, and leave the adapter.

        Parameters
        ----------
        folder : str or path
            Where the adapter will be.
        state : str or path
            File for the state of the run; removed in the end.
        name : str
            Name of the adapter.
        watcher : Watcher
            Told how it goes.
        force : bool
            Whether an adapter that is there in the end is replaced.

        Returns
        -------
        Manifest
            What was left.

        Raises
        ------
        Taken
            If something is there in the end that is not to be replaced; the state stays.
        VidsimError
            If a loss or a weight is not finite (the best epoch until then is left as the adapter), if memory does not
            suffice, or the disk is full.
        """
        folder, state = expand(folder), expand(state)
        recipe, fingerprint = self.recipe, self._fingerprint()
        kept = read_state(state, fingerprint)
        self._processes.refuse_other_states(0 if kept is None else kept.epoch)
        with feasible(self.accelerator.device):
            model, optimiser = self._ready()
            now = kept or State(curve=[self._measured(0, {}, 0.0)], best=self._copy())
        if kept is not None:
            self.attached.fill(kept.weights, str(state))
            restore_optimiser(optimiser, self.weights, kept.optimiser)
        model, optimiser = self.accelerator.prepare(model, optimiser)
        if isinstance(model, DistributedDataParallel):
            # they are constants, and a step with fixed stimuli has one forward pass more than that of another process
            model.broadcast_buffers = False
        epochs = now.epoch if self._patience_is_over(now) else recipe.optimiser.epochs
        watcher.begin(name, self.seed, epochs, self._steps, now.epoch)
        try:
            with feasible(self.accelerator.device):
                self._epochs(now, model, optimiser, watcher, state, fingerprint)
        except NotFinite as error:
            if not now.best_epoch:
                raise VidsimError(f"{error}; no epoch was better than the beginning, so there is no adapter") from None
            self._finish(folder, name, now, state, error.what, force=force)
            raise VidsimError(
                f"{error}; {name!r} is epoch {now.best_epoch}, the best until then: the same command again measures it "
                "and writes its card"
            ) from None
        patience = now.epoch < recipe.optimiser.epochs
        why = f"optimiser.patience = {recipe.optimiser.patience}" if patience else None
        return self._finish(folder, name, now, state, why, force=force)

    def _epochs(self, now: State, model: Any, optimiser: Any, watcher: Watcher, state: Path, fingerprint: str) -> None:
        """Run the epochs that are left, and write the state behind each."""
        names = {id(value): key for key, value in self.weights.items()}
        first = now.epoch
        for epoch in range(first, self.recipe.optimiser.epochs):
            if self._patience_is_over(now):
                break
            if epoch == first:
                self.graph()
            start = time.perf_counter()
            losses = self._epoch(epoch, model, optimiser, watcher)
            if not all(bool(value.isfinite().all()) for value in self.weights.values()):
                raise NotFinite(f"weights are not finite behind epoch {epoch + 1}", "; lower optimiser.learning_rate")
            row = self._measured(epoch + 1, losses, time.perf_counter() - start)
            now.curve.append(row)
            if self._better(row, now.curve[now.best_epoch]):
                now.best_epoch, now.best = epoch + 1, self._copy()
            now.epoch, now.weights = epoch + 1, self._copy()
            now.optimiser = optimiser_state(getattr(optimiser, "optimizer", optimiser), names)
            if self.accelerator.is_main_process:
                now.write(state, fingerprint)
            self.accelerator.wait_for_everyone()
            watcher.epoch(row, now.best_epoch)

    def _finish(
        self, folder: Path, name: str, now: State, state: Path, stopped: str | None, *, force: bool
    ) -> Manifest:
        """Leave the best epoch as the adapter, with why there were no more epochs, and drop the state."""
        self.attached.fill(now.best, str(state))
        self.encoder.model.eval()  # pyright: ignore[reportAttributeAccessIssue]
        if self.attached.head is not None:
            self.attached.head.eval()
        with self._plain():
            manifest = self._manifest(name, now, stopped)
            if self.accelerator.is_main_process:
                try:
                    manifest = leave(manifest, self.attached, self.encoder, folder, force=force, kept=state.is_file())
                except Taken:
                    if now.epoch:  # the other run may have removed the state, or left its own
                        now.write(state, self._fingerprint())
                    raise
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
        with self._plain():
            found = self.material.embed(self.encoder, head, self.layer, ids)
        for one, mode in zip(trained, modes, strict=True):
            one.train(mode)
        return found

    def _plain(self) -> AbstractContextManager[object]:
        """Run what is compiled as it was: a few stimuli are not worth compiling again."""
        # asking for it imports the compiler, where there is none to ask
        return torch.compiler.set_stance("force_eager") if self.recipe.run.compile else nullcontext()

    def _frozen(self, ids: Sequence[str]) -> Float[Tensor, "n d"]:
        return torch.from_numpy(self._embed(ids, None).matrix).to(self.accelerator.device)

    def _whole(self, model: Any, ids: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embed with gradients, by all captions."""
        with self.accelerator.autocast():
            return model(ids, None).float()

    def _fitted(self) -> LinearTransform:
        """Fit a linear transform to frozen embeddings, unless it was given."""
        if self.transform is None:
            self.transform = fit_any(self._embed(self.material.fit.ids, None), self.material.fit)
        return self.transform

    def _epoch(self, epoch: int, model: Any, optimiser: Any, watcher: Watcher) -> dict[str, float]:
        """Run an epoch, and return the mean of each loss."""
        torch.manual_seed((self.seed << 32) + (epoch << 8) + self.accelerator.process_index)  # dropout
        rng = np.random.default_rng([self.seed, epoch, self.accelerator.process_index])  # captions
        model.train()
        tally = Tally(self.material.fit.ids, epoch, watcher.step, self._processes.gather)
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        for number, step in enumerate(islice(self._shared(epoch), rank, None, world)):
            self._set_rate(optimiser, epoch * self._steps + number * world)
            loss, parts = self._step(step, epoch, model, optimiser, rng)
            tally.add(number, step, loss, self._processes.mean(loss), parts)
        tally.settle()
        return tally.means()

    def _shared(self, epoch: int) -> Iterator[Step]:
        """Yield what processes share: as many steps each, without the first: an RSA step may be the last alone."""
        return islice(self.batches.epoch(epoch), len(self.batches) % self.accelerator.num_processes, None)

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
        kept = None if self._retention is None else self._retention.of(step, vectors, partial(self._whole, model), rng)
        loss, parts = self._objective(vectors, step, epoch, kept)
        optimiser.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        if self.recipe.optimiser.clip:
            self.accelerator.clip_grad_norm_(self.weights.values(), self.recipe.optimiser.clip)
        optimiser.step()
        return loss.detach(), parts

    def _set_rate(self, optimiser: Any, step: int) -> None:
        settings = self.recipe.optimiser
        rate = learning_rate(settings, step, settings.epochs * self._steps)
        for group in optimiser.param_groups:
            group["lr"] = rate

    def _measured(self, epoch: int, losses: Mapping[str, float], seconds: float) -> dict[str, Any]:
        row: dict[str, Any] = {"epoch": epoch, "losses": dict(losses), "seconds": round(seconds, 3)}
        if self.material.validation is not None and self._human is not None:
            found = scores(self.embed(self.material.validation.ids), self.material.validation, self._human)
            row |= {name: found[name] if math.isfinite(found[name]) else None for name in METRICS}
        return self._processes.of_first(row)

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
        return Trained(self.tower, self.attached), optimiser

    def _compile(self) -> None:
        model: Any = self.encoder.model  # pyright: ignore[reportAttributeAccessIssue]
        for layer in self.resolved.card.blocks:
            if layer != self.layer:
                model.get_submodule(layer).compile()

    def graph(self) -> None:
        """Capture the passes of the usual step as CUDA graphs, where they can be: compiled, on one GPU.

        Raises
        ------
        VidsimError
            If the network does what cannot be captured.
        """
        process, recipe, tower = self.accelerator, self.recipe, self.tower
        # retention embeds a second time before the backward pass, and checkpointing looks at random numbers' state
        plain = recipe.run.compile and not recipe.loss.retention and not recipe.run.checkpointing
        alone = process.device.type == "cuda" and process.num_processes == 1
        if not (plain and alone and isinstance(tower, FrameTower)):
            return
        sizes = Counter((len(step.stimuli), len(step.fixed)) for step in self.batches.epoch(0))
        (clips, fixed), _ = sizes.most_common(1)[0]
        if fixed:  # half of the passes would have no gradients
            return
        numbers = torch.bfloat16 if process.mixed_precision == "bf16" else torch.float32
        tower.graph([self.material.fit.ids[0]] * clips, numbers)

    def _fingerprint(self) -> str:
        """Hash everything that the run depends on."""
        identity = self.resolved.identity
        process = self.accelerator
        machine = [process.num_processes, process.mixed_precision, process.device.type]
        facts = [self.recipe.resolved(), self.seed, self.material.digest, identity, machine]
        return hashlib.sha256(json.dumps([facts, dict(library_versions())], sort_keys=True).encode()).hexdigest()

    def _manifest(self, name: str, state: State, stopped: str | None) -> Manifest:
        """Say what was trained, how and on what; of a transform that was only fitted, nothing of epochs."""
        head = self.attached.head
        return Manifest(
            name=name,
            base=base_of(self.resolved),
            layer=self.layer,
            head=len(golden_embedding(self.encoder, head, self.layer)) if head else 0,
            files={},
            recipe=self.recipe.resolved(),
            data={
                **self.material.facts,
                "hash": self.material.digest,
                "trials": len(self.material.fit),
                **({"epoch": asdict(self.counts())} if self.recipe.optimiser.epochs else {}),
                "stopped": stopped,
            },
            versions=library_versions(),
            seed=self.seed,
            parameters=sum(value.numel() for value in self.weights.values()),
            curve=state.curve,
        )
