"""Python clients of AWS, one per run: `clients.py NAME`.

Each line on stdin asks for credentials anew, through the library's own chain;
the answer is one line with the access key ID and, where the library tells it,
the end of the session in RFC 3339.
"""

import asyncio
import contextlib
import io
import os
import sys


def boto3():
    from boto3 import Session

    def poll():
        found = Session().get_credentials()
        return found.get_frozen_credentials().access_key, found._expiry_time

    return poll


def aiobotocore():
    from aiobotocore.session import AioSession

    async def resolve():
        found = await AioSession().get_credentials()
        frozen = await found.get_frozen_credentials()
        return frozen.access_key, found._expiry_time

    return lambda: asyncio.run(resolve())


def awscli():
    """Presigning asks for nothing but credentials."""
    from awscli.clidriver import create_clidriver

    def poll():
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            status = create_clidriver().main(["s3", "presign", "s3://bucket/key"])
        if status != 0:
            raise RuntimeError(out.getvalue())
        return out.getvalue().strip(), None

    return poll


def awscrt():
    from awscrt.auth import AwsCredentialsProvider

    def poll():
        chain = AwsCredentialsProvider.new_default_chain()
        found = chain.get_credentials().result(timeout=20)
        return found.access_key_id, found.expiration

    return poll


def minio():
    from minio.credentials import IamAwsProvider

    def poll():
        found = IamAwsProvider().retrieve()
        return found.access_key, found.expiration

    return poll


def obstore():
    from datetime import timedelta

    from obstore import sign
    from obstore.store import S3Store

    def poll():
        store = S3Store("bucket", region=os.environ["AWS_REGION"])
        return sign(store, "GET", "key", timedelta(minutes=1)), None

    return poll


def opendal():
    from opendal import AsyncOperator

    async def resolve():
        store = AsyncOperator(
            "s3",
            bucket="bucket",
            region=os.environ["AWS_REGION"],
            disable_ec2_metadata="true",
        )
        return (await store.presign_read("key", 60)).url, None

    return lambda: asyncio.run(resolve())


def pyarrow():
    """The AWS SDK for C++; the endpoint answers with the access key ID."""
    from pyarrow.fs import S3FileSystem

    def poll():
        s3 = S3FileSystem(scheme="http", endpoint_override=os.environ["S3_AUTHORITY"])
        with s3.open_input_stream("bucket/key") as stream:
            return stream.read().decode(), None

    return poll


def deltalake():
    """The AWS SDK for Rust; the endpoint answers with the access key ID."""
    from deltalake.fs import DeltaStorageHandler

    def poll():
        options = {
            "endpoint_url": f"http://{os.environ['S3_AUTHORITY']}",
            "allow_http": "true",
            # Else it takes the object_store's chain, not the SDK's.
            "aws_force_credential_load": "true",
        }
        with DeltaStorageHandler("s3://bucket", options).open_input_file("key") as file:
            return file.read().decode(), None

    return poll


def describe(error):
    return f"{type(error).__name__}: {error}".replace("\n", " ")[:300]


def main():
    poll = globals()[sys.argv[1]]()
    print("ready", flush=True)
    for _ in sys.stdin:
        try:
            key, expires = poll()
            print("ok", key, f"{expires:%FT%TZ}" if expires else "-", flush=True)
        except Exception as error:
            print("error", describe(error), flush=True)


main()
