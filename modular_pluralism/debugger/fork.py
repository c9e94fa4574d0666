"""A fork: a new run that differs from a kept one by edits, and takes over from it whatever they do not touch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from modular_pluralism.debugger.build import OwnModels
from modular_pluralism.debugger.kept_tasks import KeptTask, node_keys, read_tasks
from modular_pluralism.debugger.live import LiveRun, new_name, start
from modular_pluralism.errors import InputError
from modular_pluralism.graphs import NodeCache
from modular_pluralism.graphs.node_cache import is_complete
from modular_pluralism.graphs.node_key import NodeKey
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.runs.edits import Edits, Origin, combined
from modular_pluralism.runs.run_store import RunStore
from modular_pluralism.runs.run_table import RunTable


class ForkRequest(BaseModel):
    """A fork of `run`, which has finished, failed or stopped.

    With a `step` (a superstep's number as `history.read_run` gives it), everything up to that step stays as it was,
    edited comments aside, and an edit that would change what was before it is refused. Without one, whatever depends on
    an edit is done anew, wherever it stands. In both cases a node whose prompt, model and input are unchanged is not
    run again: its output is the parent's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    step: int | None = None
    edits: Edits = Field(default_factory=Edits)


async def start_fork(
    store: RunStore, request: ForkRequest, *, run: str | None = None, models: OwnModels = None
) -> LiveRun:
    """Start a fork, kept in the store under the name `run` (None: a new one), with its parent and the edits.

    What a node of the parent wrote is taken over where everything that the node depends on is the same; only the rest
    is run. Communities that had failed are asked again, unless the fork goes on from a step after that.

    Raises:
        InputError: there is no such run or step, the run is still on, or an edit is unusable or comes too late.
        StoreError: the parent cannot be read, or its pool or prompts have changed since, so that what it did cannot be
            taken over; or the fork cannot be kept.
        PoolError, PromptError, ModelLoadError: the pool, a prompt or a model is unusable.
    """
    table = RunTable(store)
    listed, parent = await table.get(request.run), await table.setup(request.run)
    if listed.state == "running":
        raise InputError(f"The run {request.run} is still on; stop it, or wait for its end.")
    made_of, tasks = parent.load(), await read_tasks(store, request.run)
    last = max((task.step for task in tasks), default=-1)
    if request.step is not None and not -1 <= request.step <= last:
        raise InputError(f"The run {request.run} has no step {request.step}; it has those from -1 to {last}.")
    fixed = [task for task in tasks if request.step is not None and task.step <= request.step]
    edits = combined(parent.edits, request.edits.model_copy(update={"kept": _failed(fixed, request.edits)}))
    left = [name for name in parent.communities if name not in edits.dropped and name not in edits.added]
    origin = Origin(run=request.run, step=request.step)
    setup = parent.model_copy(update={"edits": edits, "origin": origin, "communities": [*left, *edits.added]})
    edited = setup.load()
    of_parent, of_fork = (node_keys(setup, each, PoolModels(each.pool, models)) for each in (made_of, edited))
    _check_in_time(fixed, request, of_parent, of_fork)
    cache = NodeCache()
    for task in tasks:
        if task.id in of_parent and is_complete(task.writes):
            cache.remember(task.name, of_parent[task.id](task.state), task.writes)
    return await start(store, run or new_name(), setup, edited, cache=cache, models=models)


def _failed(fixed: Sequence[KeptTask], edits: Edits) -> dict[str, object]:
    """Comments with errors that stay, since the fork goes on from after them."""
    comments = {
        name: comment
        for task in fixed
        for channel, value in task.writes
        if channel == "comments"
        for name, comment in (value or {}).items()
    }
    gone = {*edits.comments, *edits.dropped}
    return {name: comment for name, comment in comments.items() if comment["error"] is not None and name not in gone}


def _check_in_time(
    fixed: Sequence[KeptTask], request: ForkRequest, before: Mapping[str, NodeKey], after: Mapping[str, NodeKey]
) -> None:
    """Raise InputError where an edit would change a node that stands before the step."""
    for task in fixed:
        name = task.id.partition("/")[0]
        if task.name == "check" or name in request.edits.comments or task.id not in before or task.id not in after:
            continue
        if is_complete(task.writes) and before[task.id](task.state) != after[task.id](task.state):
            raise InputError(
                f"The edits change what {task.id} depends on, which ran before the end of step {request.step}; fork "
                f"from a step before {task.step}, or without a step."
            )
