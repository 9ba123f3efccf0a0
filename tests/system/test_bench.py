"""tests/bench: what it makes of its rounds (the load itself needs the peers' packages, and is not run here)."""

import os
import sys
import types
import xml.etree.ElementTree

import pytest

from harness import ROOT

sys.path.insert(0, os.path.join(ROOT, "tests", "bench"))

import disk  # noqa: E402
import report  # noqa: E402
import scale  # noqa: E402
import scale_report  # noqa: E402


def rounds(cpu_us, **more):
    """Three rounds of one case, each on a machine that is slower than before: only ratios within a round say anything."""
    figures = {"rps": 1.0, "redis_us": 1.0, "scripts": 0.1, "waiting": 0, "new_connections": 0, "requests": 100, "answers": {202: 100}}
    return [{**figures, "cpu_us": cpu_us * slower, **more} for slower in (1, 2, 5)]


def sweep_of(costs, failed=()):
    """A sweep that has measured those COSTS."""
    found = types.SimpleNamespace(cases=[case for case in scale.CASES if case.name in costs], rounds=costs, failed=dict.fromkeys(failed, "why"))
    return scale.Sweep.medians(found), scale.Sweep.derived(found)


def test_ratios_are_of_the_same_round():
    found, derived = sweep_of({scale.BASE: rounds(40), "512 connections": rounds(50), "bodies of 16 KB": rounds(40 + 15.7),
                               "bodies of 256 KB": rounds(40 + 15.7 + 2 * 240)})
    assert found["512 connections"]["ratio"] == pytest.approx([1.25] * 3)
    assert "ratio" not in found[scale.BASE]
    assert derived["a KB beyond 16 / a KB below"] == pytest.approx([2] * 3)


def test_what_a_refusal_costs():
    """By itself a fifth of one forwarded; of a hundred that cost 45 us each ten were granted, to which the refusals leave 270 us each."""
    _, derived = sweep_of({scale.PACED: rounds(100), scale.SPENT: rounds(20), scale.REFUSING: rounds(45, answers={202: 10, 429: 90})})
    assert derived["refusing CPU / forwarding CPU"] == pytest.approx([0.2] * 3)
    assert derived["10 times overload: a request / one forwarded"] == pytest.approx([0.45] * 3)
    assert derived["10 times overload: one granted / one forwarded"] == pytest.approx([2.7] * 3)
    assert derived["its overload, offered / granted"] == pytest.approx([10] * 3)


def test_refusals_have_a_bound(capsys):
    _, derived = sweep_of({scale.PACED: rounds(100), scale.SPENT: rounds(36), scale.BASE: rounds(100), scale.SPENT_FLOOD: rounds(34)})
    assert scale_report.bounds({}, derived, {}) == 1
    assert "refusing CPU / forwarding CPU  " in capsys.readouterr().out


def test_failed_case_is_missed(capsys):
    found, derived = sweep_of({scale.BASE: rounds(40), "512 connections": rounds(60), "10000 callers": []}, ["10000 callers"])
    scale_report.table(found, ["5000 connections: too few files"])
    assert scale_report.bounds(found, derived, {"10000 callers": "why"}) == 2
    said = capsys.readouterr().out
    assert "10000 callers: WRONG (why)" in said and "not measured: 5000 connections" in said


def test_bases_are_chosen_too():
    assert [case.name for case in scale.chosen(["10000 waiting"])] == [scale.BASE, scale.WAIT, "10000 waiting"]


def test_disk_is_held_to_its_fdatasync(capsys):
    """A bound of the disk column alone: p50 at 1 connection, beyond that on a tmpfs and one fdatasync."""
    row = {"ratio": {}, "scripts": [0, 0, 0], "new_connections": [0, 0, 0]}
    found = {"jobgate": row, "jobgate, disk": row}
    assert report.bounds(found, {"beyond_us": [0, 199, 0]}) == 0
    assert report.bounds(found, {"beyond_us": [0, 201, 0]}) == 1
    assert "MISSED" in capsys.readouterr().out


def test_disk_is_no_tmpfs(tmp_path, monkeypatch):
    found = disk.Disk(str(tmp_path)) if disk.kind_of(tmp_path) not in disk.IN_MEMORY else None
    assert not found or found.sync_us(3, 100) > 0 and not list(tmp_path.iterdir())
    monkeypatch.setattr(disk, "IN_MEMORY", (disk.kind_of(tmp_path),))
    with pytest.raises(SystemExit, match="no disk"):
        disk.Disk(str(tmp_path))


def test_chart_is_xml(tmp_path):
    report.bars([("a & b", [1, 2, 3], report.GREY, "2 < 3")], "title", "below", tmp_path / "chart.svg")
    assert xml.etree.ElementTree.parse(tmp_path / "chart.svg").getroot().tag.endswith("svg")
