"""Run folders: written at once, read back whole, damaged, continued and killed ones; TensorBoard's files."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from wengert import flow, nn, optim, train
from wengert.errors import ArgumentError
from wengert.flow.run import RECORDS, RunWriter, as_json, follow, read_run

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((64, 5)).astype(np.float32), RNG.integers(0, 3, 64)


def loss_fn(model, x, y):
    return nn.functional.cross_entropy(model(x), y)


def trained(folder, epochs=2, **settings):
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    monitor = flow.Monitor(every=2, thorough=4, folder=folder, **settings)
    train.fit(model, optim.SGD(model, 0.1), loss_fn, (X, Y), epochs, [monitor], batch_size=8, progress=False)
    return monitor


def test_a_run_is_read_back_as_it_was(tmp_path):
    monitor = trained(tmp_path / "run", pace=0)
    run = read_run(tmp_path / "run")
    assert [r["kind"] for r in run.records[:6]] == ["start", "step", "step", "step", "step", "epoch"]
    assert run.records[-1]["kind"] == "end" and run.records[-1]["reason"] == "done" and not run.damaged
    assert run.steps == [json.loads(as_json(r)) for r in monitor.records]
    assert run.meta["every"] == 2 and [m["class"] for m in run.meta["modules"]][1:] == ["Linear", "ReLU", "Linear"]
    assert run.meta["parameters"][0] == {
        "name": "0.weight", "shape": [8, 5], "dtype": "float32", "size": 40, "module": "0", "trained": True,
    }  # fmt: skip
    assert run.records[5]["metrics"]["loss"] > 0
    assert flow.ranges_picture(run.steps).startswith("<svg")


def test_a_loop_of_ones_own_writes_a_run(tmp_path):
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = optim.SGD(model, 0.1)
    monitor = flow.Monitor(every=2, thorough=4, folder=tmp_path, pace=0)

    def train_step(model, optimizer, x, y):
        loss, grads = monitor.value_and_grad(loss_fn)(model, x, y)
        optimizer.update(model, grads)
        return loss

    step = monitor.jit(train_step)
    with pytest.raises(KeyError), monitor:
        for _ in range(5):
            step(model, optimizer, X, Y)
        monitor.note("half of it")
        raise KeyError("stop")
    run = read_run(tmp_path)
    assert [(r["kind"], r["step"]) for r in run.records] == [
        ("start", 0), ("step", 2), ("step", 4), ("note", 4), ("end", 4),
    ]  # fmt: skip
    assert run.records[-1]["reason"] == "KeyError: 'stop'" and len(run.meta["parameters"]) == 4


def test_records_come_at_a_pace_and_the_last_one_always(tmp_path):
    trained(tmp_path / "run", pace=1000)
    assert [r["step"] for r in read_run(tmp_path / "run").steps] == [2, 6, 16]


def test_damaged_lines_are_left_out(tmp_path):
    trained(tmp_path / "run", pace=0)
    path = tmp_path / "run" / RECORDS
    whole = path.read_bytes()
    count = len(read_run(tmp_path / "run").records)
    for cut in range(2, 200, 7):
        path.write_bytes(whole[:-cut])
        run = read_run(tmp_path / "run")
        assert count - 3 <= len(run.records) < count and run.damaged <= 1
    path.write_bytes(whole.replace(b'"kind":"step","step":4', b'"kind":\x00\xff"st') + b"[1]\n7\n\xff\n")
    run = read_run(tmp_path / "run")
    assert run.damaged == 4 and [r["step"] for r in run.steps] == [2, 6, 8, 10, 12, 14, 16]


def test_a_run_that_goes_on_forgets_the_steps_that_are_made_again(tmp_path):
    first = RunWriter(tmp_path, {"title": "a"})
    for step in (10, 20, 30):
        first.write({"kind": "step", "step": step, "loss": math.nan})
    first.file.write(b'{"kind":"step","st')  # killed here
    first.close()
    second = RunWriter(tmp_path, {"title": "a"}, step=15)
    second.write({"kind": "step", "step": 20, "loss": np.float32(0.5)})
    second.close()
    run = read_run(tmp_path)
    assert [(r["kind"], r["step"]) for r in run.records] == [("start", 0), ("step", 10), ("start", 15), ("step", 20)]
    assert run.records[1]["loss"] is None and run.records[3]["loss"] == 0.5 and run.damaged == 1


def test_followers_get_whole_lines_as_they_come(tmp_path):
    writer = RunWriter(tmp_path, {})
    found, at = follow(tmp_path)
    assert [r["kind"] for r in found] == ["start"]
    writer.file.write(b'{"kind":"note","step":1,')
    writer.file.flush()
    assert follow(tmp_path, at) == ([], at)
    writer.file.write(b'"text":"hello"}\n')
    writer.file.flush()
    found, end = follow(tmp_path, at)
    assert found == [{"kind": "note", "step": 1, "text": "hello"}] and follow(tmp_path, end) == ([], end)
    assert follow(tmp_path, 10**9)[0][0]["kind"] == "start"  # the file was begun anew
    assert follow(tmp_path / "no_such") == ([], 0)
    writer.close()


SCRIPT = """
import sys
from wengert.flow.run import RunWriter
writer = RunWriter(sys.argv[1], {})
print("ready", flush=True)
for step in range(10**9):
    writer.write({"kind": "step", "step": step, "values": list(range(200))})
"""


def test_a_killed_run_is_readable(tmp_path):
    for k in range(6):
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path / str(k))], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        time.sleep(0.01 * k)
        process.kill()
        process.wait()
        process.stdout.close()
        run = read_run(tmp_path / str(k))
        assert run.damaged <= 1
        assert [r["step"] for r in run.steps] == list(range(len(run.steps)))
        assert all(r["values"] == list(range(200)) for r in run.steps)


def test_what_is_no_run_says_so(tmp_path):
    with pytest.raises(ArgumentError, match="no run folder"):
        read_run(tmp_path)
    with pytest.raises(ArgumentError, match="no run folder"):
        read_run(tmp_path / "no_such")
    for content, message in (
        ("{", "damaged"),
        ('{"format": "else"}', "describes no run"),
        ('{"format": "wengert-run", "version": 99}', "reads up to"),
    ):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(ArgumentError, match=message):
            read_run(tmp_path)
        with pytest.raises(ArgumentError, match=message):
            RunWriter(tmp_path, {})
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match="can't be written"):
        flow.Monitor(folder=tmp_path / "file").begin(nn.Linear(2, 2))


def events(folder: Path):
    """The events in TensorBoard's files: length, checksum, bytes, checksum."""
    pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    for path in folder.glob("events.*"):
        content = path.read_bytes()
        at = 0
        while at < len(content):
            (size,) = struct.unpack("<Q", content[at : at + 8])
            yield pb2.Event.FromString(content[at + 12 : at + 12 + size])
            at += 12 + size + 4


def test_tensorboard_gets_scalars_and_histograms(tmp_path):
    pytest.importorskip("tensorboardX")
    monitor = trained(None, tensorboard=tmp_path / "logs", pace=0)
    found = {(v.tag, e.step): v for e in events(tmp_path / "logs") for v in e.summary.value}
    for record in monitor.records:
        step = record["step"]
        assert found["loss", step].simple_value == pytest.approx(record["loss"])
        entry = record["parameters"]["0.weight"]
        assert found["parameters/0.weight/gradient/norm", step].simple_value == pytest.approx(entry["gradient"]["norm"])
        if record["thorough"]:
            histogram = found["parameters/0.weight/histogram", step].histo
            assert list(histogram.bucket) == entry["histogram"]["counts"] and histogram.num == 40
            assert histogram.bucket_limit[-1] == pytest.approx(entry["max"])
    assert any(tag == "epoch/loss" for tag, _ in found)
    with flow.TensorBoard(tmp_path / "text") as board:
        board.text("report", "two\nlines")
        board.write({"kind": "step", "step": 1, "loss": math.nan})
    assert [v.tag for e in events(tmp_path / "text") for v in e.summary.value] == ["report/text_summary"]


def test_without_the_extra_the_error_names_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ArgumentError, match=r"wengert\[tensorboard\]"):
        flow.TensorBoard(tmp_path)
