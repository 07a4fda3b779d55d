"""Gradient descent and its descendants. Formulas are PyTorch's; the arithmetic: backend/optim_kernels."""

from ..backend import asarray, to_numpy
from ..backend.kernels import kernels
from ..backend.optim_kernels import adam_numbers, sgd_numbers
from .flat import Flat, arrays_of
from .numbers import held


class Optimizer:
    """Changes parameters in place, a step at a time.

        optimizer.step(grad(loss, params))          gradients in the order of the parameters, or
        loss.backward(); optimizer.step()           those that backward() left in .grad; then optimizer.zero_grad()

    lr: a number, or a schedule: a function from the number of steps taken to the learning rate (`optim.schedules`).
    A parameter without gradient (None) stays as it is.

    A step has two parts: `prepare` on the host, and `apply`, which does the same on the device every time and so can be
    captured as a graph. A subclass says which `numbers` change from step to step, and how to `update`.
    """

    state_names = ()  # the vectors of state: attributes of that name

    def __init__(self, parameters, lr):
        if not callable(lr) and not lr >= 0:
            raise ValueError(f"{type(self).__name__}: expected a learning rate ≥ 0; got {lr}.")
        self.flat = Flat(parameters)
        self.parameters, self.schedule, self.steps = self.flat.parameters, lr, 0
        self.held = None  # the numbers of the present step, as the kernels take them
        for name in self.state_names:
            setattr(self, name, self.flat.like())

    @property
    def lr(self):
        """The learning rate of the next step."""
        return self.schedule(self.steps) if callable(self.schedule) else self.schedule

    def step(self, gradients=None):
        """One update, from these gradients (in the order of the parameters) or from `.grad`."""
        gradients = arrays_of(gradients, self.parameters)
        self.prepare()
        self._apply(gradients)

    def prepare(self):
        """The first part of a step: count it, and compute the learning rate and what follows from it."""
        self.held = held(self.advance(), self.like, self.held)

    def advance(self):
        """Count a step; its `numbers`."""
        lr = self.lr
        self.steps += 1
        return self.numbers(lr, self.steps)

    def apply(self, gradients=None):
        """The second part: the update."""
        self._apply(arrays_of(gradients, self.parameters))

    def _apply(self, gradients):
        for place, g in self.flat.with_gradients(gradients):
            self.update(self.flat.values[place], g, self.held, *[getattr(self, n)[place] for n in self.state_names])

    def numbers(self, lr, step):
        """What changes from step to step: floats, as many for each step; steps are counted from 1."""
        return (lr,)

    @property
    def count(self):
        """How many numbers there are."""
        return len(self.numbers(0.0, 1))

    @property
    def like(self):
        """An array of the device and dtype of the parameters."""
        return self.flat.values

    def update(self, p, g, numbers, *state):
        """Change the vector p, and the state that belongs to it, in place."""
        raise NotImplementedError

    def zero_grad(self):
        """Forget the gradients that backward() added up."""
        for p in self.parameters:
            p.grad = None

    def state_dict(self):
        """{"steps": int, <name of state>: NumPy vector}: enough to go on exactly."""
        return {"steps": self.steps, **{n: to_numpy(getattr(self, n)).copy() for n in self.state_names}}

    def load_state_dict(self, state):
        """Go on from a `state_dict()` of an optimiser of the same kind over the same parameters."""
        for name in self.state_names:
            if name not in state or state[name].shape != self.flat.values.shape:
                got = state[name].shape if name in state else "nothing"
                raise ValueError(
                    f"{type(self).__name__}.load_state_dict: expected {name!r} of shape {self.flat.values.shape}; "
                    f"got {got}. Is it the same optimiser over the same model?"
                )
        self.steps = int(state["steps"])
        for name in self.state_names:
            getattr(self, name)[...] = asarray(state[name])


class SGD(Optimizer):
    """p ← p − lr·g; with momentum μ: b ← μb + (1 − dampening)·g, p ← p − lr·b; nesterov: p ← p − lr·(g + μb)."""

    def __init__(self, parameters, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
        if nesterov and (momentum <= 0 or dampening):
            raise ValueError("SGD: nesterov needs momentum > 0 and dampening 0.")
        self.momentum, self.dampening, self.weight_decay, self.nesterov = momentum, dampening, weight_decay, nesterov
        self.state_names = ("velocity",) if momentum else ()
        super().__init__(parameters, lr)

    def numbers(self, lr, step):
        return sgd_numbers(step, lr, self.momentum, self.dampening)

    def update(self, p, g, numbers, velocity=None):
        kernels(p).sgd(p, g, velocity, numbers, self.momentum, self.nesterov, self.weight_decay)


class Momentum(SGD):
    """SGD with momentum 0.9: the velocity is the sum of about the last 1/(1 − μ) = 10 gradients.       Polyak 1964"""

    def __init__(self, parameters, lr=1e-3, momentum=0.9, nesterov=False, weight_decay=0.0):
        super().__init__(parameters, lr, momentum, 0.0, weight_decay, nesterov)


class RMSprop(Optimizer):
    """s ← αs + (1 − α)g², p ← p − lr·g/(√s + ε).       Tieleman & Hinton 2012"""

    def __init__(self, parameters, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0):
        self.alpha, self.eps, self.weight_decay, self.momentum = alpha, eps, weight_decay, momentum
        self.state_names = ("square", "velocity") if momentum else ("square",)
        super().__init__(parameters, lr)

    def update(self, p, g, numbers, square, velocity=None):
        kernels(p).rmsprop(p, g, square, velocity, numbers, self.alpha, self.eps, self.momentum, self.weight_decay)


class Adam(Optimizer):
    """m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², p ← p − lr·m̂/(√v̂ + ε).       Kingma & Ba 2015, Algorithm 1

    m̂ = m/(1 − β₁ᵗ) and v̂ = v/(1 − β₂ᵗ) make up for the start at 0. weight_decay is added to g.
    The attributes m and v hold m/(1 − β₁) and v/(1 − β₂), see backend/optim_kernels.
    """

    state_names = ("m", "v")
    decoupled = False

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        if not all(0 <= b < 1 for b in betas):
            raise ValueError(f"{type(self).__name__}: expected betas in [0, 1); got {betas}.")
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        super().__init__(parameters, lr)

    def numbers(self, lr, step):
        return adam_numbers(step, lr, *self.betas, self.eps, self.weight_decay)

    def update(self, p, g, numbers, m, v):
        kernels(p).adam(p, g, m, v, numbers, *self.betas, self.weight_decay, self.decoupled)


class AdamW(Adam):
    """Adam with weight decay taken off the weights, not added to g: p ← p − lr·λp.       Loshchilov & Hutter 2019"""

    decoupled = True

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(parameters, lr, betas, eps, weight_decay)
