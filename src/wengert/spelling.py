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
_LINALG = ("cholesky", "cross", "det", "diagonal", "eigh", "eigvalsh", "expm", "inv", "kron", "lstsq", "matrix_norm",
           "norm", "pinv", "qr", "slogdet", "solve", "svd", "svdvals", "trace")  # fmt: skip
_LAYERS = ("relu", "sigmoid", "gelu", "silu", "elu", "selu", "softplus", "leaky_relu", "dropout", "pad",
           "cross_entropy", "mse_loss", "layer_norm")  # fmt: skip
PACKAGE = {
    **{n: f"wg.linalg.{n}" for n in _LINALG}, **{n: f"wg.nn.functional.{n}" for n in _LAYERS},
    "dot": "x @ y", "inner": "wg.vecdot(x, y)", "vdot": "wg.vecdot(x, y)", "linalg.multi_dot": "a @ b @ c",
    "diag": "wg.linalg.diagonal(x) takes a diagonal out, v * wg.eye(len(v)) makes a matrix of one",
    "identity": "wg.eye(n)", "hstack": "wg.concat(arrays, axis=1)", "vstack": "wg.stack(rows), or wg.concat(arrays)",
    "column_stack": "wg.stack(columns, axis=1)", "cat": "wg.concat(arrays, axis=…)", "append": "wg.concat([x, y])",
    "split": "slices: x[:n], x[n:]", "array_split": "slices: x[:n], x[n:]", "fliplr": "x[:, ::-1]", "flipud": "x[::-1]",
    "average": "wg.sum(w * x) / wg.sum(w)", "median": "wg.sort(x)[n // 2]", "ptp": "wg.max(x) - wg.min(x)",
    "interp": "i = wg.searchsorted(xs, x) - 1; t = (x - xs[i]) / (xs[i + 1] - xs[i]); (1 - t) * ys[i] + t * ys[i + 1]",
    "trapezoid": "wg.sum((y[1:] + y[:-1]) / 2 * wg.diff(x))", "trapz": "wg.sum((y[1:] + y[:-1]) / 2 * wg.diff(x))",
    "gradient": "wg.diff(y) / dx, or (y[2:] - y[:-2]) / (2 * dx); derivatives of functions are wg.grad's",
    "convolve": "wg.nn.functional.conv1d, whose kernel is not turned around", "fmax": "wg.maximum(x, y)",
    "fmin": "wg.minimum(x, y)", "nan_to_num": "wg.where(wg.isnan(x), 0.0, x)",
    "nansum": "wg.sum(wg.where(wg.isnan(x), 0.0, x))",
    "select": "wg.where(a, x, wg.where(b, y, z))", "piecewise": "wg.where(a, x, wg.where(b, y, z))",
    "heaviside": "wg.where(x > 0, 1.0, 0.0)", "deg2rad": "x * (wg.pi / 180)", "vectorize": "wg.vmap(f)",
    "apply_along_axis": "wg.vmap(f, in_axes=…)", "polyval": "a loop: y = y * x + c",
    "tensor": "wg.asarray(data)", "from_numpy": "wg.asarray(x)", "Tensor": "wg.Array", "ndarray": "wg.Array",
    "unsqueeze": "wg.expand_dims(x, axis=…)", "no_grad": "nothing: derivatives are taken where wg.grad is called",
    "autograd": "wg.grad(f)", "manual_seed": "wg.nn.manual_seed(seed)", "randn": "wg.random.normal(key, shape)",
    "rand": "wg.random.uniform(key, shape)", "tree_map": "wg.tree.map", "pmap": "wg.vmap(f)",
    "lax": "wg.scan, wg.while_loop, wg.cond", "numpy": "wg has NumPy's names itself",
    "float": "wg.float32 or wg.float64", "int": "wg.int64",
}  # fmt: skip


def instead(name: str, known: dict[str, str]) -> str:
    """What to write in place of `name`, as the end of a sentence; nothing where that isn't known."""
    return f"; here: {known[name]}" if name in known else ""
