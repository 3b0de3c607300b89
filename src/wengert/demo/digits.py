"""Twenty layers with sigmoids learn nothing about handwritten digits: why, and what helps."""

folder = "out"  # where the page goes

# %% Twenty layers with sigmoids, on handwritten digits
from wengert import data, flow, nn, optim, train

nn.manual_seed(0)
hidden = [layer for _ in range(19) for layer in (nn.Linear(64, 64), nn.Sigmoid())]
model = nn.Sequential(*hidden, nn.Linear(64, 10))
(x, y), test = data.digits()


def loss_fn(model, x, y):
    return nn.functional.cross_entropy(model(x), y)


def learn(model, optimizer, epochs, callbacks=()):
    train.fit(model, optimizer, loss_fn, (x, y), epochs, batch_size=64, shuffle=0, callbacks=callbacks)
    return train.evaluate(model, loss_fn, test, {"accuracy": train.accuracy})["accuracy"]


before = learn(model, optim.Adam(model), epochs=6)
print(f"test accuracy: {before:.1%}; chance is 10 %")

# %% What is wrong with it?
report = flow.diagnose(model, loss_fn, x[:256], y[:256])
print(report)

# %% What helps? Remedies are tried in turn, and judged by short trainings side by side
mended = flow.repair(model, loss_fn, x[:256], y[:256], batches=(x, y))
print(mended)

# %% Train the mended net
optimizer = mended.recipe.make_optimizer(mended.model)
after = learn(mended.model, optimizer, 30, [flow.Monitor(every=10, folder=f"{folder}/run")])
print(f"test accuracy: {before:.1%} before, {after:.1%} after")
mended.save(f"{folder}/digits.html", metric=("test accuracy", before, after), training=f"{folder}/run")
