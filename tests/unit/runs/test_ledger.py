from dagcall.runs.ledger import REPLAY_SECONDS, SHARE_AFTER_SECONDS, Ledger

KEYED = f"mcp__{'a' * 10}_{'k' * 26}"
F, G = (f"mcp__{'a' * 10}_{letter * 26}_" for letter in "fg")


def test_each_call_of_a_family_gets_its_own_number() -> None:
    ledger = Ledger()

    assert [ledger.begin(F).run_id for _ in range(3)] == [f"{F}0", f"{F}1", f"{F}2"]
    assert ledger.begin(G).run_id == f"{G}0"


def test_a_run_is_left_when_no_caller_waits_and_none_had_its_outcome() -> None:
    ledger = Ledger()
    entry = ledger.begin(F)
    assert ledger.left(F, now=0) is entry

    entry.join(0)
    assert ledger.left(F, now=0) is None

    entry.leave()
    entry.ended_at = 0.0
    assert ledger.left(F, now=REPLAY_SECONDS) is entry
    assert ledger.left(F, now=REPLAY_SECONDS + 1) is None

    entry.is_delivered = True
    assert ledger.left(F, now=0) is None
    assert ledger.left(G, now=0) is None


def test_the_run_that_was_left_first_is_adopted_first() -> None:
    ledger = Ledger()
    first, _ = ledger.begin(F), ledger.begin(F)

    assert ledger.left(F, now=0) is first


def test_a_later_call_shares_the_run_that_the_fewest_wait_for() -> None:
    ledger = Ledger()
    first, second, third = (ledger.begin(F) for _ in range(3))
    first.join(0)
    assert ledger.shareable(F, SHARE_AFTER_SECONDS - 0.1) is None
    assert ledger.shareable(F, SHARE_AFTER_SECONDS) is first

    first.join(5)
    second.join(1)
    third.join(9)
    assert ledger.shareable(F, 9) is second
    second.leave()
    assert ledger.shareable(F, 9) is first
    assert ledger.shareable(G, 9) is None


def test_a_run_that_is_started_is_shared_before_one_that_may_never_be() -> None:
    ledger = Ledger()
    starting, started = ledger.begin(F), ledger.begin(F)
    for entry in (starting, started, started):
        entry.join(0)
    ledger.exists(started)

    assert ledger.shareable(F, 9) is started


def test_a_run_whose_outcome_somebody_had_is_not_shared() -> None:
    ledger = Ledger()
    entry = ledger.begin(F)
    entry.join(0)
    entry.join(3)
    entry.ended_at = 5.0

    assert ledger.shareable(F, 6) is entry
    entry.deliver()
    assert ledger.shareable(F, 6) is None


def test_an_answer_that_never_leaves_keeps_no_call_from_a_run_of_its_own() -> None:
    ledger = Ledger()
    entry = ledger.begin(F)
    entry.join(0)
    entry.ended_at = 5.0

    assert ledger.shareable(F, 5 + REPLAY_SECONDS) is entry
    assert ledger.shareable(F, 6 + REPLAY_SECONDS) is None


def test_runs_of_other_processes_are_entered_once_and_their_numbers_skipped() -> None:
    ledger = Ledger()
    for _ in range(2):
        ledger.found(F, f"{F}3", 3, ended_at=None, may_adopt=True)
    ledger.found(F, f"{F}2", 2, ended_at=None, may_adopt=False)
    ledger.learned(F, 4)
    ledger.learned(F, 2)

    assert ledger.begin(F).run_id == f"{F}4"
    left = ledger.left(F, now=0)
    assert left is not None
    assert (left.run_id, left.is_started) == (f"{F}3", True)


def test_a_run_of_another_process_is_entered_as_airflow_says_it_is() -> None:
    ledger = Ledger()
    ledger.found(F, f"{F}0", 0, ended_at=5.0, may_adopt=True)
    ledger.found(F, f"{F}1", 1, ended_at=None, may_adopt=True)
    ledger.found(F, f"{F}1", 1, ended_at=7.0, may_adopt=True)

    entries = [ledger.entry(f"{F}{number}") for number in range(2)]

    assert [(entry.number, entry.ended_at, entry.is_started, entry.is_delivered) for entry in entries if entry] == [
        (0, 5.0, True, False),
        (1, 7.0, True, False),
    ]


def test_what_airflow_says_of_a_run_counts_only_while_no_caller_waits_for_it() -> None:
    ledger = Ledger()
    waited_for, left = ledger.begin(F), ledger.begin(F)
    waited_for.join(0)

    for entry in (waited_for, left):
        assert entry.number is not None
        ledger.found(F, entry.run_id, entry.number, ended_at=0, may_adopt=False)

    assert (waited_for.is_delivered, waited_for.ended_at) == (False, None)
    assert (left.is_delivered, left.ended_at, left.is_started) == (True, 0, True)


def test_a_number_under_which_nothing_was_started_is_used_again_if_it_was_the_last() -> None:
    ledger = Ledger()
    first, second, last = (ledger.begin(F) for _ in range(3))

    ledger.forget(first)
    assert ledger.begin(F).number == 3

    ledger.forget(last)
    ledger.forget(ledger.begin(F))
    ledger.forget(second)
    ledger.forget(second)

    assert ledger.begin(F).number == 4
    ledger.forget(Ledger().begin(G))


def test_a_number_that_is_taken_is_never_given_out_again() -> None:
    ledger = Ledger()
    entry = ledger.begin(F)
    assert not ledger.is_begun(F)
    assert not ledger.must_learn(F)

    ledger.taken(entry)

    assert ledger.is_begun(F)
    assert ledger.must_learn(F)
    assert ledger.begin(F).run_id == f"{F}1"
    ledger.learned(F, 1)
    assert ledger.must_learn(F) is False


def test_what_no_call_can_ask_for_is_dropped() -> None:
    ledger = Ledger()
    delivered, waited_for, left, old = (ledger.begin(F) for _ in range(4))
    delivered.is_delivered = waited_for.is_delivered = True
    waited_for.join(0)
    left.ended_at, old.ended_at = 9.0, 0.0

    ledger.tidy(F, now=9 + REPLAY_SECONDS)
    ledger.tidy(G, now=0)

    kept = [ledger.entry(entry.run_id) for entry in (delivered, waited_for, left, old)]
    assert kept == [None, waited_for, left, None]
    assert ledger.begin(F).run_id == f"{F}4"


def test_a_run_has_one_entry() -> None:
    ledger = Ledger()
    keyed, numbered = ledger.of_run(KEYED), ledger.begin(F)

    assert ledger.of_run(KEYED) is ledger.entry(KEYED) is keyed
    assert ledger.of_run(f"{F}0") is ledger.entry(f"{F}0") is numbered
    assert ledger.entry(f"{F}1") is None
    ledger.exists(keyed)
    ledger.exists(Ledger().begin(G))
    assert keyed.may_exist
    assert not ledger.is_begun(G)


def test_a_run_whose_family_is_unknown_has_the_family_learned_first() -> None:
    ledger = Ledger()

    entry = ledger.of_run(f"{F}7")

    assert (entry.number, ledger.is_begun(F), ledger.must_learn(F)) == (7, True, True)


def test_a_request_whose_effect_is_unknown_may_have_started_the_run() -> None:
    entry = Ledger().begin(F)
    assert not entry.may_exist

    entry.unsettled = 1
    assert entry.may_exist


def test_the_oldest_families_are_forgotten_but_none_that_a_caller_waits_for() -> None:
    ledger = Ledger(capacity=2)
    families = [f"mcp__{'a' * 10}_{letter * 26}_" for letter in "bcdefgh"]
    ledger.begin(families[0]).join(0)
    for family in families[1:]:
        ledger.begin(family)

    assert ledger.entry(f"{families[0]}0") is not None
    assert ledger.entry(f"{families[1]}0") is None
    assert ledger.entry(f"{families[-1]}0") is not None
    assert ledger.begin(families[0]).number == 1


def test_families_that_could_not_be_forgotten_in_time_are_forgotten_later_two_at_a_time() -> None:
    ledger = Ledger(capacity=2)
    families = [f"mcp__{'a' * 10}_{letter * 26}_" for letter in "bcdefg"]
    waiting = [ledger.begin(family) for family in families[:2]]
    assert all(map(ledger.is_known, families[:2]))
    for entry in waiting:
        entry.join(0)
    for family in families[2:5]:
        waiting.append(ledger.begin(family))
        waiting[-1].join(0)
    assert all(map(ledger.is_known, families[:5]))

    for entry in waiting:
        entry.leave()
    ledger.begin(families[5])

    assert sum(map(ledger.is_known, families)) == 4


def test_a_family_that_is_entered_now_is_not_the_one_that_is_forgotten() -> None:
    ledger = Ledger(capacity=0)

    assert ledger.begin(F).run_id == f"{F}0"
    assert ledger.is_known(F)
    assert not ledger.is_known(G)
    assert ledger.begin(F).run_id == f"{F}1"


def test_delivery_is_told_once() -> None:
    told = list[str]()
    entry = Ledger().begin(F)
    entry.on_delivered = lambda: told.append("delivered")

    entry.deliver()
    assert told == ["delivered"]
    entry.deliver()
    assert told == ["delivered"]
