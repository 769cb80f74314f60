"""The README says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from schemas.config import Select
from schemas.reasons import MEANING, Reason

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


def test_the_table_of_reasons_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| ([^|]+) \| ([^|]+) \|$", README.split("## Why a scan")[1], re.MULTILINE)
    told = {reason: (meaning, to_do) for reason, meaning, to_do in rows if reason in set(Reason)}
    assert told == {reason.value: meaning for reason, meaning in MEANING.items()}


def test_the_rules_of_selection_are_valid() -> None:
    example = re.search(r"```yaml\n(select:.*?)```", README, re.DOTALL)
    assert example is not None
    rules = [Select.model_validate(rule) for rule in yaml.safe_load(example[1])["select"]]
    assert [rule.name for rule in rules] == ["thin_enough", "no_head", "soft_kernel_first"]
