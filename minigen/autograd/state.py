"""The few things that are global while a program runs."""


class State:
    recording = True  # False inside no_grad()
    watcher = None  # the checks of debug(), where they are on
    modules = []  # the nn.Modules that are being called now, outermost first: for messages


state = State()
