"""An object store of S3's kind on this machine: moto's server, with images in a bucket."""

import io
import logging
import os
from contextlib import contextmanager

import numpy as np
from PIL import Image

from cxr_transfer import storage
from cxr_transfer.datasets.phantom import draw_radiograph

BUCKET = "films"
KEYS = {
    "AWS_ACCESS_KEY_ID": "made",
    "AWS_SECRET_ACCESS_KEY": "made-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


class MadeStore:
    """The server, asked by the makers' own client, which no test of ours uses otherwise."""

    def __init__(self, url):
        import boto3

        self.url = url
        self.environment = {**KEYS, "AWS_ENDPOINT_URL": url}
        self._boto3 = boto3
        self.client = self.client_of("s3")
        self.client.create_bucket(Bucket=BUCKET)

    def client_of(self, service):
        return self._boto3.client(
            service,
            endpoint_url=self.url,
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            region_name=KEYS["AWS_DEFAULT_REGION"],
        )

    def put(self, key, content):
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)
        return f"s3://{BUCKET}/{key}"

    def get(self, key):
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def keys(self, prefix=""):
        listed = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for entry in listed.get("Contents", [])]

    def put_images(self, prefix, number):
        """Put images, the fourth of them damaged, the fifth absent; returns their addresses."""
        addresses = []
        for seed in range(number):
            key = f"{prefix}/{seed:02}.png"
            addresses.append(f"s3://{BUCKET}/{key}")
            if seed == 4:
                continue
            self.put(key, b"no image at all" if seed == 3 else png(seed))
        return addresses


def png(seed):
    """The bytes of a drawn radiograph."""
    drawn = draw_radiograph(("normal", "covid19")[seed % 2], rng=np.random.default_rng(seed))
    content = io.BytesIO()
    Image.fromarray(drawn).save(content, "PNG")
    return content.getvalue()


@contextmanager
def made_store():
    import requests
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        # What it holds is its process's, and that of a server before.
        requests.post(f"{url}/moto-api/reset", timeout=60)
        yield MadeStore(url)
    finally:
        server.stop()


@contextmanager
def connected(environment, patch):
    """The environment of a person who may use a store, for the time of a block."""
    for name, value in environment.items():
        patch.setenv(name, value)
    storage._connected.cache_clear()
    try:
        yield
    finally:
        storage._connected.cache_clear()
