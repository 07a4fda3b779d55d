"""The few things that are global while a program runs."""


class State:
    """`watcher`, where there is one, is told of every op and every VJP, and may raise:

    forward(op, out, (arrays, options, node))   after an op applied to Tensors; node None where it is not recorded
    before_vjps((node, g, useful))              before the VJPs of a Node; only those of parents in `useful` will run
    after_vjp(node, i, contribution)            after the VJP for input i
    """

    recording = True  # False inside no_grad()
    watcher = None  # the checks of debug(), where they are on
    modules = []  # the nn.Modules that are being called now, outermost first: for messages


state = State()
