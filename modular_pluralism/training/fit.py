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
    torch = optional("torch", "train", PURPOSE)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=settings.rate)
    total = steps_of(len(objective.lengths), settings)
    run = _Run(model, optimizer, checkpoints)
    run.restore(torch)
    watcher.started(run.step, total)
    if not run.fit.curve:
        with torch.no_grad(), fast_numbers(model):
            point = Point(0, None, objective.held_out_loss(model))
        best = run.add(point)
        run.save()
        watcher.checked(point, best)
    while run.step < total and not run.fit.stopped_early:
        try:
            loss = _step(torch, model, objective, optimizer, weights, settings, run.step, total)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise TrainingError(
                "The memory does not suffice for a step; give a lower --batch, a smaller base, or more memory."
            ) from error
        run.step += 1
        run.losses.append(loss)
        watcher.stepped(run.step, loss)
        if run.step % settings.check_every == 0 or run.step == total:
            with torch.no_grad(), fast_numbers(model):
                held_out = objective.held_out_loss(model)
            if not math.isfinite(held_out):
                raise _diverged(run.step)
            point = Point(run.step, sum(run.losses) / len(run.losses), held_out)
            best = run.add(point)
            run.losses.clear()
            run.fit.stopped_early = run.checks_without_gain() >= settings.patience and run.step < total
            run.save()
            watcher.checked(point, best)
        if stop():
            run.save()
            raise KeyboardInterrupt
    set_lora_state(model, run.best)
    run.fit.steps = run.step
    run.fit.seconds = run.seconds()
    return run.fit


def _step(
    torch: Any,
    model: Any,
    objective: Objective,
    optimizer: Any,
    weights: Sequence[Any],
    settings: TrainingSettings,
    step: int,
    total: int,
) -> float:
    for group in optimizer.param_groups:
        group["lr"] = settings.rate * _share_of_rate(step, total)
    draw = np.random.default_rng([settings.seed, 3, step])
    with fast_numbers(model):
        loss = objective.loss(model, _batch(objective.lengths, settings, step), draw)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise _diverged(step)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return value


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
    """The state of a training that a checkpoint holds."""

    def __init__(self, model: Any, optimizer: Any, checkpoints: Checkpoints) -> None:
        self.fit = Fit()
        self.step = 0
        self.losses: list[float] = []
        self.best: dict[str, Any] = {}
        self._model, self._optimizer, self._checkpoints = model, optimizer, checkpoints
        self._before, self._since = 0.0, time.monotonic()

    def seconds(self) -> float:
        return self._before + time.monotonic() - self._since

    def add(self, point: Point) -> bool:
        curve = self.fit.curve
        best = all(point.held_out < earlier.held_out for earlier in curve)
        curve.append(point)
        if best:
            self.fit.best_step = point.step
            self.best = lora_state(self._model)
        return best

    def checks_without_gain(self) -> int:
        return sum(point.step > self.fit.best_step for point in self.fit.curve)

    def save(self) -> None:
        self._checkpoints.save(
            {
                "step": self.step,
                "lora": lora_state(self._model),
                "optimizer": self._optimizer.state_dict(),
                "best": self.best,
                "best_step": self.fit.best_step,
                "curve": [(point.step, point.trained, point.held_out) for point in self.fit.curve],
                "losses": list(self.losses),
                "seconds": self.seconds(),
                "stopped_early": self.fit.stopped_early,
            }
        )

    def restore(self, torch: Any) -> None:
        state = self._checkpoints.load()
        if state is None:
            return
        set_lora_state(self._model, state["lora"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self.best = state["step"], state["best"]
        self.losses, self._before = list(state["losses"]), state["seconds"]
        self.fit.best_step, self.fit.stopped_early = state["best_step"], state["stopped_early"]
        self.fit.curve = [Point(*point) for point in state["curve"]]
