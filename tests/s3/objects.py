"""Buckets and keys: put, got whole and in part, under conditions, and deleted."""

import hashlib
import os
import urllib.error
import urllib.request

from common import client, refused

s3 = client()


def read(key, **arguments):
    return s3.get_object(Bucket="round", Key=key, **arguments)["Body"].read()


def buckets():
    before = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    assert "round" not in before
    s3.create_bucket(Bucket="round")
    assert "round" in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    s3.head_bucket(Bucket="round")
    assert s3.get_bucket_location(Bucket="round")["LocationConstraint"] is None
    refused(409, "BucketAlreadyOwnedByYou", s3.create_bucket, Bucket="round")
    refused(404, "404", s3.head_bucket, Bucket="nothing")
    refused(404, "NoSuchBucket", s3.delete_bucket, Bucket="nothing")
    refused(404, "NoSuchBucket", s3.list_objects_v2, Bucket="nothing")
    refused(404, "NoSuchBucket", s3.put_object, Bucket="nothing", Key="k", Body=b"x")
    error = refused(400, "InvalidBucketName", s3.create_bucket, Bucket="Bad_Name")
    assert "upper-case" in str(error), error
    refused(403, "Access Denied", s3.list_objects_v2, Bucket="round", ExpectedBucketOwner="somebody")


def contents():
    for size in (0, 1, 5, 16384, 16385, 1 << 20, (5 << 20) + 3):
        data = os.urandom(size)
        key = f"dir/of/sizes/{size}"
        put = s3.put_object(Bucket="round", Key=key, Body=data)
        etag = '"%s"' % hashlib.md5(data).hexdigest()
        assert put["ETag"] == etag
        got = s3.get_object(Bucket="round", Key=key)
        assert got["Body"].read() == data and got["ETag"] == etag
        head = s3.head_object(Bucket="round", Key=key)
        assert (head["ContentLength"], head["ETag"]) == (size, etag)
        for algorithm in ("CRC32", "SHA1", "SHA256"):
            put = s3.put_object(Bucket="round", Key=key, Body=data, ChecksumAlgorithm=algorithm)
            assert put["Checksum" + algorithm], put
        if size > 10:
            assert read(key, Range="bytes=3-9") == data[3:10]
            assert read(key, Range=f"bytes={size - 4}-{size + 100}") == data[-4:]
            assert read(key, Range="bytes=-7") == data[-7:]
            part = s3.get_object(Bucket="round", Key=key, Range="bytes=5-")
            assert part["Body"].read() == data[5:]
            assert part["ContentRange"] == f"bytes 5-{size - 1}/{size}"
        refused(416, "InvalidRange", s3.get_object, Bucket="round", Key=key, Range=f"bytes={size}-")
    for key in ("ü/日本 語", "a b+c=d&e%f#g?h", "tab\tand", "a\u0001", "quote'\"<>&", "dash-", "...", "x" * 255):
        s3.put_object(Bucket="round", Key="hostile/" + key, Body=key.encode())
        assert read("hostile/" + key) == key.encode()
    for key in ("//", "/a", "a//b", ".", "..", "a/../b", "x" * 256, "y/" * 600):
        try:
            s3.put_object(Bucket="round", Key=key, Body=b"")
        except Exception as error:
            assert "InvalidArgument" in str(error) or "KeyTooLong" in str(error), (key, error)
        else:
            raise AssertionError(f"{key!r} was taken")
    refused(409, "Conflict", s3.put_object, Bucket="round", Key="dir/of", Body=b"x")
    refused(409, "Conflict", s3.put_object, Bucket="round", Key="dir/of/sizes/5/below", Body=b"x")


def conditions():
    s3.put_object(Bucket="round", Key="key", Body=b"one")
    head = s3.head_object(Bucket="round", Key="key")
    etag, modified = head["ETag"], head["LastModified"]
    assert read("key", IfMatch=etag) == b"one"
    refused(412, "PreconditionFailed", s3.get_object, Bucket="round", Key="key", IfMatch='"other"')
    refused(304, "304", s3.get_object, Bucket="round", Key="key", IfNoneMatch=etag)
    refused(304, "304", s3.get_object, Bucket="round", Key="key", IfModifiedSince=modified)
    assert read("key", IfUnmodifiedSince=modified) == b"one"
    early = modified.replace(year=modified.year - 1)
    assert read("key", IfModifiedSince=early) == b"one"
    refused(412, "PreconditionFailed", s3.get_object, Bucket="round", Key="key", IfUnmodifiedSince=early)
    refused(404, "NoSuchKey", s3.get_object, Bucket="round", Key="nothing")
    refused(404, "404", s3.head_object, Bucket="round", Key="nothing")
    refused(404, "NoSuchKey", s3.get_object, Bucket="round", Key="no\u0001thing")
    refused(400, "BadDigest", s3.put_object, Bucket="round", Key="key", Body=b"two", ContentMD5="A" * 22 + "==")
    refused(400, "InvalidDigest", s3.put_object, Bucket="round", Key="key", Body=b"two", ContentMD5="no")
    refused(400, "BadDigest", s3.put_object, Bucket="round", Key="key", Body=b"two", ChecksumSHA256="A" * 43 + "=")
    assert read("key") == b"one", "what is refused changes nothing"


def links():
    url = s3.generate_presigned_url("put_object", Params={"Bucket": "round", "Key": "link/ü"}, ExpiresIn=60)
    request = urllib.request.Request(url, data=b"by link", method="PUT")
    assert urllib.request.urlopen(request).status == 200
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "round", "Key": "link/ü"}, ExpiresIn=60)
    assert urllib.request.urlopen(url).read() == b"by link"
    try:
        urllib.request.urlopen(url.replace("link", "dir"))
        raise AssertionError("a link for one key served another")
    except urllib.error.HTTPError as error:
        assert error.code == 403


def deletes():
    s3.put_object(Bucket="round", Key="folder/", Body=b"")
    s3.put_object(Bucket="round", Key="folder/inside", Body=b"")
    assert s3.delete_object(Bucket="round", Key="folder/")["ResponseMetadata"]["HTTPStatusCode"] == 204
    s3.delete_object(Bucket="round", Key="nothing")
    refused(409, "BucketNotEmpty", s3.delete_bucket, Bucket="round")
    keys = [o["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="round") for o in page["Contents"]]
    assert "folder/" not in keys and "folder/inside" in keys
    hostile = [key for key in keys if "\u0001" in key]
    for key in hostile:
        objects = [{"Key": "key"}, {"Key": key}]
        refused(400, "MalformedXML", s3.delete_objects, Bucket="round", Delete={"Objects": objects})
        s3.delete_object(Bucket="round", Key=key)
    keys = [key for key in keys if key not in hostile]
    assert "key" in keys and len(hostile) == 1
    objects = [{"Key": key} for key in keys + ["nothing"]]
    answer = s3.delete_objects(Bucket="round", Delete={"Objects": objects})
    assert {gone["Key"] for gone in answer["Deleted"]} == set(keys + ["nothing"])
    assert "Errors" not in answer
    assert s3.list_objects_v2(Bucket="round")["KeyCount"] == 0
    s3.delete_bucket(Bucket="round")


def missing():
    s3.create_bucket(Bucket="missing")
    refused(501, "NotImplemented", s3.get_bucket_policy, Bucket="missing")
    refused(501, "NotImplemented", s3.get_bucket_acl, Bucket="missing")
    versioning = {"Status": "Enabled"}
    assert "Status" not in s3.get_bucket_versioning(Bucket="missing")
    refused(501, "NotImplemented", s3.put_bucket_versioning, Bucket="missing", VersioningConfiguration=versioning)
    put = {"Bucket": "missing", "Key": "k", "Body": b"x"}
    refused(501, "NotImplemented", s3.put_object, ServerSideEncryption="AES256", **put)
    refused(404, "NoSuchKey", s3.get_object, Bucket="missing", Key="k")
    s3.delete_bucket(Bucket="missing")


for step in (buckets, contents, conditions, links, deletes, missing):
    step()
