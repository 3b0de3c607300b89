"""Batches from everything that holds data; the thread that makes them ahead; data sets; the text."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import data
from wengert.errors import ArgumentError, MissingExtraError, ShapeError

X = np.arange(20, dtype=np.float32).reshape(10, 2)
Y = np.arange(10)


def seen(source: Any) -> list[list[int]]:
    return [np.asarray(y).tolist() for _, y in source]


def test_batches_in_the_given_order() -> None:
    batches = data.Batches(X, Y, batch_size=4)
    assert len(batches) == 3
    assert seen(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert all(np.array_equal(x[:, 0], 2 * y) for x, y in batches)
    assert seen(data.Batches(X, Y, batch_size=4, drop_last=True)) == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("shuffle", [True, 5, wg.random.key(3)])
def test_shuffled_epochs_differ_and_runs_agree(shuffle: Any) -> None:
    batches = data.Batches(X, Y, batch_size=4, shuffle=shuffle)
    first, second = seen(batches), seen(batches)
    assert first != second
    assert sorted(i for b in first for i in b) == sorted(i for b in second for i in b) == list(range(10))
    again = data.Batches(X, Y, batch_size=4, shuffle=shuffle)
    assert [seen(again), seen(again)] == [first, second]


def test_dicts_and_tensors_and_lists() -> None:
    torch = pytest.importorskip("torch")
    (batch,) = data.Batches({"x": torch.tensor(X), "y": Y.tolist()}, batch_size=10)
    assert isinstance(batch["x"], np.ndarray) and batch["y"].tolist() == Y.tolist()


@pytest.mark.parametrize("wrap", [lambda b: b, data.prefetch], ids=["alone", "prefetched"])
@pytest.mark.parametrize("stop", [0, 1, 2, 3, 4, 5, 6])
def test_going_on_from_any_position(stop: int, wrap: Any) -> None:
    def make() -> Any:
        return wrap(data.Batches(X, Y, batch_size=4, shuffle=1))

    whole = make()
    expected = seen(whole) + seen(whole) + seen(whole)
    run, got = make(), []
    for _ in range(3):
        for _, y in run:
            got.append(y.tolist())
            if len(got) == stop:
                break
        if len(got) == stop:
            break
    state = run.state()
    fresh = make()
    fresh.restore(state)
    rest: list[Any] = []
    while len(got) + len(rest) < len(expected):
        rest += seen(fresh)
    assert got + rest == expected


@pytest.mark.parametrize("wrap", [lambda b: b, data.prefetch], ids=["alone", "prefetched"])
def test_an_epoch_broken_off_is_followed_by_the_next(wrap: Any) -> None:
    batches = wrap(data.Batches(X, Y, batch_size=4, shuffle=1))
    for _ in batches:
        break
    whole = data.Batches(X, Y, batch_size=4, shuffle=1)
    seen(whole)
    assert seen(batches) == seen(whole)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: data.Batches(X, Y[:9]), r"\(10, 2\), \(9,\)"),
        (lambda: data.Batches(X[:0]), "0 examples make no batch"),
        (lambda: data.Batches(X, batch_size=11, drop_last=True), "10 examples make no batch of 11"),
        (lambda: data.Batches(np.float32(3)), r"\(\)"),
        (lambda: data.Batches(), "of nothing"),
    ],
)
def test_arrays_that_make_no_batches(make: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        make()
    with pytest.raises(ArgumentError, match="batch_size is 0"):
        data.Batches(X, batch_size=0)


# Streams


def test_generators_and_functions_that_make_them() -> None:
    def made(epoch: int) -> Any:
        return ((X[i : i + 5], Y[i : i + 5] + 100 * epoch) for i in (0, 5))

    stream = data.Stream(made)
    assert seen(stream)[0][0] == 0 and seen(stream)[0][0] == 100
    assert seen(data.Stream(lambda: made(0)))[1][-1] == 9
    once = data.batches(made(0))
    assert len(seen(once)) == 2
    with pytest.raises(ArgumentError, match="only once"):
        seen(once)
    with pytest.raises(ArgumentError, match="got a int"):
        data.batches(3)


def test_pytorchs_loaders() -> None:
    torch = pytest.importorskip("torch")
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=4, shuffle=False
    )
    batches = data.batches(loader)
    assert len(batches) == 3
    for x, y in batches:
        assert isinstance(x, np.ndarray) and x.dtype == np.float32 and y.dtype == np.int64
    assert seen(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


class Table:
    """What a Hugging Face dataset looks like from outside."""

    column_names = ("image", "label", "id")

    def __len__(self) -> int:
        return 10

    def __getitem__(self, rows: list[int]) -> dict[str, Any]:
        return {"image": X[rows].tolist(), "label": [int(i) for i in rows], "id": [str(i) for i in rows]}


class Streamed:
    column_names = ("image", "label")

    def iter(self, batch_size: int) -> Any:
        for i in range(0, 10, batch_size):
            yield {"image": X[i : i + batch_size].tolist(), "label": Y[i : i + batch_size].tolist()}


def test_hugging_face_datasets() -> None:
    rows = data.Rows(Table(), ["image", "label"], batch_size=4, shuffle=2)
    images, labels = zip(*rows, strict=True)
    assert images[0].dtype == np.float32
    np.testing.assert_array_equal(np.concatenate(images), X[np.concatenate(labels)])
    assert [len(b[0]) for b in data.Rows(Table(), ["label"], batch_size=4, drop_last=True)] == [4, 4]
    assert seen(data.batches(Streamed(), batch_size=4)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    with pytest.raises(ArgumentError, match=r"no column \['text'\].*image"):
        data.Rows(Table(), ["text"])
    with pytest.raises(ArgumentError, match=r"column 'id' of the dataset holds text"):
        next(iter(data.batches(Table(), batch_size=4)))
    splits = type("Splits", (dict,), {"column_names": {"train": ["image"], "test": ["image"]}})()
    with pytest.raises(ArgumentError, match=r"choose one, such as dataset\['train'\]"):
        data.batches(splits)


def test_datasets_of_hugging_face_themselves() -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"x": X.tolist(), "y": Y.tolist(), "name": ["a"] * 10})
    for table in (
        rows.remove_columns("name"), rows.with_format("numpy", columns=["x", "y"]),
        rows.remove_columns("name").to_iterable_dataset(), rows.remove_columns("name").with_format("numpy"),
    ):  # fmt: skip
        x, y = zip(*data.batches(table, batch_size=4), strict=True)
        np.testing.assert_array_equal(np.concatenate(x), X)
        np.testing.assert_array_equal(np.concatenate(y), Y)
        assert x[0].dtype == np.float32 and [len(a) for a in y] == [4, 4, 2]
    for _ in range(2):  # an order for each epoch
        got = np.concatenate([y for _, y in data.batches(rows.remove_columns("name"), batch_size=3, shuffle=1)])
        np.testing.assert_array_equal(np.sort(got), np.sort(Y))
    with pytest.raises(ArgumentError, match="'name' of the dataset holds text"):
        next(iter(data.batches(rows)))
    with pytest.raises(ArgumentError, match="choose one"):
        data.batches(datasets.DatasetDict({"train": rows}))


def test_pytorchs_loaders_with_workers() -> None:
    torch = pytest.importorskip("torch")
    set_ = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    loader = torch.utils.data.DataLoader(set_, batch_size=4, num_workers=1, multiprocessing_context="spawn")
    assert seen(data.batches(loader)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    rows = [{"x": torch.tensor(a), "y": int(b)} for a, b in zip(X, Y, strict=True)]
    (first, *_) = data.batches(torch.utils.data.DataLoader(rows, batch_size=5))
    np.testing.assert_array_equal(first["x"], X[:5])
    assert first["y"].dtype == np.int64


def test_sources_that_never_end() -> None:
    def endless() -> Any:
        i = 0
        while True:
            yield X[i % 10][None], np.array([i])
            i += 1

    started = data.Stream(endless(), length=3)
    assert len(started) == 3
    assert [seen(started) for _ in range(2)] == [[[0], [1], [2]], [[3], [4], [5]]]
    anew = data.Stream(endless, length=2)
    assert [seen(anew) for _ in range(2)] == [[[0], [1]]] * 2
    resumed = data.Stream(endless(), length=3)
    resumed.restore({"epoch": 1, "position": 2})
    assert seen(resumed) == [[5]]
    with pytest.raises(ArgumentError, match="runs only once: batch 0"):
        resumed.restore({"epoch": 0, "position": 0})
        list(resumed)
    with pytest.raises(ArgumentError, match="length is 0"):
        data.Stream(endless, length=0)


# Ahead


def test_a_thread_works_ahead_and_ends() -> None:
    made: list[int] = []
    ready = threading.Event()

    def source() -> Any:
        for i in range(100):
            made.append(i)
            if i == 3:
                ready.set()
            yield (np.array([i]),)

    threads = threading.active_count()
    taken = []
    for (x,) in data.prefetch(source, size=3):
        taken.append(int(x[0]))
        if len(taken) == 1:
            assert ready.wait(10), "three batches wait while the first is looked at"
        if len(taken) == 5:
            break
    assert taken == [0, 1, 2, 3, 4] and len(made) < 12
    assert threading.active_count() == threads


def test_an_error_in_the_source_arrives() -> None:
    def source() -> Any:
        yield (X,)
        raise ValueError("broken file")

    got = []
    with pytest.raises(ValueError, match="broken file"):
        for batch in data.prefetch(source):
            got.append(batch)
    assert len(got) == 1


# Data sets


def test_digits() -> None:
    pytest.importorskip("sklearn")
    (x, y), (x_test, _) = data.digits()
    assert x.shape == (1438, 64) and x_test.shape == (359, 64) and x.dtype == np.float32
    assert x.min() == 0 and x.max() == 1 and sorted(set(y.tolist())) == list(range(10))
    assert len({row.tobytes() for row in x} & {row.tobytes() for row in x_test}) == 0
    (images, labels), _ = data.digits(flat=False)
    assert images.shape == (1438, 1, 8, 8) and np.array_equal(images.reshape(-1, 64), x)
    assert np.array_equal(labels, y)
    with pytest.raises(ArgumentError, match="share"):
        data.digits(test=2)


def test_a_missing_package_is_named(monkeypatch: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"wengert\[data\]"):
        data.digits()


def test_the_adding_problem() -> None:
    x, y = data.adding_problem(0, 2000, 11)
    assert x.shape == (2000, 11, 2) and y.shape == (2000, 1)
    assert (x[:, :5, 1].sum(1) == 1).all() and (x[:, 5:, 1].sum(1) == 1).all()
    np.testing.assert_allclose(y[:, 0], (x[..., 0] * x[..., 1]).sum(1), rtol=1e-6)
    assert np.mean((y - 1) ** 2) == pytest.approx(1 / 6, abs=0.02)
    with pytest.raises(ArgumentError, match="two numbers"):
        data.adding_problem(0, 3, 1)


def test_the_copy_task() -> None:
    x, y = data.copy_task(1, 50, delay=7, symbols=5, memorise=4)
    assert x.shape == y.shape == (50, 15)
    assert np.array_equal(x[:, :4], y[:, -4:]) and set(np.unique(x[:, :4])) == {1, 2, 3, 4, 5}
    assert (x[:, 10] == 6).all() and not x[:, 4:10].any() and not x[:, 11:].any() and not y[:, :-4].any()


def test_spirals_are_wound_into_each_other() -> None:
    x, y = data.spirals(0, 300, classes=3, noise=0.0)
    radius, angle = np.hypot(*x.T), np.arctan2(x[:, 1], x[:, 0])
    turn = (angle / (2 * np.pi) - 1.5 * radius - y / 3) % 1
    np.testing.assert_allclose(np.minimum(turn, 1 - turn), 0, atol=1e-5)
    assert np.bincount(y).tolist() == [100, 100, 100]
    with pytest.raises(ArgumentError, match="seed"):
        data.spirals(None, 3)


def test_the_text_and_its_characters() -> None:
    text = data.sonnets()
    assert text.count("\n\n") == 8 and "Shall I compare thee to a summer's day?" in text
    characters = data.Characters(text)
    numbers = characters.encode(text)
    assert characters.decode(numbers) == text and numbers.max() == len(characters) - 1
    x, y = data.windows(numbers, 16, stride=4)
    assert np.array_equal(x[:, 1:], y[:, :-1]) and characters.decode(x[0]) == text[:16]
    assert y[-1, -1] == numbers[4 * (len(x) - 1) + 16]
    with pytest.raises(ArgumentError, match="'ß'"):
        characters.encode("ß")
    with pytest.raises(ArgumentError, match="more than 16"):
        data.windows(numbers[:16], 16)
