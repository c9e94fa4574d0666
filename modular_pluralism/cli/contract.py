"""`pluralism contract`: what rules can be verified by, whether a contract is right, and how two differ."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modular_pluralism.cli.call_options import (
    JsonOption,
    examples,
    name_or_path_option,
    path_argument,
    path_option,
)
from modular_pluralism.cli.commands import App
from modular_pluralism.cli.output import counted, print_json, print_table, tell
from modular_pluralism.cli.streams import piped
from modular_pluralism.errors import InputError
from modular_pluralism.table import one_space

if TYPE_CHECKING:
    from modular_pluralism.pool import Pool
    from modular_pluralism.societal.contract import Contract
    from modular_pluralism.societal.difference import Difference
    from modular_pluralism.societal.rule import Rule
    from modular_pluralism.societal.standing import RuleStanding, Standing
    from modular_pluralism.types import Status

app = App(
    epilog=examples("""
pluralism contract
pluralism contract check rules.toml --pool my-pool.toml
pluralism contract check rules.toml --answer answer.txt
pluralism contract diff rules.toml amended.toml
"""),
)

EXIT_CODES: dict[Status, int] = {"kept": 0, "breached": 3, "unsure": 4}
"""How `check --answer` ends; 1 and 2 are those of every command."""

_MOST = 2**20
"""Bytes of an answer."""

_CHECK_EXAMPLES = examples("""
pluralism contract check rules.toml
pluralism contract check rules.toml --pool my-pool.toml --json
pluralism contract check rules.toml --answer answer.txt --attribute subsidies
pluralism ask "Should a city ban cars?" --quiet | pluralism contract check rules.toml --answer -
""")

ContractArgument = Annotated[Path, path_argument(metavar="FILE", help="A contract.", show_default=False)]


@app.callback(invoke_without_command=True)
def list_verifiers(context: typer.Context, as_json: JsonOption = False) -> None:
    """List what rules can be verified by without a model, check a contract, and compare two."""
    if context.invoked_subcommand is not None:
        return
    from modular_pluralism.societal.verifiers.registry import VERIFIERS, verifier_names

    rows = []
    for name in verifier_names():
        own = VERIFIERS.get(name)
        said = "of an installed package" if own is None else " ".join(str(own.__doc__).split())
        rows.append({"name": name, "example": None if own is None else own.example, "description": said})
    if as_json:
        print_json({"verifiers": rows})
        return
    for row in rows:
        tell(f"verify = {{ {row['name']} = {row['example'] or '{ … }'} }}\n    {row['description']}")


@app.command("check", epilog=_CHECK_EXAMPLES)
def check(
    file: ContractArgument,
    answer: Annotated[
        Path | None,
        path_option("--answer", metavar="FILE|-", help="An answer to check; - reads it from standard input."),
    ] = None,
    question: Annotated[str, typer.Option(metavar="TEXT", help="What it answers, for verifiers that ask.")] = "",
    attribute: Annotated[
        str | None, typer.Option("--attribute", "-a", metavar="TEXT", help="The question's, which scopes rules.")
    ] = None,
    pool: Annotated[
        str | None,
        name_or_path_option(
            "--pool", "-p", metavar="NAME|FILE", help="Check that the rules' holders are communities of this pool."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a contract, and an answer by those of its rules that are verified without a model.

    Rules in words are silent here, since members have to judge them. Exit code 0 where the contract is right and the
    answer keeps every must, 3 where it breaks one, 4 where it breaks none and one is silent, 2 where the contract or
    the call is wrong.
    """
    from modular_pluralism.societal.contract import Contract

    contract = Contract.load(file)
    loaded = None if pool is None else _pool(pool, contract)
    if answer is None:
        if question or attribute is not None:
            raise InputError("--question and --attribute are about an answer; add --answer, or leave them out.")
        _print_contract(contract, file, as_json=as_json)
        return
    found = _standing(contract, _answer(answer), question, attribute, loaded)
    if as_json:
        print_json({"contract": str(file), "version": contract.version, **found})
    else:
        _print_standing(found)
    raise typer.Exit(EXIT_CODES[found["status"]])


@app.command("diff", epilog=examples("pluralism contract diff rules.toml amended.toml"))
def diff(
    before: Annotated[Path, path_argument(metavar="A", help="A contract.", show_default=False)],
    after: Annotated[Path, path_argument(metavar="B", help="Another version of it.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Show which rules have been added, removed and changed from A to B, by key."""
    from modular_pluralism.societal.contract import Contract
    from modular_pluralism.societal.difference import difference

    old, new = Contract.load(before), Contract.load(after)
    found = difference(old, new)
    if as_json:
        print_json({"before": old.version, "after": new.version, **found})
    else:
        _print_difference(found)


def _pool(name: str, contract: Contract) -> Pool:
    from modular_pluralism.pool import Pool

    loaded = Pool.load(name)
    contract.check_holders(loaded.communities)
    return loaded


def _answer(path: Path) -> str:
    if str(path) == "-":
        return piped("answer")
    try:
        with path.open("rb") as file:
            given = file.read(_MOST + 1)
        if len(given) > _MOST:
            raise InputError(f"{path} is larger than {_MOST // 2**20} MiB; name an answer's file with --answer.")
        return given.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8, or name another file with --answer.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read ({reason}); name another file with --answer.") from None


def _standing(contract: Contract, answer: str, question: str, attribute: str | None, pool: Pool | None) -> Standing:
    from modular_pluralism.societal.standing import standing
    from modular_pluralism.societal.verifiers.candidate import Candidate
    from modular_pluralism.societal.verifying import verify

    rules = contract.applying(attribute, date.today())
    weights = {} if pool is None else pool.priors_of(attribute)
    candidate = Candidate("answer", answer, question=question, weights=weights)
    ballots = verify(rules, candidate, datetime.now(UTC).isoformat(timespec="seconds"))
    return standing(rules, ballots, weights, candidate.name)


def _print_contract(contract: Contract, file: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"contract": str(file), "version": contract.version, **contract.data})
        return
    for name, rule in contract.rules.items():
        tell(f"{name}: {_terms(rule)}")
        if rule.text is not None:
            tell(f"    {one_space(rule.text)}")
    verified = sum(rule.verify is not None for rule in contract.rules.values())
    tell(f"{counted(len(contract.rules), 'rule')}, {verified} verified without a model. Version {contract.version}.")


def _terms(rule: Rule) -> str:
    """What holds of a rule beside its text; what is as it is by default is left out."""
    terms = [rule.strength, "judged by members" if rule.verify is None else f"verified by {rule.verify.verifier}"]
    if rule.held_by is not None:
        terms.append(f"held by {', '.join(rule.held_by)}")
    if rule.scope is not None:
        terms.append(f"for {one_space(rule.scope.attribute)}")
    if rule.weight != 1:
        terms.append(f"weight {rule.weight:g}")
    if rule.since is not None:
        terms.append(f"since {rule.since.isoformat()}")
    return "; ".join(terms)


def _print_standing(found: Standing) -> None:
    rows = [(name, rule["strength"], rule["standing"], _reason(rule)) for name, rule in found["rules"].items()]
    print_table(("rule", "strength", "standing", "reason"), rows)
    score = "" if found["score"] is None else f" Of what is said of the shoulds, {found['score']:.0%} is kept."
    tell(f"{_status(found)}{score}")


def _reason(rule: RuleStanding) -> str:
    return "; ".join(word["reason"] or "" for word in rule["said"]) or "in words: members have to judge it"


def _status(found: Standing) -> str:
    match found["status"]:
        case "breached":
            return f"Breached: the answer breaks {', '.join(found['broken'])}."
        case "unsure":
            return f"Unsure: nobody has said whether the answer keeps {', '.join(found['silent'])}."
        case "kept":
            musts = any(rule["strength"] == "must" for rule in found["rules"].values())
            return f"Kept: the answer keeps every must{'' if musts else ', since there is none for this question'}."


def _print_difference(found: Difference) -> None:
    if not any(found.values()):
        tell("The rules are the same.")
    for what, rules in (("Added", found["added"]), ("Removed", found["removed"])):
        for name, rule in rules.items():
            tell(f"{what} {name}")
            for key, value in rule.items():
                tell(f"  {key} = {_shown(value)}")
    for name, keys in found["changed"].items():
        tell(f"Changed {name}")
        for key, change in keys.items():
            tell(f"  {key}: {_shown(change['before'])} → {_shown(change['after'])}")


def _shown(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
