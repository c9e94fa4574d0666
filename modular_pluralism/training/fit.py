"""The loop: steps of AdamW, readings of the held-out items, early stopping, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from modular_pluralism.errors import TrainingError
from modular_pluralism.optional import optional
from modular_pluralism.training.base_model import PURPOSE, fast_numbers, lora_state, out_of_memory, set_lora_state
from modular_pluralism.training.checkpoint import Checkpoints
from modular_pluralism.training.settings import TrainingSettings

_EPOCHS, _MOST_EPOCHS = 2, 10
_FEWEST_STEPS, _MOST_STEPS = 120, 400
"""Few data are read more often, until there are so many steps; with many data, training ends after so many unless more
are asked for. docs/study.md has the minutes."""
_SORTED_TOGETHER = 8
"""Batches whose items are sorted by length among themselves, so that little is padded."""


class Objective(Protocol):
    """What is learnt: `lengths` has the tokens of each training item."""

    lengths: list[int]

    def loss(self, model: Any, indices: Sequence[int], draw: np.random.Generator) -> Any:
        """Mean loss of the training items at these indices."""

    def held_out_loss(self, model: Any) -> float:
        """Mean loss of the held-out items."""


@dataclass(frozen=True)
class Point:
    """The learning curve after `step` steps: the mean training loss since the last point (None at step 0), and the
    held-out loss."""

    step: int
    trained: float | None
    held_out: float


class Watcher(Protocol):
    """Told how far a training is."""

    def started(self, step: int, steps: int) -> None:
        """It starts, or goes on, after `step` of `steps` steps."""

    def stepped(self, step: int, loss: float) -> None:
        """One more step."""

    def checked(self, point: Point, best: bool) -> None:
        """The held-out items were read, and a checkpoint was written."""


@dataclass
class Fit:
    """What became of a training: the curve, the best point's step, and seconds of work over all its runs."""

    curve: list[Point] = field(default_factory=list)
    best_step: int = 0
    steps: int = 0
    seconds: float = 0.0
    stopped_early: bool = False


def steps_of(count: int, settings: TrainingSettings) -> int:
    """How many steps a training on so many items has."""
    per_epoch = math.ceil(count / settings.batch)
    if settings.epochs is not None:
        return min(settings.epochs * per_epoch, settings.steps or settings.epochs * per_epoch)
    wanted = min(max(_EPOCHS * per_epoch, _FEWEST_STEPS), _MOST_EPOCHS * per_epoch)
    return min(wanted, settings.steps or _MOST_STEPS)


def fit(
    model: Any,
    objective: Objective,
    settings: TrainingSettings,
    checkpoints: Checkpoints,
    watcher: Watcher,
    stop: Callable[[], bool] = lambda: False,
) -> Fit:
    """Train the LoRA of `model`, which has the weights of the best point at the end.

    Goes on from the last checkpoint, exactly as if it had never stopped. `stop` is asked after every step.

    Raises:
        KeyboardInterrupt: `stop` said so; the checkpoint is there.
        TrainingError: the loss is no number, or a checkpoint cannot be read or written.
    """
    run = _Run(model, objective, settings, checkpoints)
    run.restore()
    watcher.started(run.step, run.total)
    if not run.fit.curve:
        watcher.checked(*run.check())
    while run.step < run.total and not run.fit.stopped_early:
        loss = run.learn()
        watcher.stepped(run.step, loss)
        if run.step % settings.check_every == 0 or run.step == run.total:
            watcher.checked(*run.check())
        if stop():
            run.save()
            raise KeyboardInterrupt
    set_lora_state(model, run.best)
    run.fit.steps = run.step
    run.fit.seconds = run.seconds()
    return run.fit


def _diverged(step: int) -> TrainingError:
    return TrainingError(
        f"The loss is no number any more after {step} steps; start anew with --restart and a lower --rate."
    )


def _share_of_rate(step: int, total: int) -> float:
    """Of the highest learning rate: rising over a twentieth of the steps, then falling to a tenth as a cosine does."""
    rise = max(1, total // 20)
    if step < rise:
        return (step + 1) / rise
    done = (step - rise) / max(1, total - rise)
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done))


def _batch(lengths: Sequence[int], settings: TrainingSettings, step: int) -> list[int]:
    """The indices of a step's items; they depend on nothing but the seed and the step, so that it can be resumed."""
    per_epoch = math.ceil(len(lengths) / settings.batch)
    epoch, at = divmod(step, per_epoch)
    draw = np.random.default_rng([settings.seed, 4, epoch])
    order = [int(index) for index in draw.permutation(len(lengths))]
    window = settings.batch * _SORTED_TOGETHER
    alike = [
        index
        for start in range(0, len(order), window)
        for index in sorted(order[start : start + window], key=lengths.__getitem__)
    ]
    batches = [alike[start : start + settings.batch] for start in range(0, len(alike), settings.batch)]
    return batches[int(draw.permutation(per_epoch)[at])]


class _Run:
    """A training: its state, which a checkpoint holds, and what changes it."""

    def __init__(self, model: Any, objective: Objective, settings: TrainingSettings, checkpoints: Checkpoints) -> None:
        self.fit = Fit()
        self.step = 0
        self.total = steps_of(len(objective.lengths), settings)
        self.best: dict[str, Any] = {}
        self._torch = optional("torch", "train", PURPOSE)
        self._model, self._objective, self._settings, self._checkpoints = model, objective, settings, checkpoints
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]
        self._optimizer = self._torch.optim.AdamW(self._weights, lr=settings.rate)
        self._losses: list[float] = []
        self._before, self._since = 0.0, time.monotonic()

    def learn(self) -> float:
        """One more step; its loss."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.rate * _share_of_rate(self.step, self.total)
        draw = np.random.default_rng([self._settings.seed, 3, self.step])
        batch = _batch(self._objective.lengths, self._settings, self.step)
        try:
            with fast_numbers(self._model):
                loss = self._objective.loss(self._model, batch, draw)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise _diverged(self.step)
            loss.backward()
            self._torch.nn.utils.clip_grad_norm_(self._weights, 1.0)
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise TrainingError(
                "The memory does not suffice for a step; give a lower --batch, a smaller base, or more memory."
            ) from error
        self.step += 1
        self._losses.append(value)
        return value

    def check(self) -> tuple[Point, bool]:
        """Read the held-out items and write a checkpoint: the curve's new point, and whether it is the best one."""
        with self._torch.no_grad(), fast_numbers(self._model):
            held_out = self._objective.held_out_loss(self._model)
        if not math.isfinite(held_out):
            raise _diverged(self.step)
        trained = sum(self._losses) / len(self._losses) if self._losses else None
        self._losses.clear()
        point = Point(self.step, trained, held_out)
        best = all(point.held_out < earlier.held_out for earlier in self.fit.curve)
        self.fit.curve.append(point)
        if best:
            self.fit.best_step = point.step
            self.best = lora_state(self._model)
        without_gain = sum(earlier.step > self.fit.best_step for earlier in self.fit.curve)
        self.fit.stopped_early = without_gain >= self._settings.patience and self.step < self.total
        self.save()
        return point, best

    def seconds(self) -> float:
        return self._before + time.monotonic() - self._since

    def save(self) -> None:
        self._checkpoints.save(
            {
                "step": self.step,
                "lora": lora_state(self._model),
                "optimizer": self._optimizer.state_dict(),
                "best": self.best,
                "best_step": self.fit.best_step,
                "curve": [(point.step, point.trained, point.held_out) for point in self.fit.curve],
                "losses": list(self._losses),
                "seconds": self.seconds(),
                "stopped_early": self.fit.stopped_early,
            }
        )

    def restore(self) -> None:
        state = self._checkpoints.load()
        if state is None:
            return
        set_lora_state(self._model, state["lora"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self.best = state["step"], state["best"]
        self._losses, self._before = list(state["losses"]), state["seconds"]
        self.fit.best_step, self.fit.stopped_early = state["best_step"], state["stopped_early"]
        self.fit.curve = [Point(*point) for point in state["curve"]]
