"""TLS to Airflow over real sockets: always verified, optionally with the operator's CA and client certificate."""

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import truststore
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from dagcall.airflow.http import Transport
from dagcall.errors import AirflowUnreachable, ConfigError
from dagcall.settings.airflow import AirflowSettings
from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask
from tests.fake_airflow.serving import WallClock
from tests.fake_airflow.serving import served as on_a_socket
from tests.support.in_memory import Served


class Authority:
    """Issues certificates; each file contains the certificate and its key."""

    def __init__(self, folder: Path, now: datetime, name: str = "ca") -> None:
        self._folder, self._now = folder, now
        self._key, self._name = ec.generate_private_key(ec.SECP256R1()), _name(name)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._signed(self._name, self._key, is_authority=True).public_bytes(Encoding.PEM))

    def certificate(self, name: str, *, password: bytes | None = None, is_expired: bool = False) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
        path = self._folder / f"{name}.pem"
        path.write_bytes(
            self._signed(_name(name), key, is_authority=False, is_expired=is_expired).public_bytes(Encoding.PEM)
            + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        )
        return path

    def _signed(
        self, subject: x509.Name, key: Any, *, is_authority: bool, is_expired: bool = False
    ) -> x509.Certificate:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - timedelta(days=2))
            .not_valid_after(self._now + timedelta(days=-1 if is_expired else 1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, WallClock().now())


@contextmanager
def tls_airflow(authority: Authority, *, is_expired: bool = False, **tls: Any) -> Iterator[FakeAirflow]:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("one", tasks=[FakeTask("it", lambda _: 1)]))
    certificate = authority.certificate("server", is_expired=is_expired)
    with on_a_socket(airflow, ssl_certfile=certificate, **tls) as airflow.url:
        airflow.transport = None  # type: ignore[assignment]
        yield airflow


async def problem_with(served: Served, airflow: FakeAirflow, **settings: Any) -> str | None:
    async with served(airflow, dags=["*"], airflow=settings) as dagcall:
        assert bool(dagcall.catalog.snapshot.tools) == (dagcall.catalog.snapshot.problem is None)
        return dagcall.catalog.snapshot.problem


async def test_certificate_of_an_unknown_ca_is_refused(served: Served, authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", WallClock().now(), "other")
    with tls_airflow(authority) as airflow:
        for settings in ({}, {"ca_file": other.file}):
            problem = await problem_with(served, airflow, **settings) or ""
            assert "its TLS certificate was refused: unable to get local issuer certificate. dagcall trusts" in problem
            assert airflow.requests == []
        assert await problem_with(served, airflow, ca_file=authority.file) is None


async def test_authorities_of_the_system_are_trusted(
    served: Served, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))  # OpenSSL's name for the system's list
    with tls_airflow(authority) as airflow:
        assert await problem_with(served, airflow) is None
    assert isinstance(AirflowSettings().tls(), truststore.SSLContext)


async def test_expired_certificate_is_reported(served: Served, authority: Authority) -> None:
    with tls_airflow(authority, is_expired=True) as airflow:
        problem = await problem_with(served, airflow, ca_file=authority.file) or ""
    assert "certificate has expired. Renew the certificate, or correct this machine's clock" in problem


async def test_certificate_for_another_name_is_reported(served: Served, authority: Authority) -> None:
    with tls_airflow(authority) as airflow:
        airflow.url = airflow.url.replace("127.0.0.1", "localhost")
        problem = await problem_with(served, airflow, ca_file=authority.file) or ""
    assert "Hostname mismatch" in problem
    assert "Use the name that is in the certificate in airflow.url" in problem


async def test_client_certificate_is_sent_if_airflow_requires_one(served: Served, authority: Authority) -> None:
    wanted: dict[str, Any] = {"ssl_ca_certs": authority.file, "ssl_cert_reqs": ssl.CERT_REQUIRED}
    with tls_airflow(authority, **wanted) as airflow:
        assert await problem_with(served, airflow, ca_file=authority.file)
        assert airflow.requests == []
        shown = {"ca_file": authority.file, "client_cert_file": authority.certificate("client")}
        assert await problem_with(served, airflow, **shown) is None


@contextmanager
def strict_server(authority: Authority, newest: ssl.TLSVersion) -> Iterator[str]:
    """Run a server that says why it refuses a client's certificate, as OpenSSL's servers do; yield its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate("server"))
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = newest

    def refuse(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed
                return
            guarded = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            with suppress(ssl.SSLError):
                guarded.do_handshake()
            with socket.socket(fileno=guarded.detach()) as plain, suppress(OSError):
                plain.settimeout(5)
                while plain.recv(100_000):  # closing with unread data would reset the connection, and lose the alert
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse, args=(listener,))
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    ("newest", "is_presented", "reason"),
    [
        (ssl.TLSVersion.TLSv1_3, False, "it requires a client certificate: set airflow.client_cert_file"),
        (ssl.TLSVersion.TLSv1_2, False, "if it requires a client certificate, set airflow.client_cert_file"),
        (ssl.TLSVersion.TLSv1_3, True, "it does not trust the authority that signed the certificate"),
        (ssl.TLSVersion.TLSv1_2, True, "it does not trust the authority that signed the certificate"),
    ],
)
async def test_refused_client_certificate_is_reported(
    authority: Authority, tmp_path: Path, newest: ssl.TLSVersion, reason: str, *, is_presented: bool
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", WallClock().now(), "other").certificate("client")
    settings = AirflowSettings(ca_file=authority.file, client_cert_file=other if is_presented else None)
    with strict_server(authority, newest) as url:
        transport = Transport(url, read_seconds=5, max_answer_bytes=1_000_000, verify=settings.tls())
        with pytest.raises(AirflowUnreachable, match=reason):
            await transport.send("GET", "/api/v2/version", headers={}, is_effect_possible=False)
        await transport.aclose()


def test_encrypted_client_key_is_refused_without_a_prompt(authority: Authority) -> None:
    path = authority.certificate("client", password=b"secret")
    with pytest.raises(ConfigError, match=r"airflow\.client_cert_file: .*client\.pem cannot be used"):
        AirflowSettings(client_cert_file=path).tls()


def test_client_key_without_a_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="client_key_file needs client_cert_file"):
        AirflowSettings(client_key_file=tmp_path / "key.pem")
