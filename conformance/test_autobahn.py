"""The parts of the Autobahn runner that could let a fault of the server pass: choosing, reading, comparing."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from conformance.autobahn import environment, fuzzing
from conformance.autobahn.progress import Progress
from conformance.autobahn.results import (
    FAILED,
    INFORMATIONAL,
    NON_STRICT,
    OK,
    QUICK,
    UNIMPLEMENTED,
    Outcome,
    Result,
    differences,
    group,
    parts,
    read_expected,
    read_results,
    select,
)
from conformance.autobahn.servers import SERVERS, ServerFailedError, serve, versions
from conformance.autobahn.tables import GROUPS, case_list, group_table, server_table

PERFECT = Outcome(OK, OK)


def result(case: str, outcome: Outcome = PERFECT, seconds: float = 1.0) -> Result:
    return Result(case, outcome, seconds, cpu_seconds=0.5, close_code=1000, report=Path("none"))


def write_report(folder: Path, cases: Mapping[str, Outcome]) -> None:
    """As the suite writes it."""
    detail = {
        "description": "Send a <b>bad</b> frame.<br><br>BYTES",
        "result": "Actual events differ from any expected.",
        "resultClose": "Closed by the wrong end",
        "expected": {OK: [["message", "x", False]]},
        "received": [],
    }
    index = {}
    for case, outcome in cases.items():
        file = f"x_case_{case}.json"
        (folder / file).write_text(json.dumps(detail))
        verdicts = {"behavior": outcome.behavior, "behaviorClose": outcome.close}
        index[case] = {**verdicts, "duration": 1500, "remoteCloseCode": 1002, "reportfile": file}
    (folder / "index.json").write_text(json.dumps({"x": index}))


def test_every_case_is_expected_to_be_perfect_but_for_the_three_that_the_suite_leaves_open() -> None:
    expected = read_expected()
    assert len(expected) == 517
    open_cases = {case: outcome for case, outcome in expected.items() if outcome != PERFECT}
    assert open_cases == dict.fromkeys(("7.1.6", "7.13.1", "7.13.2"), Outcome(INFORMATIONAL, INFORMATIONAL))
    assert {group(case) for case in expected} == set(GROUPS)


def test_the_quick_part_has_all_rules_and_something_of_every_group() -> None:
    expected = read_expected()
    chosen = select(expected, QUICK)
    assert {group(case) for case in chosen} == set(GROUPS)
    rules = [case for case in expected if int(group(case)) < 9]
    assert set(rules) <= set(chosen)


def test_a_pattern_chooses_whole_numbers_in_the_suites_order() -> None:
    assert select(["10.1.1", "1.10.1", "1.2.1"], ["1.*"]) == ["1.2.1", "1.10.1"]


def test_parts_are_all_of_the_cases() -> None:
    cases = ["1.1.1", "10.1.1", "12.1.1", "12.1.2", "13.1.1"]
    assert parts(cases) == {"rules": cases[:2], "12.1": cases[2:4], "13.1": cases[4:]}


def test_a_pattern_without_a_case_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no case is called 8\.\*"):
        select(read_expected(), ["1.*", "8.*"])


@pytest.mark.parametrize(
    "outcome", [Outcome(NON_STRICT, OK), Outcome(FAILED, OK), Outcome(OK, "UNCLEAN"), Outcome(OK, INFORMATIONAL)]
)
def test_any_other_verdict_differs(outcome: Outcome) -> None:
    assert differences({"1.1": PERFECT}, [result("1.1", outcome)]) == {"1.1": f"expected OK, close OK; got {outcome}"}


def test_a_case_that_either_side_lacks_differs() -> None:
    different = differences({"1.1": PERFECT, "1.2": PERFECT}, [result("1.2"), result("1.3")])
    assert different == {
        "1.1": "expected OK, close OK; got no result",
        "1.3": "expected no such case; got OK, close OK",
    }


def test_what_is_as_expected_does_not_differ() -> None:
    assert not differences({"1.1": PERFECT}, [result("1.1")])


def test_a_report_is_read_with_its_times(tmp_path: Path) -> None:
    write_report(tmp_path, {"1.10": Outcome(FAILED, "UNCLEAN"), "1.2": PERFECT})
    first, second = read_results(tmp_path, "x", {"1.10": 0.25})
    assert (first.case, first.outcome, first.cpu_seconds) == ("1.2", PERFECT, 0.0)
    assert (second.case, second.seconds, second.cpu_seconds, second.close_code) == ("1.10", 1.5, 0.25, 1002)


def test_a_report_about_nobody_has_no_results(tmp_path: Path) -> None:
    """So that every expected case is missing, and the command fails."""
    (tmp_path / "index.json").write_text("{}")
    assert read_results(tmp_path, "x", {}) == []


def test_the_list_tells_what_is_wrong_and_leaves_out_what_is_perfect(tmp_path: Path) -> None:
    write_report(tmp_path, {"1.1": Outcome(FAILED, "UNCLEAN"), "1.2": PERFECT, "12.1": Outcome(UNIMPLEMENTED, OK)})
    results = read_results(tmp_path, "x", {})
    told = case_list(results, differences(dict.fromkeys(("1.1", "1.2", "1.3", "12.1"), PERFECT), results)).splitlines()
    assert told == [
        "1.1      expected OK, close OK; got FAILED, close UNCLEAN, code 1002",
        "         Send a bad frame.",
        "         Actual events differ from any expected.",
        '         wanted [["message", "x", false]], received []',
        "         Closed by the wrong end",
        f"         {tmp_path / 'x_case_1.1.json'}",
        "12.1     expected OK, close OK; got UNIMPLEMENTED, close OK, code 1002",
        "1.3      expected OK, close OK; got no result",
    ]


def test_tables_add_up() -> None:
    results = [result("1.1"), result("12.1.1", seconds=2.0), result("13.1.1", Outcome(OK, "UNCLEAN"), seconds=4.0)]
    *_, total = group_table(results).splitlines()
    assert cells(total) == ["all", "3", *"300001", "7.0", "1.5"]
    *_, line = server_table({"x 1.0": results}).splitlines()
    assert cells(line) == ["x 1.0", *"300001", "1.0", "2.0", "4.0", "6.0", "1.0"]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_cpu_time_is_charged_to_the_case_that_took_it() -> None:
    clock = iter((10.0, 11.0, 13.0, 16.0))
    progress = Progress(2, lambda: next(clock))
    progress.begun("1.1")
    progress.begun("1.2")
    progress.ended()
    assert progress.cpu_seconds == {"1.1": 2.0, "1.2": 3.0}


def test_a_python_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.VARIABLE, "/nowhere/python2.7")
    with pytest.raises(environment.UnavailableError, match=r"AUTOBAHN_PYTHON=/nowhere/python2\.7 is no CPython"):
        environment.find_python()


def test_this_python_is_not_taken_for_an_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.VARIABLE, sys.executable)
    with pytest.raises(environment.UnavailableError, match=r"is no CPython 2\.7"):
        environment.find_python()


def test_no_old_python_anywhere_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    with pytest.raises(environment.UnavailableError, match=r"pyenv install 2\.7\.18.*apt install python2\.7-dev"):
        environment.find_python()


def stub_suite(folder: Path, script: str) -> Path:
    """A program in the place of the suite's Python."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def test_the_suite_is_followed_case_by_case(tmp_path: Path) -> None:
    write_report(tmp_path, {"1.1": PERFECT})
    lines = "Ok\\nRunning test case ID 1.1 for agent x from peer y\\nRunning test case ID 1.2 for agent x\\n"
    begun: list[str] = []
    fuzzing.run(stub_suite(tmp_path, f"printf '{lines}'"), "ws://x", "x", ["1.1"], tmp_path, begun.append)
    assert begun == ["1.1", "1.2"]


@pytest.mark.parametrize("script", ["exit 0", "touch index.json; exit 1"])
def test_a_suite_without_a_report_or_with_a_status_is_an_error(tmp_path: Path, script: str) -> None:
    program = stub_suite(tmp_path, f"cd {tmp_path}; {script}")
    with pytest.raises(fuzzing.SuiteFailedError, match=r"ended with status .*suite\.log"):
        fuzzing.run(program, "ws://x", "x", ["1.1"], tmp_path, lambda _: None)


def test_a_suite_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "STALL_SECONDS", 0.1)
    with pytest.raises(fuzzing.SuiteFailedError, match="has been silent"):
        fuzzing.run(stub_suite(tmp_path, "exec sleep 1000"), "ws://x", "x", ["1.1"], tmp_path, lambda _: None)


def test_a_server_that_is_not_installed_is_named(tmp_path: Path) -> None:
    python = stub_suite(tmp_path, "exit 1")
    with pytest.raises(ServerFailedError, match=r"not installed for .*: granian"):
        versions(SERVERS["granian"], python)


def test_a_server_that_does_not_listen_is_told_with_its_log(tmp_path: Path) -> None:
    python = stub_suite(tmp_path, "echo no such option; exit 2")
    with (
        pytest.raises(ServerFailedError, match=r"does not listen(?s:.*)no such option"),
        serve(SERVERS["ferricorn"], python, tmp_path / "log"),
    ):
        pass
