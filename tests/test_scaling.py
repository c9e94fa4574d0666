"""The example of docs/scaling.md: its pool, its compose file and its balancer fit together."""

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
        assert config.base_url is not None
        assert re.split("[/]+", config.base_url)[1] in hosts
        assert config.api_key_env in services["graphs"]["environment"]
    balancer = (DOCS / "compose" / "nginx.conf").read_text()
    assert set(re.findall(r"server (\S+:8000)", balancer)) == hosts - {"balancer:8080"}
    assert "listen 8080;" in balancer
    pools = [each for each in services["graphs"]["volumes"] if "scaling_pool.toml" in each]
    assert pools[0].split(":")[1].startswith(services["graphs"]["environment"]["MODULAR_PLURALISM_POOLS"])
