"""Wasserstein GAN with gradient penalty: the loss contains a gradient, so its gradient is of second order.

    min_G max_{‖D‖_L ≤ 1}  E D(x) − E D(G(z))                          Gulrajani et al. 2017, Algorithm 1
    penalty = λ·E (‖∇_x̂ D(x̂)‖₂ − 1)²,   x̂ = x + ε(x̃ − x),  ε ~ U(0, 1) for each image

The maximum is the Wasserstein-1 distance between the data and G's images, if D has slope 1 between them.
As in the paper D is updated `critic_steps` times for each update of G: here, a step updates D, and each
`critic_steps`-th one G too. Differs from it: G's batch norm stays, and D has none unless asked for.
"""

from ..autograd import detach, grad, tensor
from ..ops import sqrt
from .base import Objective
from .gan import Adversarial


class WGANGP(Adversarial):
    """min_G max_{‖D‖_L ≤ 1}  E D(x) − E D(G(z)), the slope of D held to 1 by a penalty.       Gulrajani et al. 2017

    penalty: λ (the paper: 10)
    critic_steps: updates of D for each of G (the paper: 5)
    critic_norm: "none", "layer" (the paper's advice) or "batch" (D then judges batches, not images: to experiment)
    """

    lr, betas = 1e-4, (0.0, 0.9)  # the paper's

    def __init__(
        self,
        shape,
        *,
        net="conv",
        latent=100,
        categories=0,
        width=32,
        hidden=256,
        penalty=10.0,
        critic_steps=5,
        critic_norm="none",
        rng=None,
    ):
        if critic_norm not in ("none", "layer", "batch"):
            raise ValueError(f'WGANGP: expected critic_norm "none", "layer" or "batch"; got {critic_norm!r}.')
        if critic_steps < 1:
            raise ValueError(f"WGANGP: expected critic_steps of at least 1; got {critic_steps}.")
        self.penalty, self.critic_steps, self.critic_norm = penalty, critic_steps, critic_norm
        super().__init__(shape, net=net, latent=latent, categories=categories, width=width, hidden=hidden, rng=rng)

    def d_options(self, net):
        return {"norm": self.critic_norm} if net == "conv" and self.critic_norm != "none" else {}

    def objectives(self):
        d, g = super().objectives()
        return [d, Objective("G", self.g_loss, g.parameters, every=self.critic_steps)]

    def d_loss(self, x, fake):
        fake = detach(fake)
        return {
            "wasserstein": self.D(fake).mean() - self.D(x).mean(),
            "penalty": self.penalty * self.slope_penalty(x, fake),
        }

    def g_loss(self, x, fake):
        return {"score": -self.D(fake).mean()}

    def slope_penalty(self, x, fake):
        """E (‖∇D(x̂)‖ − 1)² at one random point x̂ on the line between each pair of images."""
        t = self.rng.uniform((len(x), 1, 1, 1))
        between = tensor(x + t * (fake - x), requires_grad=True)
        slope = grad(self.D(between).sum(), between, create_graph=True)
        norm = sqrt((slope * slope).sum(axis=(1, 2, 3)) + 1e-12)
        return ((norm - 1.0) ** 2).mean()
