"""Where kernels find the numbers that change from step to step: a captured step reads them from memory."""

import numpy as np

from ..backend import namespace
from ..backend.kernels import kernels


def held(numbers, like, array):
    """Numbers of the host as kernels take them: themselves on the CPU, on the GPU in an array that is kept for them.

    array: the one that an earlier call made, or None.
    """
    xp = namespace(like)
    if xp is np:
        return numbers
    array = xp.empty(len(numbers), like.dtype) if array is None else array
    kernels(array).store(array, numbers)
    return array


class Together:
    """Optimisers and averages whose numbers lie side by side on the GPU, so that one launch stores those of a step.

    members: what has `advance`, `prepare`, `count`, `like` and `held`, as Optimizer and EMA do; their `held` are parts
    of one array from now on. Used alone they write their part of it; those of another dtype than the first keep their
    own array.
    """

    def __init__(self, members):
        like, self.places, self.values, self.array = members[0].like, {}, [], None
        if namespace(like) is np:
            return
        for member in members:
            if member.like.dtype == like.dtype:
                start = len(self.values)
                self.values += [0.0] * member.count
                self.places[member] = slice(start, len(self.values))
        self.array = namespace(like).empty(len(self.values), like.dtype)
        for member, place in self.places.items():
            member.held = self.array[place]

    def prepare(self, members):
        """What `prepare` of each of these does."""
        for member in members:
            if member in self.places:
                self.values[self.places[member]] = member.advance()
            else:
                member.prepare()
        if self.array is not None:
            kernels(self.array).store(self.array, self.values)
