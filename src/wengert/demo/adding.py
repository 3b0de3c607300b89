"""A recurrent net is to add two of forty numbers, and forgets them: why, and what helps."""

folder = "out"  # where the page goes

# %% A recurrent net that is to remember two of 40 numbers, and add them
import wengert as wg
from wengert import data, flow, nn, optim, train


class Adder(nn.Module):
    def __init__(self, hidden=32):
        self.read = nn.RNN(2, hidden, batch_first=True)
        self.answer = nn.Linear(hidden, 1)

    def forward(self, x):
        states, _ = self.read(x)
        return self.answer(states[:, -1])


def loss_fn(model, x, y):
    return wg.mean((model(x) - y) ** 2)


def learn(recipe, epochs):
    model = recipe.model.copy()
    train.fit(model, recipe.make_optimizer(model), loss_fn, batches, epochs)
    return train.evaluate(model, loss_fn, data.adding_problem(2, 1000, length=40))["loss"]


nn.manual_seed(0)
x, y = data.adding_problem(1, 3000, length=40)
batches = data.Batches(x, y, batch_size=50, shuffle=0)
recipe = flow.Recipe(Adder(), loss_fn, optim.Adam, learning_rate=0.01)
before = learn(recipe, epochs=8)
print(f"squared error: {before:.4f}; who answers 1 each time has 0.1667")

# %% Why does it forget?
print(flow.diagnose(recipe, loss_fn, x[:256], y[:256]))
print(flow.by_lag(recipe.model, loss_fn, x[:64], y[:64]))

# %% What helps?
mended = flow.repair(recipe, loss_fn, x[:256], y[:256], batches=batches, steps=300, seeds=2)
print(mended)

# %% Train the mended net
after = learn(mended.recipe, epochs=12)
print(f"squared error: {before:.4f} before, {after:.4f} after")
mended.save(f"{folder}/adding.html", metric=("squared error", before, after))
