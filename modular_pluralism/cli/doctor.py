"""`pluralism doctor`: what this machine has, what llama.cpp uses of it, and what a pool's models will take."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modular_pluralism.cli.call_options import JsonOption, examples, name_or_path_argument
from modular_pluralism.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from modular_pluralism.llama.backends import BackendName
    from modular_pluralism.llama.devices import Device
    from modular_pluralism.models.model_needs import ModelNeeds

EXAMPLES = examples("""
pluralism doctor
pluralism doctor my-pool.toml
pluralism doctor --build cuda
""")


def _known_backend(name: str) -> str:
    from modular_pluralism.llama.backends import BACKENDS

    if name not in BACKENDS:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(BACKENDS)}")
    return name


def doctor(
    pool: Annotated[
        str | None,
        name_or_path_argument(
            metavar="[NAME|FILE]", help="A pool, whose models are looked at, too.", show_default=False
        ),
    ] = None,
    build: Annotated[
        str | None,
        typer.Option(
            "--build",
            parser=_known_backend,
            metavar="[metal|cuda|rocm|vulkan]",
            help="Tell how llama-cpp-python is built for this kind of GPU.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what this machine computes with, and what each model of a pool will take, and where.

    Nothing is loaded, fetched or sent. Exit code 0; 1 where a model of the pool cannot be opened; 2 where the call or
    the pool file is wrong.
    """
    from modular_pluralism.llama.devices import devices
    from modular_pluralism.models.model_needs import model_needs
    from modular_pluralism.pool import Pool

    loaded = None if pool is None else Pool.load(pool)
    machine = _machine(build)
    found = [_for_us(device, machine["usable_memory"]) for device in devices()]
    needs = [] if loaded is None else model_needs(loaded)
    if as_json:
        described = None if loaded is None else {"name": loaded.name, "models": [_needs_row(each) for each in needs]}
        print_json(machine | {"devices": [vars(device) for device in found], "pool": described})
    else:
        _print_machine(machine, found)
        if loaded is not None:
            _print_needs(needs, found)
    if any(each.problem is not None for each in needs):
        raise typer.Exit(1)


def _for_us(device: Device, usable_memory: int | None) -> Device:
    """The device with what this process may have of it: llama.cpp knows nothing of what a container allows."""
    return device if device.kind != "CPU" or usable_memory is None else replace(device, free=usable_memory)


def _machine(build: str | None) -> dict[str, Any]:
    """What does not hang on a pool, as plain values."""
    from modular_pluralism.llama import backends
    from modular_pluralism.llama.host import physical_cores, usable_cores, usable_memory
    from modular_pluralism.prepared.processor import describe_processor, llama_cpp_version

    compiled = backends.backends()
    seen = backends.seen_gpus()
    wanted: list[BackendName] = [gpu.backend for gpu in backends.missing_backends(seen, compiled)]
    wanted += [name for name in backends.BACKENDS if name == build and name not in wanted]
    return {
        "llama_cpp_python": llama_cpp_version(),
        "backends": compiled,
        "processor": describe_processor(),
        "cores": physical_cores(),
        "usable_cores": usable_cores(),
        "usable_memory": usable_memory(),
        "seen_gpus": [vars(gpu) for gpu in seen],
        "builds": [
            {"backend": name, "needs": backends.build_needs(name), "command": backends.build_command(name)}
            for name in wanted
        ],
    }


def _print_machine(machine: dict[str, Any], found: list[Device]) -> None:
    say(f"llama-cpp-python {machine['llama_cpp_python']}, built for {', '.join(machine['backends'])}", prose=True)
    say(f"Processor: {machine['processor']}", prose=True)
    say(f"Cores: {machine['usable_cores']} used of {machine['cores']}, slow ones and hardware threads not counted")
    rows = [(each.name, each.kind, each.description, _gib(each.free), _gib(each.total)) for each in found]
    print_table(("device", "kind", "description", "free", "memory"), rows, right=["free", "memory"])
    seen = {gpu["backend"]: gpu["evidence"] for gpu in machine["seen_gpus"]}
    if not machine["seen_gpus"] and not any(each.is_gpu for each in found):
        say("No GPU is seen; models run on the processor.")
    for build in machine["builds"]:
        name = build["backend"]
        why = f"There is a GPU ({seen[name]}) that this build does not use. " if name in seen else ""
        say(f"{why}To use one with {name}, install {build['needs']}, and build llama-cpp-python anew:", prose=True)
        say(f"  {build['command']}")


def _print_needs(needs: list[ModelNeeds], found: list[Device]) -> None:
    headings = ("model", "on", "weights", "cache of one", "buffers", "sequences", "all")
    rows: list[tuple[str, ...]] = []
    total: Counter[str] = Counter()
    for each in needs:
        if each.plan is None or each.shares is not None:
            continue
        for lies in each.plan.devices:
            if lies.weights or lies.cache or lies.compute:
                whole = lies.weights + lies.compute + each.slots * lies.cache
                total[lies.device] += whole
                sizes = (lies.weights, lies.cache, lies.compute)
                rows.append((each.name, lies.device, *map(_gib, sizes), str(each.slots), _gib(whole)))
    if rows:
        print_table(headings, rows, right=headings[2:])
    for each in needs:
        say(f"{each.name}: {_words(each)}", prose=True)
    free = {device.name: device.free for device in found if device.free}
    for device, taken in total.items():
        if device in free and taken > free[device]:
            say(
                f"Together they take {_gib(taken)} on {device}, of which {_gib(free[device])} are free; lower slots, "
                "context or gpu_layers in the pool file.",
                prose=True,
            )


def _words(needs: ModelNeeds) -> str:
    if needs.problem is not None:
        return f"FAILED, {needs.problem}"
    if needs.shares is not None:
        return f"shares the weights and the cache of {needs.shares}"
    if needs.file is None or needs.plan is None:
        return "remote, not asked"
    from modular_pluralism.llama.gguf_parts import parts

    count = len(parts(needs.file))
    files = f" and {count - 1} more files" if count > 1 else ""
    gpu = f"{needs.plan.layers_on_gpu} of {needs.plan.layers} layers on GPUs"
    return f"{needs.file.name}{files}, {needs.architecture}, {needs.quantisation}, {gpu}"


def _needs_row(needs: ModelNeeds) -> dict[str, Any]:
    from modular_pluralism.llama.gguf_parts import parts, size_of

    plan = needs.plan
    return {
        "name": needs.name,
        "file": None if needs.file is None else str(needs.file),
        "files": 0 if needs.file is None else len(parts(needs.file)),
        "bytes": None if needs.file is None or plan is None else size_of(needs.file),
        "architecture": needs.architecture or None,
        "quantisation": needs.quantisation or None,
        "context": None if needs.settings is None else needs.settings.context,
        "slots": needs.slots or None,
        "layers": None if plan is None else plan.layers,
        "layers_on_gpu": None if plan is None else plan.layers_on_gpu,
        "devices": [] if plan is None else [vars(device) for device in plan.devices],
        "shares": needs.shares,
        "problem": needs.problem,
    }


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
