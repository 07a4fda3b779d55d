"""Generative adversarial networks.

Symbols: x images, z ~ N(0, I) noise, G generator, D discriminator (its output a logit), x̃ = G(z).
"""

from ..autograd import detach, no_grad
from ..backend import Generator
from ..nn.init import normal
from ..ops import softplus, tanh
from .base import Model, Objective
from .nets import decoder, encoder, lrelu

DCGAN_INIT = normal(0.02)  # Radford et al. 2016, section 3


class Adversarial(Model):
    """Two players: D judges, G draws. A subclass says what each of them minimises.

    net: "conv" or "dense"
    latent: numbers in z
    width: channels at the image's end of the convolutional nets; they double inwards
    hidden: units of the dense nets
    """

    pixel_range = (-1, 1)
    lr, betas = 2e-4, (0.5, 0.999)  # Radford et al. 2016, section 3
    average = 0.999
    critic_options = {}

    def __init__(self, shape, *, net="conv", latent=100, width=64, hidden=256, rng=None):
        super().__init__(shape, rng)
        self.latent = latent
        options = {"hidden": hidden, "width": width, "act": lrelu}
        g_options = {"norm": True, "init": DCGAN_INIT} if net == "conv" else {}
        self.G = decoder(net, latent, shape, self.rng, **options, **g_options)
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
        """z (n, latent)."""
        return (rng or self.rng).normal((n, self.latent))

    def generate(self, z):
        """x̃ = G(z), pixels in [−1, 1]."""
        return tanh(self.G(z))

    def draw(self, x):
        """x̃, drawn once a step: D sees it cut from the graph, G is then trained on the same images."""
        return (self.generate(self.noise(len(x))),)

    def d_loss(self, x, fake):
        """What D minimises."""
        raise NotImplementedError

    def g_loss(self, x, fake):
        """What G minimises."""
        raise NotImplementedError

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

    dropout: share of D's activations dropped
    d_norm: "batch" or "none": batch norm in the convolutional D, from its second layer on
    """

    def __init__(self, shape, *, net="conv", latent=100, width=64, hidden=256, dropout=0.3, d_norm="batch", rng=None):
        self.dropout, self.d_norm = dropout, d_norm
        super().__init__(shape, net=net, latent=latent, width=width, hidden=hidden, rng=rng)

    def d_options(self, net):
        options = {"dropout": self.dropout}
        if net == "conv":
            options |= {"init": DCGAN_INIT, "norm": None if self.d_norm == "none" else self.d_norm}
        return options

    def d_loss(self, x, fake):
        return {"real": softplus(-self.D(x)).mean(), "fake": softplus(self.D(detach(fake))).mean()}

    def g_loss(self, x, fake):
        return {"score": softplus(-self.D(fake)).mean()}
