"""A cohort file: paths from its own folder, and one line for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.cohort_file import load_cohort
from flows.work import Job
from pipeline.errors import ConfigError


def _load(folder: Path, text: str) -> object:
    (folder / "cohort.yaml").write_text(text)
    return load_cohort(folder / "cohort.yaml")


def test_relative_paths_are_meant_from_the_files_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my-model").mkdir()
    (tmp_path / "cohort.yaml").write_text(
        "source: scans/manifest.csv\nstore: ./store\ncluster: slurm.yaml\n"
        "recipe: {CT: {levels: {model: my-model}, lesions: {models: [builtin/ct-lesions, ../other]}}}\n"
    )
    monkeypatch.chdir("/")
    config = load_cohort(tmp_path / "cohort.yaml")
    assert config.source == str(tmp_path / "scans/manifest.csv")
    assert config.store == str(tmp_path / "store")
    assert config.cluster == str(tmp_path / "slurm.yaml")
    use = config.recipe["CT"]
    assert use.levels is not None
    assert use.lesions is not None
    assert use.levels.model == str(tmp_path / "my-model")
    assert use.lesions.models == ["builtin/ct-lesions", str(tmp_path / "../other")]


def test_addresses_stay_as_they_are(tmp_path: Path) -> None:
    text = "source: s3://bucket/scans\nstore: s3://bucket/store\ncluster: tcp://host:8786\n"
    config = load_cohort(_written(tmp_path, text))
    assert (config.source, config.store, config.cluster) == (
        "s3://bucket/scans", "s3://bucket/store", "tcp://host:8786",
    )  # fmt: skip


def _written(folder: Path, text: str) -> Path:
    (folder / "cohort.yaml").write_text(text)
    return folder / "cohort.yaml"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("source: a\n", "cohort.yaml: store is missing and has no default: add it"),
        ("source: a\nstor: b\n", "cohort.yaml line 2: unknown key 'stor'; did you mean 'store'?"),
        (
            "source: a\nstore: b\nrecipe:\n  CT:\n    lesions: {model: x, threshold: 1.5}\n",
            "cohort.yaml line 5: recipe.CT.lesions.threshold: Input should be less than or equal to 1, got 1.5",
        ),
        ("source: a\nstore: b\nslots: many\n", "cohort.yaml line 3: slots: Input should be a valid integer"),
        ("source: a\nsource: b\nstore: c\n", "cohort.yaml line 2: source stands twice, first in line 1: keep one"),
        ("source: [\n", "cohort.yaml line 2: no valid YAML"),
        ("", "should be keys with values such as `source:` and `store:`, got nothing"),
        ("- a\n", "got a list"),
        ("source: a\nstore: b\n? [a, b]\n: c\n", "cohort.yaml line 3: a key is a word"),
        ("source: &a [*a]\nstore: b\n", "an alias"),
        ("source: a\nstore: s3:/bucket/x\n", "'s3:/bucket/x' is neither a path nor an address"),
        ("source: ''\nstore: b\n", "cohort.yaml line 1: source: String should have at least 1 character"),
        ("source: a\nstore: b\nselect:\n  - {prefer: [kvp]}\n", "cohort.yaml line 4: select.0.name is missing"),
        ("source: a\nstore: b\nselect: [{name: x}, {name: x}]\n", "two rules are called 'x'"),
        (
            "source: a\nstore: b\nselect:\n  - {name: x, ranges: {kvp: [140, 80]}}\n",
            "cohort.yaml line 4: select.0.ranges: kvp goes from 140 down to 80",
        ),
    ],
)
def test_each_mistake_is_told_with_its_place(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, text)
    assert line in str(caught.value)


def test_several_mistakes_are_several_lines(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, "source: a\nstore: b\nslots: 0\nworkers: -1\n")
    assert len(str(caught.value).splitlines()) == 2


def test_what_yaml_cannot_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, "source: a\0\n")
    assert len(str(caught.value).splitlines()) == 1


def test_a_secret_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, "source: a\nstore: b\nstorage_options: hunter2\n")
    assert "hunter2" not in str(caught.value)


def test_a_secret_is_not_in_what_python_prints(tmp_path: Path) -> None:
    config = _load(tmp_path, "source: a\nstore: b\nstorage_options: {secret: hunter2}\n")
    assert "hunter2" not in repr(config) + str(config)
    assert "hunter2" not in repr(Job(print, {"config": config}))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_cohort(tmp_path / "nothing.yaml")
