"""A large object: sent in parts, copied in parts, read as a whole and in pieces around the borders of the parts."""

import os
import sys

from boto3.s3.transfer import TransferConfig
from common import client, refused

MIB = 1 << 20
PART = 8 * MIB
path = sys.argv[1]
size = os.path.getsize(path)
s3 = client()
parts = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4)


def same(key, start, length):
    """The object has the file's bytes there; nothing is held as a whole."""
    got = s3.get_object(Bucket="large", Key=key, Range=f"bytes={start}-{start + length - 1}")
    assert got["ContentLength"] == min(length, size - start), got
    with open(path, "rb") as file:
        file.seek(start)
        for piece in got["Body"].iter_chunks(MIB):
            assert piece == file.read(len(piece)), f"{key} differs behind {start}"


s3.upload_file(path, "large", "sent", Config=parts)
assert s3.head_object(Bucket="large", Key="sent")["ContentLength"] == size
assert s3.head_object(Bucket="large", Key="sent")["ETag"].endswith('-%d"' % -(-size // PART))
same("sent", 0, size)
for border in range(PART, size, max(PART, size // 16 // PART * PART)):
    same("sent", border - 3, 7)
same("sent", size - 5, 100)
refused(416, "InvalidRange", s3.get_object, Bucket="large", Key="sent", Range=f"bytes={size}-")
source = {"Bucket": "large", "Key": "sent"}
s3.copy(source, "large", "copied", Config=parts)
s3.delete_object(Bucket="large", Key="sent")
same("copied", 0, size)
