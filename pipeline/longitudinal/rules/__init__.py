"""Response rules and instability parts as SQL over the views `lesions`, `vertebrae` and `edges`.

Each row is computed from masks under the rule that it names, and is no reader's assessment. Only scans that count take
part, as `store.followed` lists them: of each study and modality the primary series with a result. The first study is
taken for the baseline, and where two scans were not matched yet there is no answer. Columns and their meanings stand in
`schemas.responses`.
"""

from __future__ import annotations

from pipeline.longitudinal.rules.md_anderson import MD_ANDERSON
from pipeline.longitudinal.rules.pcwg3 import PCWG3
from pipeline.longitudinal.rules.recist import RECIST
from pipeline.longitudinal.rules.sins import SINS

RULE_VIEWS: dict[str, str] = {
    "response_recist": RECIST,
    "response_md_anderson": MD_ANDERSON,
    "response_pcwg3": PCWG3,
    "sins": SINS,
}
"""View to its SELECT."""
