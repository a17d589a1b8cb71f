from dagcall.runs.ledger import REPLAY_SECONDS, SHARE_AFTER_SECONDS, Ledger

KEYED = f"mcp__{'a' * 10}_{'k' * 26}"
F, G = (f"mcp__{'a' * 10}_{letter * 26}_" for letter in "fg")


def test_each_call_with_a_run_id_prefix_gets_a_new_number() -> None:
    ledger = Ledger()

    assert [ledger.begin(F).run_id for _ in range(3)] == [f"{F}0", f"{F}1", f"{F}2"]
    assert ledger.begin(G).run_id == f"{G}0"


def test_run_without_waiters_or_delivery_is_orphaned() -> None:
    ledger = Ledger()
    entry = ledger.begin(F)
    assert ledger.orphaned(F, now=0) is entry

    entry.join(0)
    assert ledger.orphaned(F, now=0) is None

    entry.leave()
    entry.ended_at = 0.0
    assert ledger.orphaned(F, now=REPLAY_SECONDS) is entry
    assert ledger.orphaned(F, now=REPLAY_SECONDS + 1) is None

    entry.is_delivered = True
    assert ledger.orphaned(F, now=0) is None
    assert ledger.orphaned(G, now=0) is None


def test_oldest_orphaned_run_is_adopted_first() -> None:
    ledger = Ledger()
    first, _ = ledger.begin(F), ledger.begin(F)

    assert ledger.orphaned(F, now=0) is first


def test_later_call_shares_the_run_with_the_fewest_waiters() -> None:
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


def test_started_run_is_shared_before_an_unstarted_one() -> None:
    ledger = Ledger()
    starting, started = ledger.begin(F), ledger.begin(F)
    for entry in (starting, started, started):
        entry.join(0)
    ledger.exists(started)

    assert ledger.shareable(F, 9) is started


def test_run_with_a_delivered_outcome_is_not_shared() -> None:
    ledger = Ledger()
    entry = ledger.begin(F)
    entry.join(0)
    entry.join(3)
    entry.ended_at = 5.0

    assert ledger.shareable(F, 6) is entry
    entry.deliver()
    assert ledger.shareable(F, 6) is None


def test_undelivered_outcome_is_not_shared_after_the_replay_time() -> None:
    ledger = Ledger()
    entry = ledger.begin(F)
    entry.join(0)
    entry.ended_at = 5.0

    assert ledger.shareable(F, 5 + REPLAY_SECONDS) is entry
    assert ledger.shareable(F, 6 + REPLAY_SECONDS) is None


def test_run_of_another_process_is_entered_once_and_its_number_skipped() -> None:
    ledger = Ledger()
    for _ in range(2):
        ledger.found(F, f"{F}3", 3, ended_at=None, may_adopt=True)
    ledger.found(F, f"{F}2", 2, ended_at=None, may_adopt=False)
    ledger.learned(F, 4)
    ledger.learned(F, 2)

    assert ledger.begin(F).run_id == f"{F}4"
    orphan = ledger.orphaned(F, now=0)
    assert orphan is not None
    assert (orphan.run_id, orphan.is_started) == (f"{F}3", True)


def test_run_of_another_process_is_entered_with_its_state_in_airflow() -> None:
    ledger = Ledger()
    ledger.found(F, f"{F}0", 0, ended_at=5.0, may_adopt=True)
    ledger.found(F, f"{F}1", 1, ended_at=None, may_adopt=True)
    ledger.found(F, f"{F}1", 1, ended_at=7.0, may_adopt=True)

    entries = [ledger.entry(f"{F}{number}") for number in range(2)]

    assert [(entry.number, entry.ended_at, entry.is_started, entry.is_delivered) for entry in entries if entry] == [
        (0, 5.0, True, False),
        (1, 7.0, True, False),
    ]


def test_state_in_airflow_is_ignored_while_a_caller_waits_for_the_run() -> None:
    ledger = Ledger()
    waited_for, orphan = ledger.begin(F), ledger.begin(F)
    waited_for.join(0)

    for entry in (waited_for, orphan):
        assert entry.number is not None
        ledger.found(F, entry.run_id, entry.number, ended_at=0, may_adopt=False)

    assert (waited_for.is_delivered, waited_for.ended_at) == (False, None)
    assert (orphan.is_delivered, orphan.ended_at, orphan.is_started) == (True, 0, True)


def test_unused_number_is_reused_only_if_it_was_the_last() -> None:
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


def test_taken_number_is_never_reused() -> None:
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


def test_tidy_drops_entries_that_no_call_can_use() -> None:
    ledger = Ledger()
    delivered, waited_for, orphan, old = (ledger.begin(F) for _ in range(4))
    delivered.is_delivered = waited_for.is_delivered = True
    waited_for.join(0)
    orphan.ended_at, old.ended_at = 9.0, 0.0

    ledger.tidy(F, now=9 + REPLAY_SECONDS)
    ledger.tidy(G, now=0)

    kept = [ledger.entry(entry.run_id) for entry in (delivered, waited_for, orphan, old)]
    assert kept == [None, waited_for, orphan, None]
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


def test_entry_for_a_run_with_an_unknown_prefix_must_learn_the_prefix() -> None:
    ledger = Ledger()

    entry = ledger.of_run(f"{F}7")

    assert (entry.number, ledger.is_begun(F), ledger.must_learn(F)) == (7, True, True)


def test_a_request_whose_effect_is_unknown_may_have_started_the_run() -> None:
    entry = Ledger().begin(F)
    assert not entry.may_exist

    entry.unsettled = 1
    assert entry.may_exist


def test_oldest_prefixes_without_waiters_are_forgotten() -> None:
    ledger = Ledger(capacity=2)
    families = [f"mcp__{'a' * 10}_{letter * 26}_" for letter in "bcdefgh"]
    ledger.begin(families[0]).join(0)
    for family in families[1:]:
        ledger.begin(family)

    assert ledger.entry(f"{families[0]}0") is not None
    assert ledger.entry(f"{families[1]}0") is None
    assert ledger.entry(f"{families[-1]}0") is not None
    assert ledger.begin(families[0]).number == 1


def test_overdue_prefixes_are_forgotten_two_at_a_time() -> None:
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


def test_newly_entered_prefix_is_not_forgotten() -> None:
    ledger = Ledger(capacity=0)

    assert ledger.begin(F).run_id == f"{F}0"
    assert ledger.is_known(F)
    assert not ledger.is_known(G)
    assert ledger.begin(F).run_id == f"{F}1"


def test_delivery_is_reported_once() -> None:
    told = list[str]()
    entry = Ledger().begin(F)
    entry.on_delivered = lambda: told.append("delivered")

    entry.deliver()
    assert told == ["delivered"]
    entry.deliver()
    assert told == ["delivered"]
