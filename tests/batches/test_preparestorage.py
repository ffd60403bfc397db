"""`manage.py preparestorage`."""

import io

import pytest
from django.core.management import CommandError, call_command


def prepared() -> str:
    out = io.StringIO()
    call_command("preparestorage", stdout=out)
    return out.getvalue()


def test_missing_buckets_are_made_once(on_s3):
    on_s3.client.delete_bucket(Bucket="results")
    assert prepared() == "originals is there, results was made.\n"
    assert prepared() == "originals is there, results is there.\n"


def test_a_server_that_refuses_is_named(on_s3):
    on_s3.client.delete_bucket(Bucket="results")
    on_s3.faults.append(("PUT", "results", "403 AccessDenied"))
    with pytest.raises(CommandError, match=r"The bucket results can't be used: .* Check"):
        prepared()


def test_a_disk_needs_nothing():
    assert prepared() == "originals are on the disk, results are on the disk.\n"
