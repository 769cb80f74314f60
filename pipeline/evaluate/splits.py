"""Parts of a cohort that must have nothing in common: train, tune, internal, external."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from pipeline.errors import ConfigError
from pipeline.evaluate.sources import Assignment


def check_splits(parts: Sequence[Assignment], voxels: dict[str, str | None]) -> None:
    """Refuse a cohort of which a patient, or an identical volume, is in two parts.

    Args:
        parts: to which part each series belongs.
        voxels: series key to the hash of its voxels, as far as it was ingested.

    Raises:
        ConfigError: the parts overlap; it names how many, and the first by their keys.
    """
    by_patient = _in_several((part.patient_key, part.split) for part in parts)
    by_voxels = _in_several(
        (digest, part.split) for part in parts if (digest := voxels.get(part.series_key)) is not None
    )
    problems = []
    if by_patient:
        problems.append(f"{len(by_patient)} patients ({', '.join(by_patient[:3])}) are in more than one part")
    if by_voxels:
        problems.append(f"{len(by_voxels)} volumes are in more than one part, voxel for voxel")
    if problems:
        raise ConfigError(
            f"the split leaks: {'; '.join(problems)}. Put all scans of a patient into one part of train, tune, "
            "internal and external"
        )


def _in_several(members: Iterable[tuple[str, str | None]]) -> list[str]:
    found: dict[str, set[str]] = defaultdict(set)
    for name, split in members:
        if split is not None:
            found[name].add(split)
    return sorted(name for name, splits in found.items() if len(splits) > 1)
