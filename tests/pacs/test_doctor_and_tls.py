"""The doctor sends an image the whole way; associations are encrypted with certificates of both."""

import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cxr_transfer.errors import UsageError
from cxr_transfer.pacs.doctor import examine
from cxr_transfer.pacs.settings import Tls, node_settings
from cxr_transfer.pacs.store_transport import StoreTransport
from cxr_transfer.pacs.tls import tls_context
from pacs.orthanc import free_port
from pacs.sending import echo, image, send

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.slow
def test_the_doctor_shows_each_step_and_what_does_not_answer():
    settings = node_settings(
        destinations=({"name": "away", "ae": "A", "address": "127.0.0.1", "port": free_port()},)
    )
    steps = {step["step"]: step for step in examine(settings)}
    away = steps.pop("destination away")
    assert not away["ok"]
    assert list(steps) == ["node", "C-ECHO", "C-STORE", "answers", "same study", "queue"]
    assert all(step["ok"] for step in steps.values()), steps
    assert "Comprehensive 3D SR" in steps["answers"]["note"]
    assert "Secondary Capture" in steps["answers"]["note"]


def certified(folder, name, authority=None):
    """Write a certificate and its key; return both objects."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signing = (authority[0].subject, authority[1]) if authority else (named, key)
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(signing, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return built, key


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    authority = certified(folder, "authority")
    certified(folder, "node", authority)
    certified(folder, "stranger")
    return folder


def tls(folder, name="node"):
    return {
        "certificate": folder / f"{name}.pem",
        "key": folder / f"{name}.key",
        "authority": folder / "authority.pem",
    }


def test_an_encrypted_port_takes_who_shows_a_certificate_and_nobody_else(listening, certificates):
    listener, queue = listening(tls=tls(certificates))
    own = tls_context(Tls(**tls(certificates)), accepts=False)
    assert echo(listener.port, tls_args=(own, "localhost"))
    assert send(listener.port, image(1), tls_args=(own, "localhost")) == [0]
    assert queue.counts()["received"] == 1
    strange = ssl.create_default_context(cafile=certificates / "authority.pem")
    assert not echo(listener.port, tls_args=(strange, "localhost"))
    strange.load_cert_chain(certificates / "stranger.pem", certificates / "stranger.key")
    assert not echo(listener.port, tls_args=(strange, "localhost"))
    assert not echo(listener.port)
    old = tls_context(Tls(**tls(certificates)), accepts=False)
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    old.set_ciphers("AES128-SHA256:@SECLEVEL=0")  # without forward secrecy
    assert not echo(listener.port, tls_args=(old, "localhost"))
    assert echo(listener.port, tls_args=(own, "localhost"))


@pytest.mark.slow
def test_a_peer_that_does_not_end_the_handshake_holds_up_nobody(listening, certificates):
    import socket

    listener, _ = listening(tls=tls(certificates), limits={"handshake_s": 1.0})
    own = tls_context(Tls(**tls(certificates)), accepts=False)
    with socket.create_connection(("127.0.0.1", listener.port)) as waiting:
        assert echo(listener.port, tls_args=(own, "localhost"))
        waiting.settimeout(20)
        assert waiting.recv(1) == b""


def test_answers_go_out_encrypted(listening, certificates):
    listener, _ = listening(tls=tls(certificates))
    settings = node_settings(
        tls=tls(certificates),
        destinations=(
            {"name": "a", "ae": "CXR", "address": "localhost", "port": listener.port, "tls": True},
        ),
    )
    assert StoreTransport(settings, settings.destinations[0]).echo()


def test_certificates_that_are_none_are_refused(certificates, tmp_path):
    (tmp_path / "none.pem").write_text("no certificate")
    chosen = Tls(**tls(certificates) | {"certificate": tmp_path / "none.pem"})
    with pytest.raises(UsageError) as refused:
        tls_context(chosen, accepts=True)
    assert refused.value.code == "bad_certificate"
