"""Slow and independent: each op once more, in scalar loops or by Python's math module, on float64 arrays.

Nothing here calls minigen. Options have the names and meanings of torch.nn.functional's.
"""

import itertools
import math

import numpy as np

pair = lambda v: v if isinstance(v, tuple) else (v, v)


def each(f):
    """A function of numbers, applied element by element to arrays that are broadcast."""

    def oracle(*xs):
        xs = np.broadcast_arrays(*xs)
        return np.array([f(*map(float, values)) for values in zip(*[x.ravel() for x in xs])]).reshape(xs[0].shape)

    return oracle


def over(f, axis=None, keepdims=False):
    """A function of a list of numbers, applied over axes: every element is put into the list of its result."""

    def oracle(x):
        axes = range(x.ndim) if axis is None else [a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,))]
        lists = {}
        for index in np.ndindex(x.shape):
            lists.setdefault(tuple(0 if i in axes else k for i, k in enumerate(index)), []).append(float(x[index]))
        out = np.empty([1 if i in axes else n for i, n in enumerate(x.shape)])
        for index, values in lists.items():
            out[index] = f(values)
        return out if keepdims else out.reshape([n for i, n in enumerate(x.shape) if i not in axes])

    return oracle


def variance(values, correction=1):
    mean = math.fsum(values) / len(values)
    return math.fsum((v - mean) ** 2 for v in values) / (len(values) - correction)


def softmax(x, axis):
    out = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        line = [x[(*index[:axis], k, *index[axis + 1 :])] for k in range(x.shape[axis])]
        out[index] = 1 / math.fsum(math.exp(v - x[index]) for v in line)
    return out


def matmul(x, y):
    """2-D, or both with one leading axis."""
    if x.ndim == 3:
        return np.stack([matmul(a, b) for a, b in zip(x, y)])
    out = np.empty((x.shape[0], y.shape[1]))
    for i, j in np.ndindex(out.shape):
        out[i, j] = math.fsum(float(a) * float(b) for a, b in zip(x[i, :], y[:, j]))
    return out


# ------------------------------------------------------------------------------------------------ convolution


def conv2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    (s0, s1), (p0, p1), (d0, d1) = pair(stride), pair(padding), pair(dilation)
    (N, _, H, W), (O, Cg, kh, kw) = x.shape, w.shape
    out = np.zeros((N, O, (H + 2 * p0 - d0 * (kh - 1) - 1) // s0 + 1, (W + 2 * p1 - d1 * (kw - 1) - 1) // s1 + 1))
    for n, o, i, j in np.ndindex(out.shape):
        total = 0.0 if b is None else float(b[o])
        for c, u, v in np.ndindex(Cg, kh, kw):
            h, l = s0 * i + d0 * u - p0, s1 * j + d1 * v - p1
            if 0 <= h < H and 0 <= l < W:
                total += float(w[o, c, u, v]) * float(x[n, o // (O // groups) * Cg + c, h, l])
        out[n, o, i, j] = total
    return out


def conv_transpose2d(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    (s0, s1), (p0, p1), (d0, d1) = pair(stride), pair(padding), pair(dilation)
    (e0, e1), (N, C, H, W), (_, Og, kh, kw) = pair(output_padding), x.shape, w.shape
    out = np.zeros(
        (
            *(N, Og * groups),
            *((H - 1) * s0 - 2 * p0 + d0 * (kh - 1) + e0 + 1, (W - 1) * s1 - 2 * p1 + d1 * (kw - 1) + e1 + 1),
        )
    )
    for n, c, i, j in np.ndindex(x.shape):
        for o, u, v in np.ndindex(Og, kh, kw):
            h, l = s0 * i + d0 * u - p0, s1 * j + d1 * v - p1
            if 0 <= h < out.shape[2] and 0 <= l < out.shape[3]:
                out[n, c // (C // groups) * Og + o, h, l] += float(x[n, c, i, j]) * float(w[c, o, u, v])
    return out if b is None else out + b.reshape(1, -1, 1, 1)


# ------------------------------------------------------------------------------------------------ pooling


def pooled_size(n, k, s, p, d=1, ceil_mode=False):
    """By trying: how many windows begin early enough. With ceil_mode one may hang over, if it begins inside."""
    count = 0
    while True:
        first, last = count * s - p, count * s - p + d * (k - 1)
        if not (last < n + p or (ceil_mode and last < n + p + s - 1 and first < n)):
            return count
        count += 1


def windows(x, kernel, stride=None, padding=0, dilation=1, ceil_mode=False):
    """{(n, c, i, j): [(value, place h·W + w) of the pixels inside the image]}, and the shape of the result."""
    (k0, k1), (s0, s1) = pair(kernel), pair(kernel if stride is None else stride)
    (p0, p1), (d0, d1), (N, C, H, W) = pair(padding), pair(dilation), x.shape
    shape = (N, C, pooled_size(H, k0, s0, p0, d0, ceil_mode), pooled_size(W, k1, s1, p1, d1, ceil_mode))
    found = {}
    for n, c, i, j in np.ndindex(shape):
        places = [(s0 * i - p0 + d0 * a, s1 * j - p1 + d1 * b) for a, b in itertools.product(range(k0), range(k1))]
        found[n, c, i, j] = [(float(x[n, c, h, w]), h * W + w) for h, w in places if 0 <= h < H and 0 <= w < W]
    return found, shape


def max_pool2d(x, kernel_size, return_indices=False, **options):
    found, shape = windows(x, kernel_size, **options)
    best = [max(pixels, key=lambda pixel: (pixel[0], -pixel[1])) for pixels in found.values()]
    values, places = (np.array(list(column)).reshape(shape) for column in zip(*best))
    return (values, places) if return_indices else values


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    found, shape = windows(x, kernel_size, stride, padding, 1, ceil_mode)
    (k0, k1), (s0, s1), (p0, p1) = pair(kernel_size), pair(stride or kernel_size), pair(padding)
    out = np.empty(shape)
    for (n, c, i, j), pixels in found.items():
        # Padding counts, but not what lies beyond the padding, where a window of ceil mode hangs over.
        rows = sum(i * s0 - p0 + a < x.shape[2] + p0 for a in range(k0))
        cols = sum(j * s1 - p1 + b < x.shape[3] + p1 for b in range(k1))
        count = divisor_override or (rows * cols if count_include_pad else len(pixels))
        out[n, c, i, j] = math.fsum(v for v, _ in pixels) / count
    return out


def max_unpool2d(x, indices, kernel_size, stride=None, padding=0, output_size=None):
    (k0, k1), (s0, s1), (p0, p1) = pair(kernel_size), pair(stride or kernel_size), pair(padding)
    H, W = output_size or ((x.shape[2] - 1) * s0 - 2 * p0 + k0, (x.shape[3] - 1) * s1 - 2 * p1 + k1)
    out = np.zeros((*x.shape[:2], H, W))
    for n, c, i, j in np.ndindex(x.shape):
        out[(n, c, *divmod(int(indices[n, c, i, j]), W))] = x[n, c, i, j]
    return out


def interpolate(x, size=None, scale_factor=None, mode="nearest", align_corners=False):
    (N, C, H, W) = x.shape
    f0, f1 = pair(scale_factor) if size is None else (None, None)
    OH, OW = pair(size) if size is not None else (math.floor(H * f0), math.floor(W * f1))
    ratio = (1 / f0, 1 / f1) if size is None else (H / OH, W / OW)

    def weights(o, n, out, scale):
        """{input index: its share} of output index o, on one axis."""
        if mode == "nearest":
            return {min(int(o * scale), n - 1): 1.0}
        if align_corners:
            at = o * (n - 1) / (out - 1) if out > 1 else 0.0
        else:
            at = max(0.0, (o + 0.5) * scale - 0.5)
        lo = min(int(at), n - 1)
        hi = min(lo + 1, n - 1)
        return {lo: 1.0} if hi == lo else {lo: 1 - (at - lo), hi: at - lo}

    out = np.zeros((N, C, OH, OW))
    for n, c, i, j in np.ndindex(out.shape):
        for h, a in weights(i, H, OH, ratio[0]).items():
            for w, b in weights(j, W, OW, ratio[1]).items():
                out[n, c, i, j] += a * b * x[n, c, h, w]
    return out


# ------------------------------------------------------------------------------------------------ shape


def pad(x, pad, mode="constant", value=0.0):
    widths = [(0, 0)] * (x.ndim - len(pad) // 2) + [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    out = np.empty([lo + n + hi for n, (lo, hi) in zip(x.shape, widths)])

    def source(i, n):
        if mode == "circular":
            return i % n
        if mode == "replicate":
            return 0 if i < 0 else n - 1 if i >= n else i
        if mode == "reflect":
            return -i if i < 0 else 2 * n - 2 - i if i >= n else i
        return i if 0 <= i < n else None

    for index in np.ndindex(out.shape):
        at = tuple(source(k - lo, n) for k, n, (lo, _) in zip(index, x.shape, widths))
        out[index] = value if None in at else x[at]
    return out


def gather(x, axis, index):
    out = np.empty(index.shape)
    for at in np.ndindex(index.shape):
        out[at] = x[(*at[:axis], index[at], *at[axis + 1 :])]
    return out


def scatter(x, axis, index, src, add=False):
    out = x.copy()
    for at in np.ndindex(index.shape):
        to = (*at[:axis], index[at], *at[axis + 1 :])
        value = src if np.ndim(src) == 0 else src[at]
        out[to] = out[to] + value if add else value
    return out


# ------------------------------------------------------------------------------------------------ normalisation


def normalised(x, key, eps=1e-5):
    """Each element minus the mean, over the root of the variance + eps, of all elements with the same key(index)."""
    sets = {}
    for index in np.ndindex(x.shape):
        sets.setdefault(key(index), []).append(float(x[index]))
    moments = {k: (math.fsum(v) / len(v), variance(v, 0)) for k, v in sets.items()}
    out = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        mean, var = moments[key(index)]
        out[index] = (x[index] - mean) / math.sqrt(var + eps)
    return out


def per_channel(x, weight=None, bias=None):
    out = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        c = index[1]
        out[index] = x[index] * (1 if weight is None else weight[c]) + (0 if bias is None else bias[c])
    return out


# ------------------------------------------------------------------------------------------------ losses


def reduced(values, reduction):
    return {"none": lambda v: v, "sum": lambda v: v.sum(), "mean": lambda v: v.sum() / v.size}[reduction](values)


def binary_cross_entropy_with_logits(x, target, weight=None, reduction="mean", pos_weight=None):
    out = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        p, t = 1 / (1 + math.exp(-x[index])), target[index]
        out[index] = -t * math.log(p) * (1 if pos_weight is None else pos_weight[index[-1]])
        out[index] -= (1 - t) * math.log(1 - p)
    return reduced(out if weight is None else out * weight, reduction)


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    N, C, *rest = x.shape
    classes = target.shape != x.shape
    out, factors = np.zeros((N, *rest)), np.zeros((N, *rest))
    for n, *at in np.ndindex(out.shape):
        place = (n, *at)
        logits = [x[(n, c, *at)] for c in range(C)]
        total = math.log(math.fsum(map(math.exp, logits)))
        if classes and target[place] == ignore_index:
            continue
        shares = [float(target[place] == c) if classes else target[(n, c, *at)] for c in range(C)]
        factors[place] = 1 if weight is None or not classes else weight[target[place]]
        for c in range(C):
            share = shares[c] * (1 - label_smoothing) + label_smoothing / C
            out[place] -= share * (1 if weight is None else weight[c]) * (logits[c] - total)
    return out.sum() / factors.sum() if reduction == "mean" else reduced(out, reduction)


def gaussian_kl(mu, logvar):
    """∫ q ln(q/p) for each coordinate by the midpoint rule, summed."""
    out = np.zeros(len(mu))
    for n, *at in np.ndindex(mu.shape):
        m, s = float(mu[(n, *at)]), math.exp(0.5 * float(logvar[(n, *at)]))
        z = np.linspace(-12, 12, 4001)
        q = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
        log_ratio = -0.5 * z * z - math.log(s) + 0.5 * (m + s * z) ** 2
        out[n] += float((q * log_ratio).sum() * (z[1] - z[0]))
    return out
