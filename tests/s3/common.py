"""What the scripts share: a client for the gateway under test, and errors by their codes."""

import os

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def client():
    """A client that signs as Amazon's do today, and tries once."""
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        retries={"max_attempts": 1},
        max_pool_connections=32,
    )
    return boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], region_name="us-east-1", config=config)


def refused(status, code, call, **arguments):
    """The call is refused with this status and this code; gives the error."""
    try:
        answer = call(**arguments)
    except ClientError as error:
        found = (error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"])
        assert found == (status, code), (found, (status, code), error)
        return error
    raise AssertionError(f"not refused with {status} {code}: {answer}")
