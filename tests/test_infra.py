"""What is in infra/, as far as it can be checked without Docker, Kubernetes and GPUs; the rest runs in tests/flows."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import dask
import distributed  # noqa: F401 - its defaults are Dask's
import kubernetes_validate
import pytest
import yaml

from flows.cluster import _FAIR
from schemas.config import CohortConfig
from tests.composed import COMPOSE, environment_of

INFRA = Path(__file__).resolve().parents[1] / "infra"
VERSIONS = ("1.30", "1.34", "1.37")
MANIFESTS = list(yaml.safe_load_all((INFRA / "kubernetes" / "spinetally.yaml").read_text()))
SECRETS = dict.fromkeys(re.findall(r"^(\w+)=$", (INFRA / "env.example").read_text(), re.MULTILINE), "x")


def _profile(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((INFRA / "clusters" / name).read_text())
    return content


def _pins(name: str) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==(\S+)", (INFRA / name).read_text(), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", package).lower(): version for package, version in found}


# Compose


def test_no_service_listens_beyond_loopback() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert published
    assert all(str(port).startswith("127.0.0.1:") for port in published)


def test_every_secret_is_asked_for_and_none_is_given() -> None:
    text = (INFRA / "compose.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+)", text)) == set(SECRETS)
    assert set(re.findall(r"\$\{\w+([^}]*)\}", text)) == {":?"}, "no default for a secret"


def test_prefect_has_a_password_and_dask_has_certificates() -> None:
    assert environment_of("prefect", SECRETS)["PREFECT_SERVER_API_AUTH_STRING"] == "admin:x"
    assert environment_of("runner", SECRETS)["PREFECT_API_AUTH_STRING"] == "admin:x"
    for service in ("scheduler", "worker", "runner"):
        settings = {name: value for name, value in environment_of(service, SECRETS).items() if name.startswith("DASK_")}
        assert settings["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "True"
        for name in settings:
            key = name.removeprefix("DASK_").lower().replace("__", ".")
            assert dask.config.get(key, default="unknown") != "unknown", f"Dask has no setting {key}"


# Image


def test_the_image_runs_without_rights_from_what_is_there() -> None:
    text = (INFRA / "Dockerfile").read_text()
    assert re.findall(r"^USER (\w+)$", text, re.MULTILINE) == ["spinetally"]
    assert text.index("USER spinetally") > text.rindex("RUN pip install"), "the packages are root's"
    for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE):
        assert all((INFRA.parent / source).exists() for source in line.split()[:-1])
    assert "--require-hashes -r infra/requirements.lock" in text
    for setting in ("allowed-failures", "worker-saturation"):
        name = f"DASK_DISTRIBUTED__SCHEDULER__{setting.upper().replace('-', '_')}"
        (said,) = re.findall(rf"{name}=(\S+)", text)
        assert float(said) == _FAIR[f"distributed.scheduler.{setting}"], "a scheduler of the image does as our own"


def test_the_lock_has_hashes_and_the_versions_of_the_tests() -> None:
    text = (INFRA / "requirements.lock").read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=\w)", text)
    assert all("--hash=sha256:" in entry for entry in entries)
    pins, tested = _pins("requirements.lock"), _pins("constraints.txt")
    assert {name: version for name, version in pins.items() if tested.get(name, version) != version} == {}
    assert {"prefect", "dask", "zarr", "duckdb", "dask-jobqueue"} <= pins.keys()
    assert "torch" not in pins, "it comes from its own channel"


# Prefect


def test_the_deployment_is_one_that_prefect_and_we_take() -> None:
    content = yaml.safe_load((INFRA / "prefect.yaml").read_text())
    (deployment,) = content["deployments"]
    CohortConfig.model_validate(deployment["parameters"]["cohort"])
    path, function = deployment["entrypoint"].split(":")
    assert hasattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), function)
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    assert content["prefect-version"] == _pins("constraints.txt")["prefect"]


# Kubernetes


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda m: f"{m['kind']} {m['metadata']['name']}")
@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_fit_the_schemas_of_kubernetes(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def _pod_of(manifest: dict[str, Any]) -> dict[str, Any] | None:
    spec = manifest.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    return spec["template"]["spec"] if "template" in spec else None


def test_pods_have_no_rights_and_bounded_memory() -> None:
    pods = [pod for manifest in MANIFESTS if (pod := _pod_of(manifest))]
    assert len(pods) == 3
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["serviceAccountName"] == "spinetally"
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
            assert not any("hostPort" in port for port in container.get("ports", []))
            assert all("value" not in variable for variable in container.get("env", []))
    assert {m["spec"].get("type", "ClusterIP") for m in MANIFESTS if m["kind"] == "Service"} == {"ClusterIP"}
    assert not [m for m in MANIFESTS if m["kind"] == "Secret"], "secrets are made by hand"


def test_the_cohort_of_the_manifests_is_one_that_we_take() -> None:
    (text,) = [m["data"]["cohort.yaml"] for m in MANIFESTS if "cohort.yaml" in m.get("data", {})]
    assert CohortConfig.model_validate(yaml.safe_load(text)).cluster == "tls://scheduler:8786"


# Clusters


@pytest.mark.parametrize("path", sorted((INFRA / "clusters").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_profile_says_what_the_loader_takes(path: Path) -> None:
    from flows.cluster import _description

    assert "." in _description(str(path))["cluster_class"]


def test_the_pods_of_the_dask_operator_fit_the_schemas() -> None:
    """The operator makes a container of image, resources, env and worker_command."""
    given = _profile("kubernetes.yaml")["cluster_kwargs"]
    container = {"name": "worker", "image": given["image"], "args": given["worker_command"]}
    container |= {"env": given["env"], "resources": given["resources"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "w"}, "spec": {"containers": [container]}}
    for version in VERSIONS:
        kubernetes_validate.validate(pod, version, strict=True)


def test_profiles_of_one_machine_stay_on_loopback() -> None:
    for name in ("local.yaml", "cuda.yaml"):
        given = _profile(name)["cluster_kwargs"]
        assert (given["host"], given["dashboard_address"]) == ("127.0.0.1", "127.0.0.1:0")
    slurm = _profile("slurm.yaml")["cluster_kwargs"]
    assert slurm["security"] is True
    assert slurm["scheduler_options"]["dashboard_address"] == "127.0.0.1:0"
