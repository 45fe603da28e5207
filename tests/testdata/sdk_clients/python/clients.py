"""Python clients of AWS, one per run: `clients.py NAME [keep]`.

Each line on stdin asks for credentials through the library's own chain: anew,
or with `keep` through one that was opened once and refreshes by itself. The
answer is one line with the access key ID and, where the library tells it, the
end of the session in RFC 3339.
"""

import asyncio
import contextlib
import io
import os
import subprocess
import sys


def boto3():
    from boto3 import Session

    def open():
        found = Session().get_credentials()
        if found is None:
            raise LookupError("no credentials")

        def poll():
            key = found.get_frozen_credentials().access_key
            return key, getattr(found, "_expiry_time", None)

        return poll

    return open


def aiobotocore():
    from aiobotocore.session import AioSession

    def open():
        loop = asyncio.new_event_loop()
        found = loop.run_until_complete(AioSession().get_credentials())
        if found is None:
            raise LookupError("no credentials")

        def poll():
            frozen = loop.run_until_complete(found.get_frozen_credentials())
            return frozen.access_key, getattr(found, "_expiry_time", None)

        return poll

    return open


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

    return lambda: poll


def awscrt():
    from awscrt.auth import AwsCredentialsProvider

    def open():
        chain = AwsCredentialsProvider.new_default_chain()

        def poll():
            found = chain.get_credentials().result(timeout=20)
            return found.access_key_id, getattr(found, "expiration", None)

        return poll

    return open


def minio():
    from minio.credentials import IamAwsProvider

    def open():
        provider = IamAwsProvider()

        def poll():
            found = provider.retrieve()
            return found.access_key, found.expiration

        return poll

    return open


def obstore():
    from datetime import timedelta

    from obstore import sign
    from obstore.store import S3Store

    def open():
        store = S3Store("bucket", region=os.environ["AWS_REGION"])
        return lambda: (sign(store, "GET", "key", timedelta(minutes=1)), None)

    return open


def opendal():
    from opendal import AsyncOperator

    def open():
        store = AsyncOperator(
            "s3",
            bucket="bucket",
            region=os.environ["AWS_REGION"],
            # It does not know AWS_EC2_METADATA_DISABLED.
            disable_ec2_metadata=os.environ.get("OPENDAL_NO_METADATA", "true"),
        )

        async def resolve():
            return (await store.presign_read("key", 10)).url, None

        return lambda: asyncio.run(resolve())

    return open


def pyarrow():
    """The AWS SDK for C++; the endpoint answers with the access key ID."""
    from pyarrow.fs import S3FileSystem

    def open():
        s3 = S3FileSystem(scheme="http", endpoint_override=os.environ["S3_AUTHORITY"])

        def poll():
            with s3.open_input_stream("bucket/key") as stream:
                return stream.read().decode(), None

        return poll

    return open


def deltalake():
    """The AWS SDK for Rust; the endpoint answers with the access key ID."""
    from deltalake.fs import DeltaStorageHandler

    def open():
        options = {
            "endpoint_url": f"http://{os.environ['S3_AUTHORITY']}",
            "allow_http": "true",
            # Else it takes the object_store's chain, not the SDK's.
            "aws_force_credential_load": "true",
        }
        storage = DeltaStorageHandler("s3://bucket", options)

        def poll():
            with storage.open_input_file("key") as file:
                return file.read().decode(), None

        return poll

    return open


def rclone():
    """A program of its own each time, which presigns."""
    settings = {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_S3_PROVIDER": "Other",
        "RCLONE_S3_ENV_AUTH": "true",
        "RCLONE_S3_ENDPOINT": f"http://{os.environ.get('S3_AUTHORITY')}",
        "RCLONE_LOW_LEVEL_RETRIES": "1",
    }

    def poll():
        argv = ["rclone", "link", "--retries=1", ":s3:bucket/key"]
        env = {**os.environ, **settings}
        done = subprocess.run(argv, env=env, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return done.stdout.strip(), None

    return lambda: poll


def s3cmd():
    """A program of its own each time, which signs a URL."""

    def poll():
        argv = ["s3cmd", "--config=/dev/null", "signurl", "s3://bucket/key", "+60"]
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr or done.stdout)
        return done.stdout.strip(), None

    return lambda: poll


def describe(error):
    return f"{type(error).__name__}: {error}".replace("\n", " ")[:300]


def main():
    open = globals()[sys.argv[1]]()
    keeps = sys.argv[2:] == ["keep"]
    kept = None
    print("ready", flush=True)
    for _ in sys.stdin:
        try:
            poll = kept or open()
            kept = poll if keeps else None
            key, expires = poll()
            print("ok", key, f"{expires:%FT%TZ}" if expires else "-", flush=True)
        except Exception as error:
            print("error", describe(error), flush=True)


main()
