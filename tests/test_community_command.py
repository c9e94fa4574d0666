"""`pluralism community` as a user calls it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
from typer.testing import CliRunner

from modular_pluralism.cli.app import app
from modular_pluralism.cli.community import _group_name
from modular_pluralism.errors import PoolError
from modular_pluralism.pool import COMMUNITY_NAME, Pool
from modular_pluralism.pool_files import add_community, remove_community
from modular_pluralism.pool_files.moved_pool import moved_pool, write_moved_pool
from modular_pluralism.training.base_model import load_base
from tests.command import pluralism, started
from tests.training_models import survey_rows, write_tiny

POOL = """# People whom we asked.
base = "tiny"

[models.tiny]  # small enough for anything
gguf = "tiny.gguf"
context = 512

# The first ones.
[communities.towns]
model = "tiny"
description = "People in towns [not villages]"

# Those on the land,
# far from towns.
[communities.farms]
model = "tiny"
description = '''People
[on farms]'''
prior = 2.0

# How they are run.
[run]
comment_tokens = 4
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("community")
    write_tiny(folder / "tiny.gguf")
    (folder / "pool.toml").write_text(POOL)
    (folder / "survey.json").write_text(json.dumps(survey_rows(countries=("Spain", "France", "Kenya"))))
    return folder


def wait_for_line(stream: IO[str], part: str) -> None:
    said = []
    for line in stream:
        said.append(line)
        if part in line:
            return
    raise AssertionError(f"no line has {part!r}: {said}")


def test_a_group_each_has_an_adapter(folder: Path) -> None:
    arguments = ["--data", "survey.json", "--group", "continent", "--model", "tiny.gguf", "--out", "groups"]
    done = pluralism("community", "train", "all", *arguments, "--steps", "2", "--rank", "2", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (folder / "groups").glob("*.gguf")) == ["all_africa.gguf", "all_europe.gguf"]
    assert "held out, with the adapter" in done.stdout
    again = pluralism("community", "train", "all", *arguments, "--steps", "2", "--rank", "2", cwd=folder)
    assert again.stdout.count("is there from before (--restart trains it anew)") == 2
    for name in ("all_africa.md", "all_africa.json"):  # which may be shared
        assert str(folder) not in (folder / "groups" / name).read_text()


def test_all_groups_are_checked_before_the_first_is_trained(folder: Path) -> None:
    rows = json.loads((folder / "survey.json").read_text())
    few = {"question": "One?", "options": ["Yes", "No"], "distribution": [0.5, 0.5], "attribute": "Peru"}
    (folder / "few.json").write_text(json.dumps([*rows, few]))
    arguments = ["--data", "few.json", "--group", "continent", "--model", "tiny.gguf", "--out", "checked"]
    done = pluralism("community", "train", *arguments, "--steps", "2", cwd=folder)
    assert done.returncode == 2
    assert "There is only one of the questions" in done.stderr
    assert not (folder / "checked").exists()


def test_nobody_is_named_by_a_field_that_is_not_there(folder: Path) -> None:
    arguments = ["--data", "survey.json", "--model", "tiny.gguf", "--out", "named"]
    done = pluralism("community", "train", "x", *arguments, "--attribute", "contry", cwd=folder)
    assert done.returncode == 2
    assert "No row has a field 'contry'" in done.stderr
    rows = {row["question"]: {**row, "place": "here"} for row in json.loads((folder / "survey.json").read_text())}
    for row in rows.values():
        del row["attribute"]
    (folder / "places.json").write_text(json.dumps(list(rows.values())))
    arguments = ["--data", "places.json", "--model", "tiny.gguf", "--out", "named", "--steps", "1", "--rank", "2"]
    done = pluralism("community", "train", "x", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "No row has a field 'attribute', so that all answers to a question are added up" in done.stderr


@pytest.mark.faults
@pytest.mark.faults
def test_a_killed_training_goes_on_and_its_community_joins_a_pool(folder: Path) -> None:
    arguments = ["community", "train", "europe", "--data", "survey.json", "--where", "continent=europe"]
    arguments += ["--model", "tiny", "--pool", "pool.toml", "--out", "adapters", "--license", "CC0-1.0", "--rank", "4"]
    arguments += ["--epochs", "1000", "--steps", "100", "--check-every", "10", "--patience", "1000", "--rate", "0.005"]
    with started(*arguments, cwd=folder) as killed:
        wait_for_line(killed.stderr, "After 10 steps")
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert [path.name for path in (folder / "adapters").iterdir()] == [".europe.training"]

    with started(*arguments, cwd=folder) as stopped:
        wait_for_line(stopped.stderr, "going on after")
        wait_for_line(stopped.stderr, "steps: held-out loss")
        stopped.send_signal(signal.SIGINT)
        _, told = stopped.communicate()
    assert stopped.returncode == 130, told
    assert "the same command goes on" in told
    assert [path.name for path in (folder / "adapters").iterdir()] == [".europe.training"]

    done = pluralism(*arguments, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)["europe"]
    assert made["figures"]["with the adapter"]["value"] < made["figures"]["without it"]["value"]
    names = ["europe.gguf", "europe.json", "europe.md", "europe.svg"]
    assert sorted(path.name for path in (folder / "adapters").iterdir()) == names
    results = json.loads((folder / made["results"]).read_text())
    assert results["counts"]["populations"] == "2"
    assert [point["step"] for point in results["curve"]] == list(range(0, 101, 10))

    options = ["--lora", "adapters/europe.gguf", "--description", "Europeans", "--pool", "pool.toml"]
    added = pluralism("community", "add", "europe", *options, cwd=folder)
    assert added.returncode == 0, added.stderr
    check = pluralism("communities", "check", "--pool", "pool.toml", cwd=folder)
    assert check.returncode == 0, check.stdout
    assert "ok      europe" in check.stdout
    assert pluralism("community", "remove", "europe", "--pool", "pool.toml", cwd=folder).returncode == 0
    assert (folder / "pool.toml").read_text() == POOL


@pytest.fixture(scope="module")
def published(folder: Path) -> Path:
    """A PEFT adapter of the tiny model."""
    import torch  # here, since every process of pytest would wait for it
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(load_base(folder / "tiny.gguf"), config)
    torch.nn.init.normal_(next(each for name, each in model.named_parameters() if "lora_B" in name))
    model.save_pretrained(str(folder / "news_left"), save_embedding_layers=False)
    return folder / "news_left"


def test_a_published_adapter_is_imported(folder: Path, published: Path) -> None:
    arguments = ("community", "import", published.name, "--model", "tiny", "--pool", "pool.toml", "--out", "imported")
    done = pluralism(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    adapter = folder / "imported" / "news_left.gguf"
    adapter.write_text("mine")
    again = pluralism(*arguments, cwd=folder)
    assert again.returncode == 2
    assert "news_left.gguf is there already; choose another name with --name, or remove that file." in again.stderr
    assert adapter.read_text() == "mine"
    in_file = pluralism(*arguments[:-1], "pool.toml", cwd=folder)
    assert (in_file.returncode, in_file.stderr) == (2, "Error: pool.toml is no folder; name another one to write to.\n")
    none = pluralism("community", "import", "--pool", "pool.toml", cwd=folder)
    assert (none.returncode, "names no published adapter" in none.stderr) == (2, True)


PUBLISHED = POOL.replace(
    'description = "People in towns', 'peft = "news_left"  # on the hub\nlora = "left.gguf"\ndescription = "People'
).replace("prior = 2.0", 'prior = 2.0\nlora = "own/farms.gguf"  # ours\npersona = "farms.md"')


def test_the_copy_of_a_pool_finds_its_files_from_where_it_lies(folder: Path, published: Path) -> None:
    (folder / "published.toml").write_bytes(PUBLISHED.replace("\n", "\r\n").encode())
    (folder / "farms.md").write_text("You live on a farm.")
    (folder / "own").mkdir()
    own = pluralism(
        *("community", "import", published.name, "--name", "farms", "--model", "tiny.gguf", "--out", "own"), cwd=folder
    )
    assert own.returncode == 0, own.stderr
    arguments = ("community", "import", "--pool", "published.toml", "--out", "whole/deep")
    whole = pluralism(*arguments, cwd=folder)
    assert whole.returncode == 0, whole.stderr
    assert "towns: whole/deep/left.gguf\n" in whole.stdout
    out = folder / "whole" / "deep"
    assert sorted(path.name for path in out.iterdir()) == ["farms.md", "left.gguf", "published.toml"]
    wanted = PUBLISHED.replace('"tiny.gguf"', '"../../tiny.gguf"').replace('"own/', '"../../own/')
    assert (out / "published.toml").read_bytes().decode() == wanted.replace("\n", "\r\n")
    check = pluralism("communities", "check", "--pool", "whole/deep/published.toml", cwd=folder)
    assert check.returncode == 0, check.stdout
    assert Pool.load(out / "published.toml").persona_text("farms") == "You live on a farm."
    again = pluralism(*arguments, cwd=folder)
    assert again.stdout.count("was there, and stays as it is") == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('lora = "left.gguf"\n', "", "[communities.towns] has peft without lora"),
        ('"left.gguf"', '"../left.gguf"', "lora is '../left.gguf', where no adapter is imported to"),
        ('"own/farms.gguf"', '"left.gguf"\npeft = "another"', "'left.gguf' is named for another adapter, too"),
        ("x", "x", "farms.md is there already, and is not the persona of [communities.farms]"),
    ],
)
def test_a_pool_that_cannot_be_imported_whole_is_one_clear_sentence(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in PUBLISHED
    (tmp_path / "published.toml").write_text(PUBLISHED.replace(old, new))
    (tmp_path / "farms.md").write_text("You live on a farm.")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "farms.md").write_text("# The card of a model")
    done = pluralism("community", "import", "--pool", "published.toml", "--out", "out", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["farms.md"]


def test_the_chat_template_of_a_pool_goes_with_its_copy(tmp_path: Path) -> None:
    templated = PUBLISHED.replace('gguf = "tiny.gguf"\n', 'gguf = "tiny.gguf"\ntemplate_file = "own/chat.jinja"\n')
    assert templated != PUBLISHED
    (tmp_path / "published.toml").write_text(templated)
    (tmp_path / "farms.md").write_text("You live on a farm.")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "chat.jinja").write_text("{{ messages }}")
    pool, copy = Pool.load(tmp_path / "published.toml"), tmp_path / "out" / "published.toml"
    for _ in range(2):
        write_moved_pool(pool, moved_pool(pool, tmp_path / "published.toml", copy))
        assert Pool.load(copy).template_texts() == {"tiny": "{{ messages }}"}
    (tmp_path / "own" / "chat.jinja").write_text("{{ another }}")
    with pytest.raises(PoolError, match="is not the chat template"):
        moved_pool(pool, tmp_path / "published.toml", copy)


def test_a_copy_that_cannot_be_written_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "published.toml").write_text(PUBLISHED)
    (tmp_path / "farms.md").write_text("You live on a farm.")
    (tmp_path / "out").touch()
    pool = Pool.load(tmp_path / "published.toml")
    moved = moved_pool(pool, tmp_path / "published.toml", tmp_path / "out" / "published.toml")
    with pytest.raises(PoolError, match=r"farms\.md cannot be copied to"):
        write_moved_pool(pool, moved)
    (tmp_path / "out").unlink()
    (tmp_path / "out" / "published.toml").mkdir(parents=True)
    with pytest.raises(PoolError, match=r"published\.toml cannot be written"):
        write_moved_pool(pool, moved)


@pytest.mark.parametrize(("name", "size"), [("paper-perspective", 6), ("paper-culture", 5)])
def test_the_papers_pools_name_its_adapters(name: str, size: int) -> None:
    pool = Pool.load(name)
    assert len(pool.communities) == size
    for called, community in pool.communities.items():
        assert community.lora == f"{called}.gguf"
        assert community.peft is not None
        assert community.peft.startswith("bunsenfeng/mistral-")
    assert len({community.peft for community in pool.communities.values()}) == size


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "x"], "--data"),
        (["train", "--data", "survey.json"], "--group"),
        (["train", "x", "--data", "gone.json"], "There is no file gone.json"),
        (["train", "x", "--data", "survey.json", "--model", "gone"], "no model 'gone'"),
        (["train", "x", "--data", "survey.json", "--model", "gone.gguf"], "There is no file gone.gguf"),
        (["train", "x", "--data", "survey.json", "--where", "continent=asia"], "there are Africa, Europe"),
        (["train", "x", "--data", "survey.json", "--rate", "3"], "between 0 and 1"),
        (["train", "x", "--data", "survey.json", "--start", "gone.gguf"], "'gone.gguf' does not exist"),
        (["train", "x", "--data", "survey.json", "--start", "tiny.gguf"], "cannot be read as a GGUF adapter"),
        (["import", "gone", "--model", "tiny"], "There is no folder gone"),
        (["add", "towns", "--description", "d"], "'towns' already"),
        (["add", "merge", "--description", "d"], "pool pool.toml: [communities.merge] has a name that graphs use"),
        (["add", "Vote", "--description", "d"], "pool pool.toml: [communities.Vote] has a name that graphs use"),
        (["add", "route", "--description", "d"], "pool pool.toml: [communities.route] has a name that graphs use"),
        (["add", "left.news", "--description", "d"], "Error: 'left.news' is no usable name"),
        (["add", "new", "--description", "d", "--model", "gone"], "names no model of this pool"),
        (["remove", "gone"], "no community 'gone'"),
    ],
)
def test_a_wrong_call_is_one_clear_sentence(folder: Path, arguments: list[str], said: str) -> None:
    pool = ["--pool", "pool.toml"]
    done = pluralism("community", *arguments, *pool, cwd=folder, env={"COLUMNS": "300"})
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert (folder / "pool.toml").read_text() == POOL


@pytest.mark.parametrize("name", ["vote", "route"])
def test_a_check_finds_a_name_that_a_graph_uses(tmp_path: Path, name: str) -> None:
    pool = tmp_path / "pool.toml"
    pool.write_text(POOL.replace("[communities.towns]", f"[communities.{name}]"))
    done = CliRunner().invoke(app, ["communities", "check", "--pool", str(pool)])
    assert str(done.exception) == f"pool {pool}: [communities.{name}] has a name that graphs use themselves; rename it"


def test_communities_come_and_go_and_all_else_in_the_file_stays(tmp_path: Path) -> None:
    pool = tmp_path / "pool.toml"
    pool.write_text(POOL)
    add = ["community", "add", "sea", "--pool", str(pool), "--description", 'People "at" sea\t\\ ü', "--prior", "0.5"]
    done = pluralism(*add, "--lora", str(tmp_path / "adapters" / "sea.gguf"))
    assert done.returncode == 0, done.stderr
    assert "not there yet" in done.stdout
    table = (
        '\n[communities.sea]\nmodel = "tiny"\nlora = "adapters/sea.gguf"\n'
        'description = "People \\"at\\" sea\\t\\\\ ü"\nprior = 0.5\n'
    )
    assert pool.read_text() == POOL.replace("prior = 2.0\n", f"prior = 2.0\n{table}")
    assert pluralism("community", "remove", "farms", "--pool", str(pool)).returncode == 0
    begin, end = POOL.index("# Those on"), POOL.index("# How they")
    without = POOL[:begin] + table.lstrip("\n") + "\n" + POOL[end:]
    assert pool.read_text() == without
    built_in = pluralism("community", "remove", "europe", "--pool", "culture")
    assert (built_in.returncode, "built-in" in built_in.stderr) == (2, True)
    for name in ("sea", "towns"):
        last = pluralism("community", "remove", name, "--pool", str(pool))
    assert last.returncode == 2  # a pool needs one


def test_an_adapter_is_found_from_a_folder_that_is_a_link(folder: Path, tmp_path: Path) -> None:
    far = tmp_path / "far" / "pools"
    far.mkdir(parents=True)
    (tmp_path / "pools").symlink_to(far)
    pool = tmp_path / "pools" / "pool.toml"
    pool.write_text(POOL)
    (tmp_path / "sea.gguf").touch()
    done = pluralism(
        "community", "add", "sea", "--pool", "pools/pool.toml", "--description", "d", "--lora", "sea.gguf", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    lora = Pool.load(pool).communities["sea"].lora
    assert lora is not None
    assert (pool.parent / lora).samefile(tmp_path / "sea.gguf")


@pytest.mark.parametrize("end", ["", "\n"])
def test_line_ends_and_a_byte_order_mark_stay(tmp_path: Path, end: str) -> None:
    pool = tmp_path / "pool.toml"
    before = b"\xef\xbb\xbf" + (POOL.rstrip("\n") + end).replace("\n", "\r\n").encode()
    pool.write_bytes(before)
    add_community(pool, "sea", {"model": "tiny", "description": "People at sea"})
    table = b'\r\n[communities.sea]\r\nmodel = "tiny"\r\ndescription = "People at sea"\r\n'
    whole = before if end else before + b"\r\n"
    assert pool.read_bytes() == whole.replace(b"prior = 2.0\r\n", b"prior = 2.0\r\n" + table)
    remove_community(pool, "sea")
    assert pool.read_bytes() == whole
    mixed = POOL.replace("\n", "\r\n", 3).encode()
    pool.write_bytes(mixed)
    add_community(pool, "sea", {"model": "tiny", "description": "People at sea"})
    remove_community(pool, "sea")
    assert pool.read_bytes() == mixed


def test_what_only_looks_like_a_table_is_none(tmp_path: Path) -> None:
    pool = tmp_path / "pool.toml"
    text = POOL.replace("[on farms]'", "[communities.towns]\n'")
    pool.write_text(text)
    remove_community(pool, "towns")
    begin, end = text.index("# The first"), text.index("# Those on")
    assert pool.read_text() == text[:begin] + text[end:]


def test_a_pool_written_in_another_way_is_left_alone(tmp_path: Path) -> None:
    pool = tmp_path / "pool.toml"
    text = 'base = "t"\nmodels = {t = {gguf = "t.gguf"}}\n[communities]\na = {model = "t", description = "A"}\n'
    pool.write_text(text + 'b = {model = "t", description = "B"}\n')
    done = pluralism("community", "remove", "a", "--pool", str(pool))
    assert (done.returncode, "by hand" in done.stderr) == (2, True)
    assert pool.read_text().startswith(text)


def test_the_command_starts_without_the_libraries_of_training() -> None:
    code = "import modular_pluralism.cli.community, sys; print({'torch', 'transformers', 'peft'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("value", "name"),
    [("New Zealand", "new_zealand"), ("España", "espana"), ("中国", "fiqs8s"), ("Россия", "h1alffa9f")],
)
def test_a_group_in_any_script_has_a_name(value: str, name: str) -> None:
    assert _group_name(None, value) == name
    assert _group_name("mine", value) == f"mine_{name}"
    assert COMMUNITY_NAME.fullmatch(name)
