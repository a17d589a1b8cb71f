"""The questions that the checks ask: few, read-only, one after the other (but for the one about several at once).

Each returns plain facts. An answer that several checks need is asked for once. Knows no judgement.

One method per question makes it long: it is the list of all that the doctor asks of Airflow.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, TypeVar

from dagcall.airflow import (
    LIST_DAGS,
    START_RUNS,
    AirflowApi,
    AirflowClock,
    AirflowRest,
    Credentials,
    DagSummary,
    Gate,
    Heartbeat,
    Right,
    Transport,
    airflow_clock,
    expiries_of,
    fetch_auth_manager,
    fetch_broken_dags,
    fetch_heartbeats,
    fetch_option,
    fetch_right,
    fetch_unfinished_run,
    version_in,
    version_of,
)
from dagcall.doctor.connecting import MAX_BYTES, READ_SECONDS, certificate, connection, lookup, public_url
from dagcall.doctor.dags import MANY, AllowList, BrokenFiles, Tools
from dagcall.doctor.health import ComponentFacts, LoadFacts, StreamFacts
from dagcall.doctor.log_in import AccountOfCallers, AuthManager, LogIn, Renewal, Token
from dagcall.doctor.network import Certificate, Clocks, Connection, Front, Lookup, PublicUrl
from dagcall.doctor.options import OPTIONS, OptionFacts
from dagcall.doctor.rights import Need, RightFacts
from dagcall.errors import (
    AirflowAnswerUnusable,
    AirflowError,
    AirflowLogInRefused,
    AirflowNotFound,
    AirflowRefused,
    AirflowRejected,
    AirflowUnreachable,
    ConfigError,
)
from dagcall.log_ins import credentials_for
from dagcall.settings import AccountSettings, LogInSettings, Settings
from dagcall.text import in_one_line, last_line, shortened
from dagcall.tools import (
    Catalog,
    PinFolder,
    Selection,
    Snapshot,
    ToolPolicy,
    differences,
    published_by,
    reason_not_to_run,
)

FIRST_STATE_SECONDS = 3.0
"""As long as dagcall waits for the first state of a stream before it polls instead."""
STREAM_INTERVAL_SECONDS = 5.0
AT_ONCE = (1, 2, 4, 8)
"""How many reads at once; together with three more, and eight to open the connections, 26 requests."""
ALONE = 3
"""How often a read alone is timed."""
MAX_LINE = 120

_T = TypeVar("_T")


class Probes:
    """Asks; made by `probing`.

    Args:
        settings: the settings.
        dag_id: the dag to check rights on; None for the first that the allow-list selects.
        own_clock: the time in UTC by this machine's clock.
        gate: the gate of all requests.
        clock: Airflow's clock.
        context: TLS to Airflow.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        dag_id: str | None,
        own_clock: Callable[[], datetime],
        gate: Gate,
        clock: AirflowClock,
        context: ssl.SSLContext,
    ) -> None:
        self.settings = settings
        self._dag_id = dag_id
        self._own_clock = own_clock
        self._gate = gate
        self._clock = clock
        self._context = context
        self._url = settings.airflow.url
        self._credentials = self._credentials_of(settings.airflow)
        self._rest = self._rest_with(self._credentials)
        self._api = AirflowApi(self._rest)
        self._front = Transport(self._url, read_seconds=READ_SECONDS, max_answer_bytes=MAX_BYTES, verify=context)
        self._known: dict[str, Any] = {}

    async def aclose(self) -> None:
        """Close the connections."""
        await self._front.aclose()
        await self._rest.aclose()

    def _credentials_of(self, way: LogInSettings) -> Credentials:
        return credentials_for(way, self._url, self._gate, self._clock, verify=self._context)

    def _rest_with(self, credentials: Credentials) -> AirflowRest:
        return AirflowRest(
            self._url,
            credentials,
            gate=self._gate,
            max_answer_bytes=self.settings.airflow.max_answer_bytes,
            clock=self._clock,
            verify=self._context,
        )

    async def _once(self, name: str, ask: Callable[[], Awaitable[_T]]) -> _T:
        if name not in self._known:
            self._known[name] = await ask()
        found: _T = self._known[name]
        return found

    # The network

    async def lookup(self) -> Lookup:
        """Look up Airflow's host."""
        return await lookup(self._url)

    async def connection(self) -> Connection:
        """Open and close a connection to Airflow's port."""
        return await connection(self._url)

    async def certificate(self) -> Certificate:
        """Verify the certificate as every request does."""
        ca_file = self.settings.airflow.ca_file
        return await certificate(self._url, self._context, ca_file, self._own_clock().timestamp())

    async def public_url(self) -> PublicUrl | None:
        """Send what clients send to the address that callers use; None if the settings name none."""
        server = self.settings.server
        if server.public_url is None:
            return None
        return await public_url(server.public_url, is_plain=server.is_read_on_the_way)

    async def front(self) -> Front:
        """Ask for Airflow's version, without a token."""
        return await self._once("front", self._ask_front)

    async def _ask_front(self) -> Front:
        try:
            answer = await self._front.send("GET", "/api/v2/version", headers={}, is_effect_possible=False)
            self._known["clocks"] = Clocks(_date(answer.headers.get("date", "")), self._own_clock().timestamp())
            version = version_of(answer)
            if version is not None:
                return Front(self._url, answer.status, version)
            older = await self._front.send("GET", "/api/v1/version", headers={}, is_effect_possible=False)
        except (AirflowUnreachable, AirflowAnswerUnusable) as error:
            return Front(self._url, error=str(error))
        return Front(
            self._url,
            answer.status,
            version_of_airflow_2=version_of(older),
            points_to=answer.headers.get("location"),
        )

    async def clocks(self) -> Clocks:
        """Return the clocks at the moment of the first answer."""
        await self.front()
        found: Clocks = self._known["clocks"]
        return found

    async def version(self) -> tuple[int, ...]:
        """Return Airflow's version."""
        return version_in((await self.front()).version or "")

    # Airflow's components

    async def _heartbeats(self) -> dict[str, Heartbeat]:
        return await self._once("heartbeats", lambda: fetch_heartbeats(self._rest))

    async def database(self) -> Heartbeat:
        """Ask whether Airflow reaches its database."""
        return (await self._heartbeats())["metadatabase"]

    async def component(self, name: str) -> ComponentFacts:
        """Ask for the heartbeat of a component."""
        heartbeat = (await self._heartbeats())[name]
        ago = None if heartbeat.last is None else self._clock.timestamp() - heartbeat.last.timestamp()
        return ComponentFacts(name, heartbeat, ago)

    # The log-in

    @property
    def _way(self) -> str | None:
        return next(iter(self.settings.airflow.ways), None)

    async def auth_manager(self) -> AuthManager:
        """Ask which auth manager Airflow has."""
        try:
            title = await fetch_auth_manager(self._front)
        except AirflowError:
            title = None
        return AuthManager(title, self._way)

    async def log_in(self) -> LogIn:
        """Log in, and send a request with the token."""
        found = partial(LogIn, _who(self.settings.airflow), is_anonymous=self._way is None)
        token: str | None = None
        try:
            token = await self._credentials.token()
            self._known["may list"] = await fetch_right(self._rest, LIST_DAGS, "", await self.version())
        except AirflowLogInRefused as error:
            own, _ = expiries_of(token or "")
            ended = None if own is None else self._clock.timestamp() - own
            return found(refusal=str(error), ended_ago=ended if ended is not None and ended > 0 else None)
        return found()

    async def token(self) -> Token:
        """Read how long the token lasts."""
        own, inside = expiries_of(await self._credentials.token() or "")
        now = self._clock.timestamp()
        left, left_inside = (None if time is None else time - now for time in (own, inside))
        return Token(self._way, left, left_inside)

    async def renewal(self) -> Renewal:
        """Log in a second time."""
        first = await self._credentials.token()
        self._credentials.can_renew_after(first)
        try:
            second = await self._credentials.token()
        except AirflowError as error:
            return Renewal(self._way, problem=str(error))
        return Renewal(self._way, is_new=first != second)

    async def account(self, entry: AccountSettings) -> AccountOfCallers:
        """Log in with an account for callers."""
        chosen = (await self.allow_list()).chosen
        rest = self._rest_with(self._credentials_of(entry))
        try:
            right = await fetch_right(rest, START_RUNS, chosen, await self.version())
        except AirflowLogInRefused as error:
            return AccountOfCallers(refusal=str(error))
        finally:
            await rest.aclose()
        return AccountOfCallers(dag_id=chosen, may_start=None if right is Right.UNKNOWN else right is Right.GRANTED)

    # Dags and rights

    async def may_list(self, need: Need) -> RightFacts:
        """Return whether the account may list dags; the log-in has asked."""
        return RightFacts(need, "", self._known["may list"])

    async def right(self, need: Need) -> RightFacts:
        """Ask whether the account has a right on the chosen dag."""
        chosen = (await self.allow_list()).chosen
        return RightFacts(need, chosen, await fetch_right(self._rest, need.permission, chosen, await self.version()))

    async def allow_list(self) -> AllowList:
        """Find the dags that the allow-list selects."""
        return await self._once("allow-list", self._select)

    async def _select(self) -> AllowList:
        policies = self.settings.policies
        if self._dag_id is not None:
            try:
                await self._api.fetch_summary(self._dag_id)
            except (AirflowNotFound, AirflowRefused):
                return AllowList(len(policies), chosen=self._dag_id, is_chosen_missing=True)
        selected, _, withheld = await Selection(self._api, policies).select(Snapshot())
        dags = list({dag.dag_id: dag for dag, _ in selected}.values())
        usable = [dag.dag_id for dag in dags if reason_not_to_run(dag) is None]
        chosen = self._dag_id or next(iter([*usable, *(dag.dag_id for dag in dags)]), "")
        listed = await fetch_broken_dags(self._rest)
        broken = {dag.dag_id for dag in (*dags, *listed) if dag.has_import_errors and _is_selected(dag, policies)}
        missing = {item.what: item.reason for item in withheld}
        return AllowList(len(policies), dags, sorted(broken), missing, chosen)

    async def files(self) -> BrokenFiles:
        """Ask for Airflow's import errors."""
        errors = await self._api.fetch_import_errors()
        files = [f"{file.name} ({_reason(file.traceback)})" for file in errors.files]
        return BrokenFiles(files, errors.total, errors.may_be_read)

    async def tools(self) -> Tools:
        """Make the tools, and compare them with the pins, unless there are many."""
        return await self._once("tools", self._make_tools)

    async def _make_tools(self) -> Tools:
        found = await self.allow_list()
        pins = self.settings.pins
        so_far = partial(Tools, len(found.dags), pins=None if pins is None else str(pins))
        reviewed, problem = None, ""
        try:
            reviewed = None if pins is None else PinFolder(pins).read()
        except ConfigError as error:
            problem = str(error)
        if len(found.dags) > MANY:
            return so_far(pins_problem=problem)
        snapshot = await Catalog(self._api, self.settings.policies).refresh()
        if snapshot.problem:
            raise AirflowAnswerUnusable(snapshot.problem)
        usable = {dag.dag_id for dag in found.dags if not reason_not_to_run(dag)}  # other checks tell the others
        reasons = {item.what: item.reason for item in snapshot.withheld}
        parts = {
            what: reason for what, reason in reasons.items() if what.partition(": ")[0] in usable and what not in usable
        }
        return so_far(
            published=len(snapshot.tools),
            withheld={what: reason for what, reason in reasons.items() if what in usable},
            left_out=parts,
            differences=None if reviewed is None else differences(reviewed, published_by(snapshot), withheld=reasons),
            pins_problem=problem,
        )

    # Streams, several requests at once, and Airflow's options

    async def stream(self) -> StreamFacts:
        """Wait for the first state of a stream, on a run that exists and is unfinished."""
        run = await fetch_unfinished_run(self._rest)
        if run is None:
            return StreamFacts(None)
        began = time.monotonic()
        try:
            async with asyncio.timeout(FIRST_STATE_SECONDS):
                states = await self._api.stream_states(*run, interval_seconds=STREAM_INTERVAL_SECONDS)
                async with aclosing(states):
                    state, _ = await anext(states)
        except TimeoutError:
            return StreamFacts(run, waited=FIRST_STATE_SECONDS)
        except (StopAsyncIteration, AirflowNotFound):  # the run was deleted
            return StreamFacts(run, is_over=True)
        return StreamFacts(run, time.monotonic() - began, is_over=state.is_final)

    async def load(self) -> LoadFacts:
        """Time reads of the chosen dag, alone and several at once."""
        chosen = (await self.allow_list()).chosen
        steps = [n for n in AT_ONCE if n <= self._gate.ceiling]

        async def read(_: int) -> float:
            began = time.monotonic()
            await self._api.fetch_summary(chosen)
            return time.monotonic() - began

        async def at_once(count: int) -> list[float]:
            return list(await asyncio.gather(*(read(number) for number in range(count))))

        await asyncio.gather(*(self._api.fetch_version() for _ in range(steps[-1])))  # opens the connections
        rounds = {1: [await read(number) for number in range(ALONE)]}
        for count in steps[1:]:
            rounds[count] = await at_once(count)
        return LoadFacts(rounds, self.settings.airflow.min_in_flight)

    async def options(self) -> OptionFacts:
        """Ask for the options of Airflow's configuration that matter to calls."""
        return await self._once("options", self._fetch_options)

    async def _fetch_options(self) -> OptionFacts:
        try:
            return OptionFacts({option: await fetch_option(self._rest, *option) for option in OPTIONS})
        except AirflowLogInRefused:
            raise
        except (AirflowRefused, AirflowRejected, AirflowAnswerUnusable):
            return OptionFacts(None)


@asynccontextmanager
async def probing(
    settings: Settings, *, dag_id: str | None, own_clock: Callable[[], datetime]
) -> AsyncIterator[Probes]:
    """Make the probes; without a request yet.

    Raises:
        ConfigError: a file in the settings cannot be used.
    """
    most = min(AT_ONCE[-1], settings.airflow.max_in_flight)
    probes = Probes(
        settings,
        dag_id=dag_id,
        own_clock=own_clock,
        gate=Gate(most, floor=most),  # the check of several requests at once decides how many there are
        clock=airflow_clock(own_clock),
        context=settings.airflow.tls(),
    )
    try:
        yield probes
    finally:
        await probes.aclose()


def _is_selected(dag: DagSummary, policies: Sequence[ToolPolicy]) -> bool:
    return any(policy.selects(dag) for policy in policies)


def _who(way: LogInSettings) -> str:
    """Return how dagcall logs in, for people."""
    if way.username is not None:
        return f"user {way.username!r}"
    if way.client_id is not None:
        return f"client {way.client_id!r}"
    if way.token_file is not None:
        return f"the token in {way.token_file}"
    names = {"token": "the token in the settings", "token_command": "the token that token_command prints"}
    return next((names.get(key, f"what {way.auth} gives") for key in way.ways), "nobody")


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None


def _reason(traceback: str) -> str:
    return shortened(in_one_line(last_line(traceback)), MAX_LINE) or "no reason given"
