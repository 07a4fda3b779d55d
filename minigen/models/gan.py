"""Generative adversarial networks.

Symbols: x images, z noise, G generator, D discriminator (its output a logit), x̃ = G(z).

z = (ε, c·e_k): normal numbers ε ~ N(0, I) and, where `categories` = K > 0, one of K unit vectors, k uniform
(Mukherjee et al. 2019, ClusterGAN, section 3). Characters of different classes lie apart; a continuous G of normal
numbers alone has to draw something between them, and does. c = 2.5 lets G use both parts: at 1.5 it ignored k; at 4.5
it came to ignore ε and drew K images over and over, which `metrics.diversity` is there to find (lessons/results.md).
"""

from ..autograd import detach, no_grad
from ..backend import Generator
from ..nn.init import normal
from ..ops import concatenate, one_hot, softplus, tanh
from .base import Model, Objective
from .nets import decoder, encoder, lrelu

DCGAN_INIT = normal(0.02)  # Radford et al. 2016, section 4
CATEGORY_LENGTH = 2.5  # c above


class Adversarial(Model):
    """Two players: D judges, G draws. A subclass says what each of them minimises.

    net: "conv" or "dense"
    latent: normal numbers in z
    categories: K of the one-of-K part of z; 0: none
    width: channels at the image's end of the convolutional nets; they double inwards
    hidden: units of the dense nets
    """

    pixel_range = (-1, 1)
    lr, betas = 2e-4, (0.5, 0.999)  # Radford et al. 2016, section 4
    average = 0.999

    def __init__(self, shape, *, net="conv", latent=100, categories=0, width=32, hidden=256, rng=None):
        super().__init__(shape, rng)
        self.latent, self.categories = latent, categories
        options = {"hidden": hidden, "width": width, "act": lrelu}
        g_options = {"norm": True, "init": DCGAN_INIT} if net == "conv" else {}
        self.G = decoder(net, latent + categories, shape, self.rng, **options, **g_options)
        self.D = encoder(net, shape, 1, self.rng, **options, **self.d_options(net))

    def d_options(self, net):
        """Further options of the net of D."""
        return {}

    def objectives(self):
        return [
            Objective("D", self.d_loss, self.D.parameters()),
            Objective("G", self.g_loss, self.G.parameters()),
        ]

    def noise(self, n, rng=None):
        """z (n, latent + categories)."""
        rng = rng or self.rng
        z = rng.normal((n, self.latent))
        if not self.categories:
            return z
        k = one_hot(rng.integers(0, self.categories, n), self.categories)
        return concatenate([z, CATEGORY_LENGTH * k], axis=1)

    def generate(self, z):
        """x̃ = G(z), pixels in [−1, 1]."""
        return tanh(self.G(z))

    def draw(self, x):
        """x̃, drawn once a step: D sees it cut from the graph, G is then trained on the same images."""
        return (self.generate(self.noise(len(x))),)

    def d_loss(self, x, fake):
        """What D minimises: {term: scalar}."""
        raise NotImplementedError(f"{type(self).__name__}: define d_loss(self, x, fake) -> {{term: scalar}}.")

    def g_loss(self, x, fake):
        """What G minimises: {term: scalar}."""
        raise NotImplementedError(f"{type(self).__name__}: define g_loss(self, x, fake) -> {{term: scalar}}.")

    def averaged_parameters(self):
        return self.G.parameters()

    @no_grad()
    def calibrate(self, batches=20, n=64):
        """Batch norm's running statistics for the present weights: the plain mean over a few batches of noise."""
        rng, norms = Generator(0), [m for _, m in self.G.named_modules() if hasattr(m, "momentum")]
        before = [m.momentum for m in norms]
        training, _ = self.G.training, self.G.train()
        for i in range(batches):
            for m in norms:
                m.momentum = 1 / (i + 1)
            self.generate(self.noise(n, rng))
        for m, momentum in zip(norms, before):
            m.momentum = momentum
        self.G.train(training)

    @no_grad()
    def sample(self, n, rng=None):
        training, _ = self.G.training, self.G.eval()
        images = self.generate(self.noise(n, rng))
        self.G.train(training)
        return images


class GAN(Adversarial):
    """min_G max_D  E ln σ(D(x)) + E ln(1 − σ(D(G(z)))).       Goodfellow et al. 2014, equation 1; nets after DCGAN

    G minimises −E ln σ(D(G(z))) instead (their section 3): the same fixed point, but its gradient does not vanish while
    D wins. −ln σ(a) = softplus(−a), −ln(1 − σ(a)) = softplus(a).

    categories: K of the one-of-K part of z; None: none, but the command takes as many as the data have classes
    dropout: share of D's activations dropped; in runs of minutes it costs more than it brings
    d_norm: "batch" or "none": batch norm in the convolutional D, from its second layer on
    """

    epochs, decay = 5, True

    def __init__(
        self,
        shape,
        *,
        net="conv",
        latent=32,
        categories=None,
        width=32,
        hidden=256,
        dropout=0.0,
        d_norm="batch",
        rng=None,
    ):
        if d_norm not in ("batch", "none"):
            raise ValueError(f'GAN: expected d_norm "batch" or "none"; got {d_norm!r}.')
        self.dropout, self.d_norm = dropout, d_norm
        categories = categories or 0
        super().__init__(shape, net=net, latent=latent, categories=categories, width=width, hidden=hidden, rng=rng)

    def d_options(self, net):
        options = {"dropout": self.dropout}
        if net == "conv":
            options |= {"init": DCGAN_INIT, "norm": None if self.d_norm == "none" else self.d_norm}
        return options

    def d_loss(self, x, fake):
        return {"real": softplus(-self.D(x)).mean(), "fake": softplus(self.D(detach(fake))).mean()}

    def g_loss(self, x, fake):
        return {"score": softplus(-self.D(fake)).mean()}
