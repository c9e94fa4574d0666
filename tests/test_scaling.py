"""The page on scaling: its examples hold together, and its numbers follow from its formulas."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from modular_pluralism import Pool
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.pool import RemoteModel

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "scaling.md").read_text()


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((DOCS / "compose.yaml").read_text())
    return read


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool.load(DOCS / "scaling_pool.toml")


def test_the_pool_can_be_opened(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "any-key")
    PoolModels(pool).check()
    assert pool.quorum == 4


def test_what_the_compose_file_names_is_there(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for service in services.values():
        assert service["image"]
        assert set(service.get("depends_on", {})) <= set(services)
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (DOCS / source).is_file(), source
            elif not source.startswith("${"):
                assert source in compose["volumes"]
        for other, needs in service.get("depends_on", {}).items():
            assert needs["condition"] == "service_started" or "healthcheck" in services[other]


def test_the_pool_asks_what_the_servers_serve(compose: dict[str, Any], pool: Pool) -> None:
    services = compose["services"]
    vllm = services["vllm-a"]["command"]
    served = {each.split("=")[0] for each in vllm if "=/adapters/" in each} | {vllm[0]}
    hosts = {f"{name}:8000" for name in services if name.startswith("vllm")} | {"balancer:8080"}
    for config in pool.models.values():
        assert isinstance(config, RemoteModel)
        assert config.openai in served
        assert {re.split("[/]+", address)[1] for address in config.addresses} <= hosts
        assert config.api_key_env in services["graphs"]["environment"]
    balancer = (DOCS / "compose" / "nginx.conf").read_text()
    assert set(re.findall(r"server (\S+:8000)", balancer)) == hosts - {"balancer:8080"}
    assert "listen 8080;" in balancer
    pools = [each for each in services["graphs"]["volumes"] if "scaling_pool.toml" in each]
    assert pools[0].split(":")[1].startswith(services["graphs"]["environment"]["MODULAR_PLURALISM_POOLS"])


def _tokens(k: int) -> dict[str, tuple[int, int, int]]:
    """Calls, tokens read and tokens written for a question."""
    return {
        "Overton": (k + 1, 130 * k + 90 + 133 * k, 128 * k + 256),
        "steerable": (k + 2, 130 * k + 115 + 133 * k + 245, 128 * k + 1 + 256),
        "distributional": (5 * k, 180 * k + 1120 * k, 128 * k + 4 * k),
    }


@pytest.mark.parametrize("k", [6, 100])
def test_the_tables_follow_from_the_formulas(k: int) -> None:
    for mode, (calls, read, written) in _tokens(k).items():
        rows = [line for line in PAGE.splitlines() if line.startswith(f"| {mode}: ")]
        assert len(rows) == 2
        assert f" {read:,} | {written:,} |" in rows[0]
        rates = (round(each * 1000 / 60) for each in (calls, read, written))
        assert " | ".join(f"{each:,}" for each in rates) in rows[1]


def test_the_memory_follows_from_the_formulas() -> None:
    token = 2 * 32 * 8 * 128 * 2
    assert f"= {token:,} bytes = {token // 1024} KiB" in PAGE
    assert f"{258 * token / 2**20:g} MiB" in PAGE
    assert f"{13_646 * token / 2**30:.2f} GiB" in PAGE
    layer = 16 * (8192 + 5120 + 5120 + 8192 + 3 * 18_432)
    assert f"{layer:,} parameters" in PAGE
    assert f"{layer * 32 * 2 / 2**20:g} MiB" in PAGE
    assert f"{54 * 2**30 // token:,} tokens, or {54 * 2**30 // token // 258:,} comments" in PAGE
