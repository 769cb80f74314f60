"""The store, and what lies in it: files, arrays of volumes and masks, rows that commit them.

`files` is the store itself, `filesystem` the folder or bucket beneath it, `volumes` and `zarr_shard` its arrays,
`results` the commits.
"""

from pipeline.store.files import MARK, TEMPORARY, Store, new_attempt
from pipeline.store.filesystem import from_environment, open_filesystem, service_errors

__all__ = ["MARK", "TEMPORARY", "Store", "from_environment", "new_attempt", "open_filesystem", "service_errors"]
