"""Flat storage: the parameters of an optimiser in one vector, so that an update is a few passes, not some a layer."""

from ..autograd import Tensor
from ..backend import namespace
from ..backend.kernels import kernels

SMALL = 1 << 19  # parameters below this many elements are updated together, from gathered gradients


def memory_order(x):
    """`x` as a vector in the order of its memory: (O, kh, kw, C) for 4-D, else row-major. A view if it can be."""
    return (x.transpose(0, 2, 3, 1) if x.ndim == 4 else x).reshape(-1)


def in_shape(vector, shape):
    """The inverse of `memory_order`: a view of `vector` of this logical shape."""
    if len(shape) != 4:
        return vector.reshape(shape)
    o, c, h, w = shape
    return vector.reshape(o, h, w, c).transpose(0, 3, 1, 2)


class Flat:
    """Moves `parameters` into one vector; their `.data` become views of it.

    values: the vector.  segments: [(slice of the vector, [indices of the parameters in it])]: large parameters alone,
    small neighbours together, so that the gradients of large ones need not be copied.
    Raises ValueError for no parameters, one given twice, or several dtypes or devices.
    """

    def __init__(self, parameters):
        self.parameters = list(parameters)
        if not self.parameters:
            raise ValueError("optimiser: expected parameters; got none. Pass model.parameters().")
        if len({id(p) for p in self.parameters}) < len(self.parameters):
            raise ValueError("optimiser: a parameter is given twice.")
        kinds = {(namespace(p.data).__name__, p.dtype.name) for p in self.parameters}
        if len(kinds) > 1:
            raise ValueError(f"optimiser: expected parameters of one device and dtype; got {sorted(kinds)}.")
        xp, dtype = namespace(self.parameters[0].data), self.parameters[0].dtype
        self.values = xp.empty(sum(p.size for p in self.parameters), dtype)
        self.gathered = xp.empty_like(self.values)  # room for gradients; of small parameters only, it is written
        self.places, self.segments, start = [None] * len(self.parameters), [], 0
        # Those of odd sizes last: the others then begin at multiples of 4, from which a GPU reads 4 numbers at once.
        for i in sorted(range(len(self.parameters)), key=lambda i: self.parameters[i].size % 4 != 0):
            p = self.parameters[i]
            place = self.places[i] = slice(start, start + p.size)
            view = in_shape(self.values[place], p.shape)
            view[...] = p.data
            p.data = view
            if self.segments and p.size < SMALL and self._last_is_small():
                before, members = self.segments[-1]
                self.segments[-1] = slice(before.start, place.stop), [*members, i]
            else:
                self.segments.append((place, [i]))
            start = place.stop
        self.views = [p.data for p in self.parameters]

    def _last_is_small(self):
        return all(self.parameters[i].size < SMALL for i in self.segments[-1][1])

    def like(self):
        """A vector of zeros, one for each value: room for an optimiser's state."""
        return namespace(self.values).zeros_like(self.values)

    def runs(self, parameters):
        """[Run]: those of `parameters` that lie here, with neighbours in both orders taken together."""
        begins = {id(p): place.start for p, place in zip(self.parameters, self.places)}
        found = []
        for i, p in enumerate(parameters):
            if id(p) in begins:
                place = slice(begins[id(p)], begins[id(p)] + p.size)
                if found and found[-1].place.stop == place.start and i - 1 in found[-1].parts:
                    found[-1].take_in(i, place)
                else:
                    found.append(Run(i, place))
        for run in found:
            run.values = self.values[run.place]
        return found

    def with_gradients(self, gradients):
        """Yield (slice, gradient vector) for everything that has a gradient."""
        for p, view in zip(self.parameters, self.views):
            if p.data is not view:
                raise RuntimeError(
                    f"optimiser: {getattr(p, 'name', None) or 'a parameter'} was moved away after the optimiser "
                    f"was made. One parameter belongs to one optimiser: make them anew, or update p.data in place."
                )
        for place, members in self.segments:
            given = [gradients[i] for i in members]
            if len(members) == 1 or any(g is None for g in given):
                for i, g in zip(members, given):
                    if g is not None:
                        yield self.places[i], memory_order(g)
            else:
                room = self.gathered[place]  # kept from step to step: it stays in the cache
                kernels(room).gather([memory_order(g) for g in given], room)
                yield place, room


class Run:
    """Neighbours in a flat vector.  place: where they lie.  parts: {index of a parameter: its slice within `place`}."""

    def __init__(self, i, place):
        self.place, self.parts = place, {i: slice(0, place.stop - place.start)}

    def take_in(self, i, place):
        """The parameter i follows."""
        self.parts[i] = slice(place.start - self.place.start, place.stop - self.place.start)
        self.place = slice(self.place.start, place.stop)


def arrays_of(gradients, parameters):
    """Gradients given as Tensors or arrays, or None for the `.grad` that backward() left; checked against shapes."""
    gradients = [p.grad for p in parameters] if gradients is None else list(gradients)
    if len(gradients) != len(parameters):
        raise ValueError(f"optimiser: expected {len(parameters)} gradients, one a parameter; got {len(gradients)}.")
    arrays = [g.data if isinstance(g, Tensor) else g for g in gradients]
    for p, g in zip(parameters, arrays):
        if g is not None and g.shape != p.shape:
            raise ValueError(f"optimiser: expected a gradient of shape {p.shape}; got {g.shape}.")
    return arrays
