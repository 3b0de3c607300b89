"""A character model: a GRU reads Shakespeare's sonnets, a letter at a time, and then writes on.

    python examples/characters.py [folder]

The text, nine sonnets, ships with the package and is in the public domain; so little is soon known by heart. The
picture, in `out/` or the folder given: the loss in bits for each character, against that of a model that knows only how
frequent each letter is.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from chart import lines

import wengert as wg
from wengert import data, nn, optim, train

LENGTH, HIDDEN, EPOCHS = 48, 80, 6


class CharacterModel(nn.Module):
    def __init__(self, letters: int):
        self.embed = nn.Embedding(letters, 32)
        self.read = nn.GRU(32, HIDDEN, batch_first=True)
        self.next = nn.Linear(HIDDEN, letters)

    def forward(self, text, state=None):
        seen, state = self.read(self.embed(text), state)
        return self.next(seen), state


def loss_fn(model, text, following):
    scores, _ = model(text)
    return nn.functional.cross_entropy(scores.reshape(-1, scores.shape[-1]), following.reshape(-1))


def write(model, characters, start: str, length: int, key) -> str:
    """Let the model write on, drawing each letter by the probabilities it gives."""

    @wg.jit
    def one(model, letter, state, key):
        scores, state = model(letter.reshape(1, 1), state)
        key, mine = wg.random.split(key)
        return wg.random.categorical(mine, scores[0, -1] / 0.7), state, key

    model.eval()
    _, state = model(characters.encode(start[:-1])[None])
    letter, text = wg.asarray(characters.encode(start[-1])[0]), start
    for _ in range(length):
        letter, state, key = one(model, letter, state, key)
        text += characters.decode(letter)
    return text


def main(folder: Path) -> None:
    text = data.sonnets()
    characters = data.Characters(text)
    numbers = characters.encode(text)
    x, y = data.windows(numbers, LENGTH, stride=3)
    nn.manual_seed(0)
    model = CharacterModel(len(characters))
    batches = data.Batches(x, y, batch_size=32, shuffle=1)
    schedule = optim.schedule.OneCycle(1e-2, total_steps=EPOCHS * len(batches))
    optimizer = optim.AdamW(model, schedule=schedule)
    history = train.fit(model, optimizer, loss_fn, batches, EPOCHS, clip_norm=1.0, executor="native")
    bits = [loss / math.log(2) for loss in history["loss"]]
    share = np.bincount(numbers) / len(numbers)
    frequency = float(-np.sum(share * np.log2(share)))
    print(f"{len(text)} characters, {len(characters)} different ones")
    print(f"bits for each: {frequency:.2f} by frequency alone, {bits[-1]:.2f} by the model")
    print(write(model, characters, "Shall I ", 160, wg.random.key(5)))
    lines(
        folder / "characters.svg", "Bits for each character", {"GRU": bits, "frequency alone": [frequency] * EPOCHS},
        across="epoch",
    )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
