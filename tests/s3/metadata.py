"""What is kept beside the bytes: headers, metadata, tags; and copies, which take it along or not."""

from common import client, refused

s3 = client()
s3.create_bucket(Bucket="meta")
s3.create_bucket(Bucket="other")
HEADERS = {
    "ContentType": "text/plain; charset=utf-8",
    "CacheControl": "max-age=3",
    "ContentDisposition": 'attachment; filename="x"',
    "ContentEncoding": "identity",
    "ContentLanguage": "de",
}
METADATA = {"colour": "green", "shape": "round"}


def check(bucket, key, headers=HEADERS, metadata=METADATA):
    for answer in (s3.head_object(Bucket=bucket, Key=key), s3.get_object(Bucket=bucket, Key=key)):
        assert answer["Metadata"] == metadata, answer
        for name, value in headers.items():
            assert answer[name] == value, answer


def tags(bucket, key):
    return {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]}


s3.put_object(Bucket="meta", Key="a/key", Body=b"bytes", Metadata=METADATA, Tagging="team=red&empty=", **HEADERS)
check("meta", "a/key")
assert tags("meta", "a/key") == {"team": "red", "empty": ""}
assert s3.get_object(Bucket="meta", Key="a/key")["TagCount"] == 2
got = s3.get_object(Bucket="meta", Key="a/key", ResponseContentType="image/png", ResponseCacheControl="no-store")
assert (got["ContentType"], got["CacheControl"]) == ("image/png", "no-store")
new = {"TagSet": [{"Key": "k", "Value": "v ü"}]}
s3.put_object_tagging(Bucket="meta", Key="a/key", Tagging=new)
assert tags("meta", "a/key") == {"k": "v ü"}
check("meta", "a/key")
refused(400, "MetadataTooLarge", s3.put_object, Bucket="meta", Key="large", Body=b"", Metadata={"a": "x" * 2048})
refused(400, "InvalidTag", s3.put_object, Bucket="meta", Key="large", Body=b"", Tagging="a=1&a=2")
refused(404, "NoSuchKey", s3.get_object_tagging, Bucket="meta", Key="large")
refused(404, "NoSuchKey", s3.put_object_tagging, Bucket="meta", Key="a", Tagging=new)

source = {"Bucket": "meta", "Key": "a/key"}
copied = s3.copy_object(Bucket="other", Key="deep/copy ü", CopySource=source)["CopyObjectResult"]
assert copied["ETag"] == s3.head_object(**source)["ETag"]
check("other", "deep/copy ü")
assert tags("other", "deep/copy ü") == {"k": "v ü"}
assert s3.get_object(Bucket="other", Key="deep/copy ü")["Body"].read() == b"bytes"
s3.copy_object(
    Bucket="other", Key="new", CopySource=source, MetadataDirective="REPLACE", Metadata={"x": "y"},
    ContentType="a/b", TaggingDirective="REPLACE", Tagging="t=1",
)
check("other", "new", {"ContentType": "a/b"}, {"x": "y"})
assert tags("other", "new") == {"t": "1"}
refused(400, "InvalidRequest", s3.copy_object, CopySource=source, **source)
s3.copy_object(CopySource=source, MetadataDirective="REPLACE", Metadata={"only": "this"}, **source)
check("meta", "a/key", {}, {"only": "this"})
assert s3.get_object(**source)["Body"].read() == b"bytes"
refused(412, "PreconditionFailed", s3.copy_object, Bucket="other", Key="no", CopySource=source, CopySourceIfMatch='"x"')
refused(404, "NoSuchKey", s3.copy_object, Bucket="other", Key="no", CopySource={"Bucket": "meta", "Key": "nothing"})
refused(404, "NoSuchBucket", s3.copy_object, Bucket="other", Key="no", CopySource={"Bucket": "none", "Key": "k"})
refused(404, "404", s3.head_object, Bucket="other", Key="no")
s3.delete_object_tagging(Bucket="other", Key="new")
assert tags("other", "new") == {}
s3.delete_object(**source)
assert s3.get_object(Bucket="other", Key="deep/copy ü")["Body"].read() == b"bytes", "a copy outlives its source"
