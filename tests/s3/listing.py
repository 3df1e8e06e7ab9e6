"""Listings of many keys: every page, both versions, groups, in the order of the keys' bytes."""

import os
from concurrent.futures import ThreadPoolExecutor

from common import client, refused

KEYS = int(os.environ.get("KEYS", "2500"))
s3 = client()
s3.create_bucket(Bucket="many")
keys = [f"k{n % 10}/{n:05}" for n in range(KEYS)] + ["a b/ü+", "a-b", "a/b", "a.b/c", "a!", "z\u0001"]
with ThreadPoolExecutor(16) as pool:
    list(pool.map(lambda key: s3.put_object(Bucket="many", Key=key, Body=b"."), keys))
keys.sort(key=str.encode)


def pages(version, **arguments):
    """Keys and groups of all pages."""
    found, groups = [], []
    for page in s3.get_paginator(version).paginate(Bucket="many", **arguments):
        found += [entry["Key"] for entry in page.get("Contents", [])]
        groups += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
    return found, groups


for version in ("list_objects", "list_objects_v2"):
    assert pages(version) == (keys, [])
    assert pages(version, PaginationConfig={"PageSize": 7}, Prefix="k3/") == ([k for k in keys if k.startswith("k3/")], [])
    top = sorted({k.split("/")[0] + "/" for k in keys if "/" in k}, key=str.encode)
    files = [k for k in keys if "/" not in k]
    for size in (1, 3, 1000):
        assert pages(version, Delimiter="/", PaginationConfig={"PageSize": size}) == (files, top)
    assert pages(version, Prefix="nothing") == ([], [])
page = s3.list_objects_v2(Bucket="many", StartAfter="k5/", MaxKeys=1)
assert page["Contents"][0]["Key"] == next(k for k in keys if k > "k5/") and page["IsTruncated"]
page = s3.list_objects_v2(Bucket="many", MaxKeys=0)
assert page["KeyCount"] == 0 and not page["IsTruncated"]
page = s3.list_objects_v2(Bucket="many", Prefix="a b/", FetchOwner=True)
assert page["Contents"][0]["Owner"]["DisplayName"] == os.environ["AWS_ACCESS_KEY_ID"]
assert page["Contents"][0]["StorageClass"] == "STANDARD" and page["Contents"][0]["Size"] == 1
refused(400, "InvalidArgument", s3.list_objects_v2, Bucket="many", ContinuationToken="!")
refused(400, "InvalidArgument", s3.list_objects, Bucket="many", MaxKeys=-1)
