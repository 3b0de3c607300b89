"""What other libraries call things, for the errors of those who type it from habit."""

from __future__ import annotations

DEVICE = "arrays live in the computer's memory, and nothing has to be moved"
GRADIENT = "gradients are values: loss, grads = wg.value_and_grad(loss_fn)(model, x, y)"
NEW = "arrays don't change; write x = x + 1, or x = x.at[i].set(v)"

ARRAY = {
    "view": "x.reshape(…)", "permute": "wg.permute_dims(x, axes)", "transpose": "wg.permute_dims(x, axes), or x.mT",
    "unsqueeze": "wg.expand_dims(x, axis=…)", "numpy": "np.asarray(x)", "detach": "wg.stop_gradient(x)",
    "clone": "x itself, since arrays don't change", "contiguous": "x itself",
    "cpu": DEVICE, "cuda": DEVICE, "to": DEVICE,
    "float": "x.astype(wg.float32)", "double": "x.astype(wg.float64)", "half": "x.astype(wg.float16)",
    "long": "x.astype(wg.int64)", "type": "x.dtype", "backward": GRADIENT, "grad": GRADIENT, "requires_grad": GRADIENT,
    "requires_grad_": GRADIENT, "add_": NEW, "sub_": NEW, "mul_": NEW, "div_": NEW, "copy_": NEW, "zero_": NEW,
    "fill_": NEW, "clamp": "wg.clip(x, low, high)", "masked_fill": "wg.where(mask, value, x)",
    "expand": "wg.broadcast_to(x, shape)", "dim": "x.ndim", "numel": "x.size",
    "softmax": "nn.functional.softmax(x, dim)",
}  # fmt: skip
MODULE = {
    "cuda": DEVICE, "cpu": DEVICE, "zero_grad": GRADIENT, "backward": GRADIENT,
    "register_module": "assign the module as an attribute",
    "add_module": "assign the module as an attribute",
}  # fmt: skip
OPTIMIZER = {
    "step": "optimizer.update(model, grads)", "zero_grad": f"nothing: {GRADIENT}",
    "param_groups": "optimizer.learning_rate, and groups=[{…}] when it is made",
    "state_dict": "train.save(path, model, optimizer)", "load_state_dict": "train.load(path, model, optimizer)",
}  # fmt: skip


def instead(name: str, known: dict[str, str]) -> str:
    """What to write in place of `name`, as the end of a sentence; nothing where that isn't known."""
    return f"; here: {known[name]}" if name in known else ""
