"""save and load, the safetensors format, damaged files, other models, PyTorch's state dicts, and killed trainings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import data, optim, train
from wengert.errors import CheckpointError
from wengert.module import Module
from wengert.train import safetensors

ROOT = Path(__file__).parent.parent


class Net(Module):
    def __init__(self, n: int = 3) -> None:
        self.layers = [
            wg.asarray(np.random.default_rng(n).normal(size=(n, 2))),
            {"bias": wg.zeros(2, dtype=wg.float64)},
        ]
        self.key = wg.random.key(7)
        self.count = wg.asarray(5)
        self.tied = self.layers[0]

    def __call__(self, x: Any) -> Any:
        return x @ self.layers[0] + self.layers[1]["bias"]


def loss_fn(model: Any, x: Any, y: Any) -> Any:
    return wg.mean((model(x) - y) ** 2)


X, Y = np.random.default_rng(0).normal(size=(2, 12, 3))
Y = Y[:, :2]


def trained() -> tuple[Any, Any]:
    model = Net()
    optimizer = optim.AdamW(model, lr=0.1)
    train.fit(model, optimizer, loss_fn, (X, Y), 2, batch_size=4)
    return model, optimizer


# The format

ARRAYS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "scalar": np.array(2.5),
    "empty": np.zeros((0, 3), np.int16),
    "odd": np.arange(7, dtype=np.uint8),
    "yes": np.array([True, False]),
    "half": np.array([1.5, -2.0], np.float16),
    "complex": np.array([1 + 2j, 3 - 4j], np.complex64),
    "wide": np.array([[1 + 2j], [3 - 4j]]),
    "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big": np.arange(3, dtype=">i4"),
    "ünicode": np.array([1], np.uint64),
}


def test_arrays_of_every_type_come_back(tmp_path: Path) -> None:
    safetensors.write(tmp_path / "x.safetensors", ARRAYS, {"note": "hällo"})
    arrays, metadata = safetensors.read(tmp_path / "x.safetensors")
    assert set(arrays) == set(ARRAYS) and metadata["note"] == "hällo"
    for name, a in ARRAYS.items():
        assert arrays[name].dtype == a.dtype.newbyteorder("="), name
        assert arrays[name].shape == a.shape
        np.testing.assert_array_equal(arrays[name], a)
        assert arrays[name].flags.writeable and arrays[name].flags.aligned
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


def test_the_bytes_are_those_of_the_format(tmp_path: Path) -> None:
    """Read by hand, as the format's description says."""
    safetensors.write(tmp_path / "x", {"w": ARRAYS["a"], "b": np.array([7], np.int64)}, {})
    raw = (tmp_path / "x").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    assert size % 8 == 0 and header["w"]["dtype"] == "F32" and header["w"]["shape"] == [2, 3]
    begin, end = header["w"]["data_offsets"]
    np.testing.assert_array_equal(np.frombuffer(raw[8 + size :][begin:end], "<f4"), np.arange(6))
    assert (
        sum(e["data_offsets"][1] - e["data_offsets"][0] for n, e in header.items() if n[0] != "_")
        == len(raw) - 8 - size
    )


def test_bfloat16_is_read_as_float32(tmp_path: Path) -> None:
    header = json.dumps({"x": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    body = (np.array([1.5, -3.0], np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
    (tmp_path / "x").write_bytes(len(header).to_bytes(8, "little") + header + body)
    np.testing.assert_array_equal(safetensors.read(tmp_path / "x")[0]["x"], np.array([1.5, -3.0], np.float32))


def test_every_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    safetensors.write(path, {"w": np.arange(20.0)}, {"format": "wengert"})
    raw = path.read_bytes()
    for size in (0, 4, 8, 40, len(raw) - 1):
        path.write_bytes(raw[:size])
        with pytest.raises(CheckpointError, match="damaged"):
            safetensors.read(path)
    for at in range(len(raw)):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :])
        with pytest.raises(CheckpointError, match="damaged"):
            safetensors.read(path)
    path.write_bytes(raw + b"x")
    with pytest.raises(CheckpointError, match="damaged"):
        safetensors.read(path)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "x.safetensors"
    safetensors.write(path, {"w": np.arange(3.0)}, {})

    def broken(descriptor: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="full"):
        safetensors.write(path, {"w": np.arange(4.0)}, {})
    assert safetensors.read(path)[0]["w"].shape == (3,)
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


# save and load


def test_everything_comes_back(tmp_path: Path) -> None:
    model, optimizer = trained()
    batches = data.Batches(X, Y, batch_size=4, shuffle=1)
    next(iter(batches))
    key = wg.random.key(99)
    train.save(tmp_path / "c", model, optimizer, batches=batches, key=key, note={"epoch": 3, "loss": 0.1 + 0.2})
    other = Net(3)
    fresh = optim.AdamW(other, lr=0.5)
    again = data.Batches(X, Y, batch_size=4, shuffle=1)
    rest = train.load(tmp_path / "c", other, fresh, batches=again)
    assert rest["note"] == {"epoch": 3, "loss": 0.1 + 0.2}
    np.testing.assert_array_equal(rest["key"], key)
    assert other.tied is other.layers[0] and again.state() == {"epoch": 0, "position": 1}
    assert float(fresh.learning_rate) == 0.1 and fresh.learning_rate.weak and int(fresh.steps) == 6
    mine, theirs = (train.checkpoint.found({"m": m, "o": o}) for m, o in ((model, optimizer), (other, fresh)))
    for a, b in zip(mine, theirs, strict=True):
        assert a.name == b.name and np.asarray(a.value).tobytes() == np.asarray(b.value).tobytes()
    alone = Net()
    train.load(tmp_path / "c", alone)
    np.testing.assert_array_equal(alone.layers[0], model.layers[0])


def test_a_loaded_optimizer_goes_on_without_compiling_anew(tmp_path: Path) -> None:
    traced = []

    @wg.jit
    def step(model: Any, optimizer: Any) -> None:
        traced.append(1)
        optimizer.update(model, wg.grad(loss_fn)(model, X, Y))

    model, optimizer = trained()
    step(model, optimizer)
    train.save(tmp_path / "c", model, optimizer)
    train.load(tmp_path / "c", model, optimizer)
    step(model, optimizer)
    assert len(traced) == 1


def test_a_checkpoint_of_another_model(tmp_path: Path) -> None:
    train.save(tmp_path / "c", *trained())

    class Other(Module):
        def __init__(self) -> None:
            self.layers = [wg.zeros((3, 2)), {"bias": wg.zeros((4,))}]
            self.scale = wg.ones(1)

    other = Other()
    with pytest.raises(CheckpointError) as error:
        train.load(tmp_path / "c", other)
    text = str(error.value)
    assert "model: a Net saved, a Other given" in text and "nothing was loaded" in text
    assert "not in the file: model.scale" in text and "only in the file: model.count, model.key" in text
    assert "model.layers.1.bias (saved float64[2], here float32[4])" in text
    assert not np.asarray(other.layers[0]).any()
    with pytest.raises(CheckpointError, match="holds model, optimizer; no average"):
        train.load(tmp_path / "c", Net(), average=optim.EMA(Net()))
    with pytest.raises(FileNotFoundError):
        train.load(tmp_path / "none", Net())


def test_lbfgs_goes_on_where_it_was(tmp_path: Path) -> None:
    def evaluate(model: Any) -> Any:
        return wg.value_and_grad(loss_fn)(model, X, Y)

    model = Net()
    optimizer = optim.LBFGS(model, max_iter=3)
    optimizer.update(model, evaluate)
    train.save(tmp_path / "c", model, optimizer)
    other = Net()
    fresh = optim.LBFGS(other, max_iter=3)
    train.load(tmp_path / "c", other, fresh)
    optimizer.update(model, evaluate)
    fresh.update(other, evaluate)
    np.testing.assert_array_equal(model.layers[0], other.layers[0])


def test_plain_state_dicts(tmp_path: Path) -> None:
    model = Net()
    train.save_state_dict(tmp_path / "s", model)
    arrays, metadata = safetensors.read(tmp_path / "s")
    assert set(arrays) == {"layers.0", "layers.1.bias", "key", "count"} and metadata["format"] == "pt"
    other = Net()
    other.layers[1]["bias"] = wg.ones(2, dtype=wg.float64)
    assert train.load(tmp_path / "s", other) == {}
    np.testing.assert_array_equal(other.layers[1]["bias"], model.layers[1]["bias"])


def test_files_of_pytorchs_models_load_by_name(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from wengert import nn

    torch.manual_seed(0)
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2))
    state = {n: t.numpy() for n, t in theirs.state_dict().items()}
    safetensors.write(tmp_path / "t", state, {"format": "pt"})
    mine = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    train.load_state_dict(tmp_path / "t", mine)
    x = X.astype(np.float32)
    np.testing.assert_allclose(mine(x), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6)
    train.save_state_dict(tmp_path / "back", mine)
    back = {n: torch.tensor(a) for n, a in safetensors.read(tmp_path / "back")[0].items()}
    theirs.load_state_dict(back)


# A folder of checkpoints


def test_the_newest_whole_checkpoint_is_found(tmp_path: Path) -> None:
    folder = train.Checkpoints(tmp_path / "new" / "run", keep=3)
    assert folder.latest() is None and folder.load_latest(Net()) is None
    model = Net()
    for step in range(1, 6):
        model.count = wg.asarray(step)
        folder.save(step, model)
    assert [s for s, _ in folder.files()] == [3, 4, 5]
    for step in (5, 4):
        path = folder.folder / f"step-{step:09d}.safetensors"
        path.write_bytes(path.read_bytes()[:-3])
    with pytest.warns(RuntimeWarning, match=r"step-00000000[45].*damaged"):
        folder.load_latest(model)
    assert int(model.count) == 3
    (folder.folder / ".step-000000009.safetensors.77.tmp").write_bytes(b"torn")
    folder.save(6, model)
    assert not list(folder.folder.glob(".*"))


def test_a_resumed_training_is_the_uninterrupted_one(tmp_path: Path) -> None:
    """Stopped by an error in the middle of an epoch; what is left is done by a new process's worth of objects."""

    class Dead(Exception):
        pass

    class Kill(train.Callback):
        every = 8

        def on_step(self, run: Any, seen: Any) -> None:
            raise Dead

    def run(folder: Any, callbacks: Any = ()) -> Any:
        model = Net()
        optimizer = optim.Adam(model, lr=0.1)
        history = train.fit(
            model, optimizer, loss_fn, (X, Y), 4, callbacks, batch_size=2, shuffle=3, checkpoint=folder, save_every=3
        )
        return np.asarray(model.layers[0]), list(history), np.asarray(optimizer.state["layers.0"]["exp_avg"])

    whole = run(tmp_path / "whole")
    with pytest.raises(Dead):
        run(tmp_path / "torn", [Kill()])
    resumed = run(tmp_path / "torn")
    assert whole[1] == resumed[1]
    assert whole[0].tobytes() == resumed[0].tobytes() and whole[2].tobytes() == resumed[2].tobytes()
    assert len(run(tmp_path / "torn")[1]) == 4, "a finished training stays as it is"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_trainings_resume_bit_for_bit() -> None:
    """A dozen kills; `python -m tests.kill_training --count 200` for many."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.kill_training", "--count", "12", "--seed", "4"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "'kills': 12" in done.stdout


def test_the_best_model_survives_a_resume(tmp_path: Path) -> None:
    """A run that is interrupted after its best epoch gives back that epoch's model when it is taken up again."""
    seen: list[np.ndarray] = []

    def run(break_after: int) -> Any:
        model, stop = Net(), train.EarlyStopping("loss", patience=4)

        def worse(at: Any) -> None:
            if at.epoch == len(seen):
                seen.append(np.array(at.model.layers[0]))
            if at.epoch == 2:
                at.optimizer.learning_rate = 3.0
            if at.epoch == break_after:
                raise KeyboardInterrupt

        optimizer = optim.SGD(model, lr=0.1)
        train.fit(model, optimizer, loss_fn, (X, Y), 30, batch_size=4, callbacks=[stop, worse], checkpoint=tmp_path)
        return model, stop

    with pytest.raises(KeyboardInterrupt):
        run(5)
    model, stop = run(99)
    assert stop.best_epoch < 5 and stop.bad > 4
    np.testing.assert_array_equal(np.asarray(model.layers[0]), seen[stop.best_epoch])
