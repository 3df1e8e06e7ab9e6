"""Keys that come in parts."""

import hashlib
import os

from common import client, refused

MIB = 1 << 20
s3 = client()
s3.create_bucket(Bucket="parts")


def begin(key, **arguments):
    return {"Bucket": "parts", "Key": key, "UploadId": s3.create_multipart_upload(Bucket="parts", Key=key, **arguments)["UploadId"]}


def send(upload, number, data):
    etag = s3.upload_part(PartNumber=number, Body=data, **upload)["ETag"]
    assert etag == '"%s"' % hashlib.md5(data).hexdigest()
    return {"PartNumber": number, "ETag": etag}


def complete(upload, parts, **arguments):
    return s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload, **arguments)


pieces = [os.urandom(5 * MIB), os.urandom(6 * MIB + 1), b"the end"]
upload = begin("dir/key", Metadata={"a": "b"}, ContentType="x/y", Tagging="t=1")
parts = [send(upload, number, data) for number, data in zip((2, 5, 9), pieces)]
send(upload, 7, b"left out")
parts[1] = send(upload, 5, pieces[1])
listed = s3.list_parts(MaxParts=2, **upload)
assert [part["PartNumber"] for part in listed["Parts"]] == [2, 5] and listed["IsTruncated"]
listed = s3.list_parts(PartNumberMarker=listed["NextPartNumberMarker"], **upload)
assert [(part["PartNumber"], part["Size"]) for part in listed["Parts"]] == [(7, 8), (9, 7)]
uploads = s3.list_multipart_uploads(Bucket="parts", Prefix="dir/")["Uploads"]
assert [found["UploadId"] for found in uploads] == [upload["UploadId"]]
refused(404, "404", s3.head_object, Bucket="parts", Key="dir/key")
refused(409, "BucketNotEmpty", s3.delete_bucket, Bucket="parts")

refused(400, "InvalidPartOrder", complete, upload=upload, parts=parts[::-1])
refused(400, "InvalidPart", complete, upload=upload, parts=[{"PartNumber": 1, "ETag": parts[0]["ETag"]}])
refused(400, "InvalidPart", complete, upload=upload, parts=[{"PartNumber": 2, "ETag": '"0"'}])
small = [parts[2], {"PartNumber": 10, "ETag": send(upload, 10, b"x")["ETag"]}]
refused(400, "EntityTooSmall", complete, upload=upload, parts=small)
refused(404, "NoSuchUpload", s3.upload_part, PartNumber=1, Body=b"x", **{**upload, "UploadId": "nothing"})
refused(400, "BadDigest", s3.upload_part, PartNumber=1, Body=b"x", ContentMD5="A" * 22 + "==", **upload)
refused(400, "InvalidArgument", s3.upload_part, PartNumber=10001, Body=b"x", **upload)

done = complete(upload, parts)
digests = b"".join(hashlib.md5(data).digest() for data in pieces)
assert done["ETag"] == '"%s-3"' % hashlib.md5(digests).hexdigest()
whole = b"".join(pieces)
got = s3.get_object(Bucket="parts", Key="dir/key")
assert got["Body"].read() == whole and got["ETag"] == done["ETag"]
assert (got["Metadata"], got["ContentType"], got["TagCount"]) == ({"a": "b"}, "x/y", 1)
around = 5 * MIB - 3
border = s3.get_object(Bucket="parts", Key="dir/key", Range=f"bytes={around}-{around + 9}")["Body"].read()
assert border == whole[around : around + 10]
refused(404, "NoSuchUpload", complete, upload=upload, parts=parts)
assert "Uploads" not in s3.list_multipart_uploads(Bucket="parts")

upload = begin("copied")
source = {"Bucket": "parts", "Key": "dir/key"}
made = []
for number, last in ((1, 5 * MIB + 4), (2, 20)):
    copied = s3.upload_part_copy(PartNumber=number, CopySource=source, CopySourceRange=f"bytes=1-{last}", **upload)
    made.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
refused(400, "InvalidArgument", s3.upload_part_copy, PartNumber=3, CopySource=source, CopySourceRange="bytes=1-", **upload)
complete(upload, made)
assert s3.get_object(Bucket="parts", Key="copied")["Body"].read() == whole[1 : 5 * MIB + 5] + whole[1:21]

upload = begin("dir/key")
send(upload, 1, b"never")
s3.abort_multipart_upload(**upload)
refused(404, "NoSuchUpload", s3.abort_multipart_upload, **upload)
assert s3.get_object(Bucket="parts", Key="dir/key")["Body"].read() == whole
s3.upload_file(__file__, "parts", "file")
for key in ("dir/key", "copied", "file"):
    s3.delete_object(Bucket="parts", Key=key)
s3.delete_bucket(Bucket="parts")
