"""Wires dagcall together: the only module that knows every part."""

import hashlib
import json
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from dagcall.airflow import (
    Account,
    AirflowApi,
    AirflowClock,
    AirflowRest,
    Gate,
    IssuerHttp,
    Requests,
    airflow_clock,
    subject_of,
)
from dagcall.auth import (
    Accounts,
    AuthMiddleware,
    IntrospectedTokens,
    IssuerKeys,
    JwtTokens,
    Keys,
    Refusals,
    TokenPolicy,
    Tokens,
)
from dagcall.log_ins import credentials_for, lasting_secret
from dagcall.masking import Masker
from dagcall.mcp import Audit, McpServer, opened
from dagcall.metrics import Metrics, State
from dagcall.results import FailureReader
from dagcall.runs import Identity, Quotas, Runs, Waiter
from dagcall.settings import (
    STDERR,
    AccountSettings,
    AirflowSettings,
    AuthSettings,
    Settings,
    read_secret,
)
from dagcall.tools import Catalog, DagCache, Pins
from dagcall.traces import Traces

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dagcall:
    """Everything that one process needs to serve."""

    catalog: Catalog
    runs: Runs
    waiter: Waiter
    mcp: McpServer
    metrics: Metrics
    refusals: Refusals
    """How many HTTP requests were refused."""
    quotas: Quotas

    async def apply(self, settings: Settings, read_pins: Callable[[], Pins] | None) -> None:
        """Apply the settings that can change while dagcall serves (`RELOADED`), and no others."""
        self.quotas.limit(**settings.limits.model_dump())
        await self.catalog.allow(
            settings.policies,
            callers=settings.auth.callers,
            read_pins=read_pins,
            every_seconds=settings.refresh_seconds,
        )

    @property
    def is_ready(self) -> bool:
        """Whether this process can take calls.

        Not while it cannot reach Airflow: another process may.
        """
        is_working = self.catalog.refresher.is_working and self.waiter.poller.is_working
        return self.catalog.is_read and is_working and not self.waiter.api.rest.gate.breaker.is_open


@asynccontextmanager
async def assembled(
    settings: Settings,
    *,
    wait_seconds: float,
    read_pins: Callable[[], Pins] | None = None,
    remembered: DagCache | None = None,
    transport: Any = None,
    wall_clock: Callable[[], datetime] | None = None,
) -> AsyncIterator[Dagcall]:
    """Wire dagcall together, without a request to Airflow yet.

    Args:
        settings: the settings.
        wait_seconds: how long a call waits if its tool does not set it.
        read_pins: reads the pins at each refresh; None to publish without pins.
        remembered: the cache of the dags; None to start without one.
        transport: replaces the network in tests; an httpx transport.
        wall_clock: the time in UTC, for tests.
    """
    gate = Gate(
        settings.airflow.max_in_flight, floor=settings.airflow.min_in_flight, queue=settings.airflow.max_in_line
    )
    own_clock = wall_clock or (lambda: datetime.now(UTC))  # noqa: TID251 - the real clock, except in tests
    clock = airflow_clock(own_clock)
    requests = Requests()
    network = {"verify": settings.airflow.tls(), "transport": transport, "requests": requests}
    credentials = credentials_for(settings.airflow, settings.airflow.url, gate, clock, **network)
    rest = AirflowRest(
        settings.airflow.url,
        credentials,
        gate=gate,
        max_answer_bytes=settings.airflow.max_answer_bytes,
        clock=clock,
        **network,
    )
    api = AirflowApi(rest, ui_url=settings.airflow.ui_url)
    catalog = Catalog(api, settings.policies, read_pins=read_pins, remembered=remembered, callers=settings.auth.callers)
    waiter = Waiter(api)
    identity = Identity(identity_secret(settings))
    masker = Masker(known_secrets(settings))
    failure_reader = FailureReader(api, masker, log_lines=settings.server.log_lines)
    quotas = Quotas(api, **settings.limits.model_dump())
    runs = Runs(
        api,
        catalog,
        waiter,
        identity,
        failure_reader=failure_reader,
        masker=masker,
        quotas=quotas,
        wall_clock=clock.now,
    )
    accounts, metrics, traces = _accounts(settings, gate, clock, network), Metrics(catalog), Traces.of(api)
    with opened(settings.audit.file) as write:
        mcp = McpServer(
            catalog,
            runs,
            audit=Audit(
                write,
                arguments=settings.audit.arguments,
                masker=masker,
                key=identity.key_for("digests in the audit log"),
                wall_clock=own_clock,
                listeners=[metrics.requested, *([] if traces is None else [traces.requested])],
                is_logged=settings.audit.file != STDERR,  # which has a line for each request already
            ),
            accounts=accounts,
            wait_seconds=settings.server.wait_seconds or wait_seconds,
            max_wait_seconds=settings.server.max_wait_seconds,
            cache_seconds=settings.refresh_seconds,
            max_result_bytes=settings.server.max_result_bytes,
            state_key=identity.key_for("request state"),
            task_key=identity.key_for("tasks without a run"),
            wall_clock=clock.now,
        )
        mcp.sdk.middleware.insert(0, metrics.watch)  # first in the list, to see how each message ends
        dagcall = Dagcall(catalog, runs, waiter, mcp, metrics, Refusals(), quotas)
        metrics.export(
            State(
                catalog,
                waiter,
                gate,
                requests,
                [credentials, *(account.credentials for account in accounts.all)],
                dagcall.refusals,
                in_progress=lambda: mcp.intake.in_progress,
                is_ready=lambda: dagcall.is_ready and not mcp.intake.is_closed,
            )
        )
        try:
            yield dagcall
        finally:
            await mcp.aclose()
            await runs.aclose()
            if traces is not None:
                await traces.aclose()
            await waiter.aclose()
            await rest.aclose()


def identity_secret(settings: Settings) -> bytes:
    """Return the key for run ids: the configured secret, or one derived from the log-in to Airflow.

    Replicas with the same password or token then make the same run ids, and so does a restarted server. A caller knows
    everything else in its run ids, and could try passwords against them, so the hash is slow. Without a lasting secret
    (a command prints the token, or Airflow needs none), each process has its own key, and recognises only retries of
    calls that it saw.
    """
    server, airflow = settings.server, settings.airflow
    if server.secret is not None:
        return server.secret.get_secret_value().encode()
    if server.secret_file is not None:
        return read_secret(server.secret_file, "server.secret_file").encode()
    lasting = lasting_secret(airflow)
    if not lasting:
        logger.info("without server.secret, retries are not recognised after a restart")
        return secrets.token_bytes(32)
    return _slow_hash(lasting, json.dumps(["dagcall", airflow.url, airflow.username or airflow.client_id]))


@lru_cache(maxsize=8)
def _slow_hash(password: str, salt: str) -> bytes:
    """Return 32 bytes, after about 50 ms and with 16 MiB."""
    return hashlib.scrypt(password.encode(), salt=salt.encode(), n=2**14, r=8, p=1, dklen=32)


def remembered_file(settings: Settings) -> Path | None:
    """Return the cache file of the dags.

    Each combination of Airflow, account and allow-list has its own file. Its name is a fast hash, which reveals nothing
    of a token: tokens are random.
    """
    if not settings.remember:
        return None
    selectors = sorted(policy.selector for policy in settings.policies)
    what = json.dumps([settings.airflow.url, _account_identity(settings.airflow), selectors])
    return settings.folder_for_caches / f"dags-{hashlib.sha256(what.encode()).hexdigest()[:32]}.json"


def _account_identity(airflow: AirflowSettings) -> list[str | None]:
    """Return an identity of this account that stays the same when its password or token is renewed."""
    token = airflow.token.get_secret_value() if airflow.token is not None else None
    if airflow.token_file is not None:
        token = read_secret(airflow.token_file, "airflow.token_file")
    if token is not None:
        return ["token", subject_of(token) or token]
    return [airflow.username or airflow.client_id, airflow.token_command or airflow.mwaa_environment or airflow.auth]


def known_secrets(settings: Settings) -> list[str]:
    """Return every secret in the settings and their files, to be masked for callers.

    Raises:
        ConfigError: a file of a secret is unusable.
    """
    server, airflow = settings.server, settings.airflow
    log_ins = {"airflow": airflow, **{f"accounts[{n}]": account for n, account in enumerate(settings.accounts)}}
    files = {
        f"{table}.{key}": path for table, log_in in log_ins.items() for key, path in log_in.secret_files.items()
    } | {"server.secret_file": server.secret_file, "auth.client_secret_file": settings.auth.client_secret_file}
    secret = [] if server.secret is None else [server.secret.get_secret_value()]
    return [
        *(secret for log_in in log_ins.values() for secret in log_in.secrets()),
        *settings.auth.secrets(),
        *secret,
        *(read_secret(path, name) for name, path in files.items() if path is not None),
    ]


def _accounts(settings: Settings, gate: Gate, clock: AirflowClock, network: Mapping[str, Any]) -> Accounts:
    """Return the Airflow accounts for callers.

    Raises:
        ConfigError: a file of a secret is unusable.
    """

    def account(entry: AccountSettings) -> Account | None:
        if entry.is_own:
            return None
        return Account(entry.name, credentials_for(entry, settings.airflow.url, gate, clock, **network))

    return Accounts([(entry.callers, account(entry)) for entry in settings.accounts])


@asynccontextmanager
async def admitting(
    auth: AuthSettings, *, url: str, metadata_url: str, open_paths: Collection[str], refusals: Refusals
) -> AsyncIterator[AuthMiddleware]:
    """Wire the authentication of HTTP callers together, without a request to the issuer yet.

    Args:
        auth: the settings, with authentication on.
        url: the address that callers use.
        metadata_url: where clients find the issuer.
        open_paths: paths without authentication.
        refusals: counts refused requests.

    Raises:
        ConfigError: a file is unusable.
    """
    keys = None if auth.keys_file is None else Keys(auth.keys_file)
    http = IssuerHttp(verify=auth.tls(), client=_issuers_client(auth))
    try:
        yield AuthMiddleware(
            keys=keys,
            tokens=_tokens(auth, http, url),
            required_scopes=auth.required_scopes,
            metadata_url=metadata_url if auth.issuer else None,
            open_paths=open_paths,
            refusals=refusals,
        )
    finally:
        await http.aclose()


def _tokens(auth: AuthSettings, http: IssuerHttp, url: str) -> Tokens | None:
    if auth.issuer is None:
        return None
    rules = TokenPolicy(auth.issuer, auth.audience or url, auth.groups_claim)
    if auth.introspection_url is not None:
        return IntrospectedTokens(rules, http, auth.introspection_url)
    return JwtTokens(rules, IssuerKeys(http, issuer=auth.issuer, url=auth.jwks_url))


def _issuers_client(auth: AuthSettings) -> tuple[str, str] | None:
    if auth.client_id is None:
        return None
    if auth.client_secret_file is not None:
        return auth.client_id, read_secret(auth.client_secret_file, "auth.client_secret_file")
    return auth.client_id, "".join(auth.secrets())
