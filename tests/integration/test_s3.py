"""The same over S3: a local server, its address in git, its keys only in the environment."""

import boto3
import pytest
from collaboration import TABLE, Clone, new_project
from moto.server import ThreadedMotoServer

pytestmark = pytest.mark.slow

KEY, SECRET = "an-access-key", "-".join(["a", "secret", "that", "must", "not", "leak"])


@pytest.fixture(scope="module")
def server():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def alice(smoke_run, programs, server, tmp_path_factory) -> Clone:
    boto3.client(
        "s3", endpoint_url=server, region_name="us-east-1",
        aws_access_key_id=KEY, aws_secret_access_key=SECRET,
    ).create_bucket(Bucket="study")  # fmt: skip
    env = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    project = new_project(tmp_path_factory.mktemp("s3") / "alice", smoke_run, programs, env)
    project.run("dvc", "remote", "add", "--quiet", "--default", "store", "s3://study/meddiff")
    project.run("dvc", "remote", "modify", "store", "endpointurl", server)
    output = project.meddiff("share").stdout
    assert "shared" in output and SECRET not in output
    project.commit("Share")
    return project


def test_a_table_comes_back_and_nothing_is_planned(alice, tmp_path):
    bob = alice.clone(tmp_path / "bob")
    bob.meddiff("restore", TABLE)
    assert (bob.root / TABLE).read_bytes() == (alice.root / TABLE).read_bytes()
    assert bob.planned(TABLE) == {}
    bob.meddiff("restore", "--everything")
    assert bob.files() == alice.files() and bob.planned() == {}


def test_no_secret_is_in_git(alice):
    assert SECRET not in alice.git("log", "--patch", "--all")


def test_a_server_that_does_not_answer_is_told_in_one_line(alice, tmp_path):
    bob = alice.clone(tmp_path / "bob")
    away = "http://127.0.0.1:9"
    bob.run("dvc", "remote", "modify", "--local", "store", "endpointurl", away)
    bob.run("dvc", "remote", "modify", "--local", "store", "connect_timeout", "2")
    output = bob.fails("restore", TABLE)
    assert output.count("error: ") == 1 and "default remote" in output and SECRET not in output
    assert bob.files() == set()
