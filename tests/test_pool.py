"""What the pool decides, event by event: no process, no clock. `test_pool_laws.py` walks through it at random."""

from __future__ import annotations

import pytest

from ferricorn.pool import SHORT_LIFE, Stage
from tests.support.pool import HASTY_SECONDS, NEVER, PATIENT_SECONDS, Acted, begun

# --- the start


def test_all_are_started_at_once() -> None:
    acted = Acted(3)
    assert acted.pool.next_step() <= acted.now
    assert acted.step() == ["start a", "start b", "start c"]
    assert acted.step() == []
    assert acted.pool.next_step() == NEVER
    assert not acted.is_settled()
    assert acted.ready("ab") == []
    assert not acted.is_settled()
    assert acted.ready("c") == []
    assert acted.is_settled()
    assert acted.serving == "abc"


def test_the_first_that_cannot_start_is_the_end() -> None:
    acted = Acted(1)
    acted.step()
    assert acted.exits("a") == ["failed"]
    assert acted.pool.failed
    assert acted.step() == []
    assert acted.pool.next_step() == NEVER


def test_one_that_cannot_start_takes_the_others_of_the_start_along() -> None:
    """Those that still start would serve for a server that has given up."""
    acted = Acted(3)
    acted.step()
    assert acted.exits("b") == ["failed", "stop a", "stop c"]
    assert acted.ready("a") == []
    assert acted.serving == ""
    assert acted.exits("ac") == []
    assert acted.pool.members == []


def test_one_that_cannot_start_beside_one_that_could_is_tried_again() -> None:
    acted = Acted(2)
    acted.step()
    assert acted.ready("a") == []
    assert acted.exits("b") == ["starts again after 0.5"]
    assert not acted.pool.failed
    assert acted.at(0.5).step() == ["start c"]


def test_one_that_is_killed_while_it_starts_is_tried_again() -> None:
    """By the kernel that had no memory left, perhaps: that says nothing about the application."""
    acted = Acted(1)
    acted.step()
    assert acted.killed("a") == ["starts again after 0.5"]
    assert not acted.pool.failed
    assert acted.pool.next_step() == acted.now + 0.5
    assert acted.at(0.4).step() == []
    assert acted.at(0.1).step() == ["start b"]
    assert acted.ready("b") == []
    assert acted.is_settled()


# --- reload


def test_a_reload_replaces_one_after_the_other() -> None:
    """Each replacement is ready before an old one is told to stop, the oldest first."""
    acted = begun(2)
    assert acted.renew() == ["start c"]
    assert not acted.is_settled()
    assert acted.serving == "ab"
    assert acted.ready("c") == ["stop a patiently", "start d"]
    assert acted.ready("d") == ["stop b patiently"]
    assert acted.serving == "cd"
    assert acted.exits("ab") == []
    assert acted.is_settled()
    assert acted.pool.next_step() == NEVER


def test_a_reload_is_over_when_nobody_connects_to_old_workers() -> None:
    """They may go on with what they have."""
    acted = begun(2)
    acted.renew()
    assert acted.ready("c") == ["stop a patiently", "start d"]
    assert acted.closed("a") == []
    assert acted.ready("d") == ["stop b patiently"]
    assert not acted.is_settled()
    assert acted.closed("b") == []
    assert acted.is_settled()
    assert len(acted.pool.members) == 4


def test_who_hangs_and_dies_ends_a_reload_too() -> None:
    acted = begun(1)
    acted.renew()
    assert acted.ready("b") == ["stop a patiently"]
    assert acted.at(PATIENT_SECONDS).step() == ["kill a"]
    assert not acted.is_settled()
    assert acted.killed("a") == []
    assert acted.is_settled()


def test_a_reload_waits_for_the_workers_of_the_one_before() -> None:
    acted = begun(1)
    acted.renew()
    acted.ready("b")
    acted.renew()
    assert acted.ready("c") == ["stop b patiently"]
    acted.closed("b")
    assert not acted.is_settled()
    acted.closed("a")
    assert acted.is_settled()


def test_a_reload_waits_for_no_worker_of_the_new_code() -> None:
    """Whether one more or less of them accepts is nobody's concern."""
    acted = begun(2)
    acted.renew()
    acted.ready("c")
    acted.ready("d")
    acted.closed("ab")
    assert acted.scale(1) == ["stop c patiently"]
    assert acted.is_settled()


def test_it_does_not_wait_for_those_that_drain() -> None:
    acted = begun(1)
    acted.renew()
    assert acted.ready("b") == ["stop a patiently"]
    acted.renew()
    assert acted.ready("c") == ["stop b patiently"]
    assert acted.serving == "c"
    assert [member.stage for member in acted.pool.members] == [Stage.STOPPING, Stage.STOPPING, Stage.READY]


def test_a_reload_during_a_reload_begins_anew() -> None:
    """What starts with the old code is stopped, with patience: it may serve, and just not have been heard."""
    acted = begun(2)
    acted.renew()
    assert acted.ready("c") == ["stop a patiently", "start d"]
    assert acted.renew() == ["stop d patiently", "start e"]
    assert acted.serving == "bc"
    assert acted.ready("e") == ["stop b patiently", "start f"]
    assert acted.ready("f") == ["stop c patiently"]
    assert acted.exits("abcd") == []
    assert acted.is_settled()
    assert acted.serving == "ef"


def test_a_reload_while_the_first_workers_start() -> None:
    acted = Acted(2)
    acted.step()
    assert acted.renew() == ["stop a patiently", "stop b patiently", "start c", "start d"]
    # The old code may be what is broken: its end is nobody's failure.
    assert acted.exits("ab") == []
    assert acted.ready("cd") == []
    assert acted.is_settled()


def test_new_code_that_cannot_start_leaves_the_old_workers() -> None:
    acted = begun(2)
    acted.renew()
    assert acted.exits("c") == ["rollout failed"]
    assert acted.is_settled()
    assert acted.serving == "ab"
    assert acted.pool.next_step() == NEVER


def test_a_reload_after_one_that_failed() -> None:
    acted = begun(2)
    acted.renew()
    acted.exits("c")
    assert acted.renew() == ["start d"]
    assert acted.ready("d") == ["stop a patiently", "start e"]
    assert acted.ready("e") == ["stop b patiently"]
    acted.closed("ab")
    assert acted.is_settled()


def test_a_failed_reload_in_the_middle_of_another_goes_on_with_that_one() -> None:
    acted = begun(2)
    acted.renew()
    acted.ready("c")
    assert acted.renew() == ["stop d patiently", "start e"]
    assert acted.exits("e") == ["rollout failed", "start f"]
    assert acted.ready("f") == ["stop b patiently"]
    assert acted.serving == "cf"
    acted.closed("ab")
    assert acted.is_settled()


def test_a_later_worker_of_new_code_that_cannot_start_is_tried_again() -> None:
    """The code has shown that it can: the number of workers is kept by those that are there."""
    acted = begun(2)
    acted.renew()
    acted.ready("c")
    assert acted.exits("d") == ["starts again after 0.5"]
    assert acted.serving == "bc"
    assert acted.at(0.5).step() == ["start e"]


def test_a_new_worker_that_is_killed_while_it_starts_is_no_failed_reload() -> None:
    acted = begun(2)
    acted.renew()
    assert acted.killed("c") == ["starts again after 0.5"]
    assert acted.at(0.5).step() == ["start d"]
    assert acted.ready("d") == ["stop a patiently", "start e"]


def test_a_crash_during_a_reload_is_made_good_with_new_code() -> None:
    acted = begun(2)
    acted.renew()
    assert acted.killed("a") == ["starts again after 0", "start d"]
    assert acted.serving == "b"
    assert acted.ready("cd") == ["stop b patiently"]
    acted.closed("b")
    assert acted.is_settled()


def test_replace_now_waits_for_nobody() -> None:
    """For --reload: who has changed a file does not want to see the old code."""
    acted = begun(1)
    acted.pool.replace_now(acted.now)
    assert acted.step() == ["stop a patiently", "start b"]
    acted.pool.replace_now(acted.now)
    assert acted.step() == ["stop b patiently", "start c"]
    assert acted.ready("c") == []
    assert acted.exits("ab") == []
    assert acted.is_settled()


def test_replace_now_after_a_failure_tries_again() -> None:
    acted = Acted(1)
    acted.step()
    acted.exits("a")
    acted.pool.replace_now(acted.now)
    assert not acted.pool.failed
    assert acted.step() == ["start b"]
    assert acted.exits("b") == ["failed"]
    acted.pool.replace_now(acted.now)
    assert acted.step() == ["start c"]
    assert acted.ready("c") == []
    assert acted.is_settled()


# --- crashes


def test_who_has_served_for_long_is_replaced_at_once() -> None:
    acted = begun(2)
    assert acted.killed("b") == ["starts again after 0", "start c"]
    assert acted.serving == "a"


def test_an_exit_status_is_a_crash_as_well() -> None:
    acted = begun(2)
    assert acted.exits("a") == ["starts again after 0", "start c"]
    assert not acted.pool.failed


def test_a_crash_loop_is_slowed_down() -> None:
    acted = begun(1)
    delays = []
    acted.killed("a")
    for name in "bcdefghij":
        acted.ready(name)
        acted.at(SHORT_LIFE - 0.1).killed(name)
        delays.append(acted.pool.next_step() - acted.now)
        assert acted.at(delays[-1] - 0.01).step() == []
        assert len(acted.at(0.01).step()) == 1
    assert delays == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30, 30])


def test_a_long_life_ends_a_crash_loop() -> None:
    acted = begun(1)
    acted.killed("a")
    for name, delay in zip("bc", ["0.5", "1"], strict=True):
        acted.ready(name)
        assert acted.killed(name) == [f"starts again after {delay}"]
        acted.at(float(delay)).step()
    acted.ready("d")
    assert acted.at(SHORT_LIFE).killed("d") == ["starts again after 0", "start e"]
    acted.ready("e")
    assert acted.killed("e") == ["starts again after 0.5"]


def test_a_reload_does_not_wait_for_the_delay_of_a_crash_loop() -> None:
    acted = begun(1)
    acted.killed("a")
    for name in "bcd":
        acted.ready(name)
        acted.killed(name)
        acted.at(acted.pool.next_step() - acted.now).step()
    acted.ready("e")
    assert acted.killed("e") == ["starts again after 4"]
    assert acted.renew() == ["start f"]
    acted.ready("f")
    assert acted.killed("f") == ["starts again after 0.5"]


# --- how many


def test_one_more() -> None:
    acted = begun(1)
    assert acted.scale(2) == ["start b"]
    assert not acted.is_settled()
    assert acted.ready("b") == []
    assert acted.is_settled()


def test_many_more() -> None:
    """All at once, as at the start: there is nobody to wait for."""
    assert begun(1).scale(4) == ["start b", "start c", "start d"]


def test_one_less() -> None:
    acted = begun(3)
    assert acted.scale(2) == ["stop a patiently"]
    assert acted.is_settled()
    assert acted.serving == "bc"


def test_one_less_while_another_starts() -> None:
    """It is too late to be spared, but the number holds in the end."""
    acted = begun(2)
    acted.scale(3)
    assert acted.scale(2) == []
    assert acted.ready("c") == ["stop a patiently"]
    assert acted.is_settled()


# --- who is to go, and who goes


def test_who_retires_serves_until_another_is_ready() -> None:
    acted = begun(2)
    acted.pool.retires(acted.member("b"))
    assert acted.step() == ["start c"]
    assert acted.serving == "ab"
    assert not acted.is_settled()
    assert acted.ready("c") == ["stop b patiently"]
    assert acted.serving == "ac"
    assert acted.is_settled()


def test_all_retire_one_after_the_other() -> None:
    acted = begun(2)
    for name in "ab":
        acted.pool.retires(acted.member(name))
    assert acted.step() == ["start c"]
    assert acted.ready("c") == ["stop a patiently", "start d"]
    assert acted.ready("d") == ["stop b patiently"]


def test_who_retires_during_a_reload_goes_first() -> None:
    acted = begun(3)
    acted.renew()
    acted.pool.retires(acted.member("c"))
    assert acted.step() == []
    assert acted.ready("d") == ["stop c patiently", "start e"]
    assert acted.ready("e") == ["stop a patiently", "start f"]
    assert acted.ready("f") == ["stop b patiently"]
    acted.closed("abc")
    assert acted.is_settled()


def test_new_code_that_cannot_start_while_one_retires() -> None:
    """The replacement of that one is owed all the same."""
    acted = begun(2)
    acted.pool.retires(acted.member("a"))
    assert acted.step() == ["start c"]
    assert acted.renew() == ["stop c patiently", "start d"]
    assert acted.exits("d") == ["rollout failed", "start e"]
    assert acted.ready("e") == ["stop a patiently"]
    assert acted.is_settled()


def test_only_who_serves_retires() -> None:
    acted = begun(1)
    acted.renew()
    acted.pool.retires(acted.member("b"))
    assert acted.ready("b") == ["stop a patiently"]
    acted.pool.retires(acted.member("a"))
    assert acted.exits("a") == []
    assert acted.is_settled()


def test_who_retires_and_crashes_is_replaced_once() -> None:
    acted = begun(1)
    acted.pool.retires(acted.member("a"))
    assert acted.step() == ["start b"]
    assert acted.killed("a") == ["starts again after 0"]
    assert acted.ready("b") == []
    assert acted.is_settled()


def test_who_leaves_is_replaced_at_once() -> None:
    """Somebody has sent it a SIGTERM: it has stopped accepting, and no replacement can be ready before."""
    acted = begun(2)
    acted.pool.leaves(acted.member("a"), acted.now, 30)
    assert acted.step() == ["start c"]
    assert acted.pool.next_step() == acted.now + 30
    assert acted.exits("a") == []
    assert acted.ready("c") == []
    assert acted.is_settled()


def test_who_was_told_to_stop_and_leaves_gets_no_more_time() -> None:
    acted = begun(1)
    acted.renew()
    assert acted.ready("b") == ["stop a patiently"]
    acted.pool.leaves(acted.member("a"), acted.now, PATIENT_SECONDS + 1)
    assert acted.pool.next_step() == acted.now + PATIENT_SECONDS


def test_who_leaves_and_does_not_end_is_killed() -> None:
    acted = begun(2)
    acted.pool.leaves(acted.member("a"), acted.now, 30)
    acted.step()
    assert acted.at(30).step() == ["kill a"]


# --- the end


def test_a_stop_stops_all() -> None:
    acted = begun(2)
    acted.renew()
    assert acted.stop() == ["stop a", "stop b", "stop c"]
    assert acted.ready("c") == []
    assert acted.exits("abc") == []
    assert acted.pool.members == []
    assert acted.pool.next_step() == NEVER


def test_a_stop_that_becomes_urgent() -> None:
    acted = begun(1)
    assert acted.stop(patient=True) == ["stop a patiently"]
    assert acted.pool.next_step() == acted.now + PATIENT_SECONDS
    assert acted.stop() == ["stop a"]
    assert acted.pool.next_step() == acted.now + HASTY_SECONDS


def test_a_stop_reaches_those_that_drain_already() -> None:
    acted = begun(1)
    acted.renew()
    acted.ready("b")
    assert acted.stop() == ["stop a", "stop b"]


def test_nothing_is_started_for_what_dies_during_a_stop() -> None:
    acted = begun(2)
    acted.stop()
    assert acted.killed("a") == []
    assert acted.at(60).step() == ["kill b"]
    assert acted.killed("b") == []


def test_a_stop_before_anything_is_ready() -> None:
    acted = Acted(2)
    acted.step()
    assert acted.stop() == ["stop a", "stop b"]
    assert acted.exits("ab") == []
    assert not acted.pool.failed


def test_who_is_told_to_stop_again_gets_no_more_time() -> None:
    acted = Acted(1)
    acted.step()
    acted.ready("a")
    acted.stop()
    assert acted.at(HASTY_SECONDS - 1).stop() == ["stop a"]
    assert acted.at(1).step() == ["kill a"]


def test_who_does_not_stop_is_killed_once() -> None:
    acted = begun(1)
    acted.renew()
    acted.ready("b")
    assert acted.pool.next_step() == acted.now + PATIENT_SECONDS
    assert acted.at(PATIENT_SECONDS - 1).step() == []
    assert acted.at(1).step() == ["kill a"]
    assert acted.at(1).step() == []
    assert acted.pool.next_step() == NEVER
    assert acted.killed("a") == []
    assert acted.is_settled()
