from dagcall.ledger import REPLAY_SECONDS, Ledger


def test_each_call_of_a_family_gets_a_number_of_its_own() -> None:
    ledger = Ledger()

    assert [ledger.begin("f_").run_id for _ in range(3)] == ["f_0", "f_1", "f_2"]
    assert ledger.begin("g_").run_id == "g_0"


def test_a_run_is_left_when_nobody_waits_and_nobody_had_its_outcome() -> None:
    ledger = Ledger()
    entry = ledger.begin("f_")
    assert ledger.left("f_", now=0) is entry

    entry.waiting = 1
    assert ledger.left("f_", now=0) is None

    entry.waiting, entry.ended_at = 0, 0.0
    assert ledger.left("f_", now=REPLAY_SECONDS) is entry
    assert ledger.left("f_", now=REPLAY_SECONDS + 1) is None

    entry.is_delivered = True
    assert ledger.left("f_", now=0) is None
    assert ledger.left("unknown_", now=0) is None


def test_the_run_that_was_left_first_is_taken_up_first() -> None:
    ledger = Ledger()
    first, _ = ledger.begin("f_"), ledger.begin("f_")

    assert ledger.left("f_", now=0) is first


def test_runs_of_other_processes_are_entered_once_and_their_numbers_skipped() -> None:
    ledger = Ledger()
    ledger.found("f_", "f_3", 3, ended_at=None)
    ledger.found("f_", "f_3", 3, ended_at=None)
    ledger.skip_to("f_", 4)
    ledger.skip_to("f_", 2)

    assert ledger.begin("f_").run_id == "f_4"
    left = ledger.left("f_", now=0)
    assert left is not None
    assert (left.run_id, left.is_started) == ("f_3", True)


def test_a_number_under_which_nothing_was_started_is_used_again_if_it_was_the_last() -> None:
    ledger = Ledger()
    first, last = ledger.begin("f_"), ledger.begin("f_")

    ledger.forget("f_", first)
    ledger.forget("f_", last)
    ledger.forget("f_", last)
    ledger.forget("unknown_", last)

    assert ledger.begin("f_").run_id == "f_1"


def test_what_nobody_can_ask_for_is_dropped() -> None:
    ledger = Ledger()
    entry = ledger.begin("f_")
    entry.is_delivered = True

    ledger.tidy("f_", now=0)
    ledger.tidy("unknown_", now=0)

    assert ledger.entry("f_0") is None
    assert ledger.begin("f_").run_id == "f_1"


def test_an_entry_is_found_by_its_run_id() -> None:
    ledger = Ledger()
    keyed, numbered = ledger.keyed("mcp__a_b"), ledger.begin("mcp__a_c_")

    assert ledger.keyed("mcp__a_b") is keyed
    assert ledger.entry("mcp__a_b") is keyed
    assert ledger.entry("mcp__a_c_0") is numbered
    assert ledger.entry("mcp__a_c_1") is None


def test_the_oldest_family_is_forgotten_first() -> None:
    ledger = Ledger(capacity=2)
    for family in ("a_", "b_", "a_", "c_"):
        ledger.begin(family)

    assert ledger.entry("b_0") is None
    assert ledger.entry("a_1") is not None
