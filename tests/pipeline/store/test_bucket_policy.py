"""infra/bucket-policy.json on a real server: runs add, readers read all but identity, and nobody removes."""

from __future__ import annotations

import json
from pathlib import Path

import botocore.session
import pyarrow as pa
import pytest

from pipeline.errors import ServiceError
from pipeline.identity import SECRET
from pipeline.query import run_query
from pipeline.store import Store
from tests.servers import ObjectStorage

POLICY = Path(__file__).resolve().parents[3] / "infra" / "bucket-policy.json"
TABLE = pa.table({"series_key": ["a"]})


@pytest.fixture
def uri(object_storage: ObjectStorage) -> str:
    """Address of a store in a bucket that has the policy."""
    bucket = object_storage.new_bucket()
    policy = json.loads(
        POLICY.read_text().replace("111122223333", "000000000000").replace(":::spinetally", f":::{bucket}")
    )
    # the last is about HTTPS, which this server does not speak
    policy["Statement"] = [s for s in policy["Statement"] if s["Sid"] != "NothingInTheClear"]
    client = botocore.session.Session().create_client(
        "s3", endpoint_url=object_storage.endpoint, region_name="us-east-1",
        aws_access_key_id=object_storage.key, aws_secret_access_key=object_storage.secret,
    )  # fmt: skip
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    return f"s3://{bucket}/demo"


def test_runs_add_readers_read_all_but_identity(uri: str, object_storage: ObjectStorage) -> None:
    run = Store.create(uri, cohort="demo", storage_options=object_storage.of_user("spinetally-run"))
    run.create_once(SECRET, b"00" * 32)
    run.write_table("truth/x.parquet", TABLE)
    reader = Store.open(uri, storage_options=object_storage.of_user("spinetally-reader"))
    assert reader.read_table("truth/x.parquet").equals(TABLE)
    assert run_query(uri, "SELECT count(*) AS n FROM scans", storage_options=reader.storage_options).to_pylist() == [
        {"n": 0}
    ]
    with pytest.raises(ServiceError, match="check the credentials"):
        reader.read(SECRET)
    with pytest.raises(ServiceError, match="check the credentials"):
        reader.write_table("truth/y.parquet", TABLE)
    for store in (run, reader):
        with pytest.raises(PermissionError):
            store.fs.rm_file(store.path("truth/x.parquet"))


def test_a_policy_of_such_form_is_what_protects(uri: str, object_storage: ObjectStorage) -> None:
    other = f"s3://{object_storage.new_bucket()}/demo"
    with pytest.raises(ServiceError, match="check the credentials"):
        Store.create(other, cohort="demo", storage_options=object_storage.of_user("spinetally-run"))
