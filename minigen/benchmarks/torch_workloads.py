"""The workloads in PyTorch, as its documentation would write them. Parameters have the names of workloads.py."""

import contextlib
import itertools

import torch
import torch.nn.functional as F
from torch import nn


class Players(nn.ModuleDict):
    """A generator and a discriminator, and how they are trained."""

    def __init__(self, G, D, lr=2e-4, betas=(0.9, 0.999), critic_steps=None):
        super().__init__({"G": G, "D": D})
        self.lr, self.betas, self.critic_steps = lr, betas, critic_steps  # of a WGAN-GP; None: a plain GAN


def dcgan(thin=1):
    """DCGAN for 28×28."""
    a, b, c = 64 // thin, 128 // thin, 256 // thin
    G = nn.Sequential(
        *(nn.Linear(100, 49 * c, bias=False), nn.BatchNorm1d(49 * c), nn.LeakyReLU(0.2), nn.Unflatten(1, (c, 7, 7))),
        *(nn.ConvTranspose2d(c, b, 5, 1, 2, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)),
        *(nn.ConvTranspose2d(b, a, 5, 2, 2, 1, bias=False), nn.BatchNorm2d(a), nn.LeakyReLU(0.2)),
        *(nn.ConvTranspose2d(a, 1, 5, 2, 2, 1, bias=False), nn.Tanh()),
    )
    D = nn.Sequential(
        *(nn.Conv2d(1, a, 5, 2, 2), nn.LeakyReLU(0.2), nn.Dropout(0.3)),
        *(nn.Conv2d(a, b, 5, 2, 2), nn.LeakyReLU(0.2), nn.Dropout(0.3)),
        *(nn.Flatten(), nn.Linear(49 * b, 1)),
    )
    return Players(G, D)


def dcgan64(thin=1):
    """DCGAN for 64×64 colour images, as in the paper."""
    f, act = 64 // thin, nn.LeakyReLU(0.2)
    up = lambda c_in, c_out: nn.ConvTranspose2d(c_in, c_out, 4, 2, 1, bias=False)
    down = lambda c_in, c_out: nn.Conv2d(c_in, c_out, 4, 2, 1, bias=False)
    norm = nn.BatchNorm2d
    first = nn.ConvTranspose2d(100, 8 * f, 4, bias=False)
    G = nn.Sequential(
        *(nn.Unflatten(1, (100, 1, 1)), first, norm(8 * f), nn.ReLU(), up(8 * f, 4 * f), norm(4 * f), nn.ReLU()),
        *(up(4 * f, 2 * f), norm(2 * f), nn.ReLU(), up(2 * f, f), norm(f), nn.ReLU(), up(f, 3), nn.Tanh()),
    )
    D = nn.Sequential(
        *(down(3, f), act, down(f, 2 * f), norm(2 * f), act, down(2 * f, 4 * f), norm(4 * f), act),
        *(down(4 * f, 8 * f), norm(8 * f), act, nn.Conv2d(8 * f, 1, 4, bias=False), nn.Flatten()),
    )
    for p in [p for p in (*G.parameters(), *D.parameters()) if p.ndim == 4]:
        nn.init.normal_(p, std=0.02)
    return Players(G, D, betas=(0.5, 0.999))


def wgangp(thin=1):
    """WGAN-GP for 28×28, with the nets that the library chooses."""
    a, b, c, act = 32 // thin, 64 // thin, 128 // thin, nn.LeakyReLU(0.2)
    up = lambda c_in, c_out, extra, bias: nn.ConvTranspose2d(c_in, c_out, 4, 2, 1, extra, bias=bias)
    G = nn.Sequential(
        *(nn.Linear(100, 9 * c, bias=False), nn.Unflatten(1, (c, 3, 3)), nn.BatchNorm2d(c), act, up(c, b, 1, False)),
        *(nn.BatchNorm2d(b), act, up(b, a, 0, False), nn.BatchNorm2d(a), act, up(a, 1, 0, True), nn.Tanh()),
    )
    D = nn.Sequential(
        *(nn.Conv2d(1, a, 4, 2, 1), act, nn.Conv2d(a, b, 4, 2, 1), act, nn.Conv2d(b, c, 4, 2, 1), act),
        *(nn.Flatten(), nn.Linear(9 * c, 1)),
    )
    return Players(G, D, lr=1e-4, betas=(0.0, 0.9), critic_steps=5)


def dense_gan(thin=1):
    """GAN 64-128-784 against 784-128-1, on vectors; the Identity stands where minigen flattens images."""
    h = 128 // thin
    G = nn.Sequential(nn.Linear(64, h), nn.LeakyReLU(0.2), nn.Linear(h, 784), nn.Tanh())
    D = nn.Sequential(nn.Identity(), nn.Linear(784, h), nn.LeakyReLU(0.2), nn.Linear(h, 1))
    return Players(G, D)


class VAE(nn.Module):
    """logits: whether the sigmoid is left to the loss, as autocast asks for."""

    logits = False

    def __init__(self, features, latent, encoder, decoder):
        super().__init__()
        self.encoder = encoder
        self.to_mu, self.to_logvar = nn.Linear(features, latent), nn.Linear(features, latent)
        self.decoder = decoder

    def forward(self, x, noise):
        """−ELBO in nats per image."""
        h = self.encoder(x)
        mu, logvar = self.to_mu(h), self.to_logvar(h)
        z = mu + torch.exp(0.5 * logvar) * noise
        kl = -0.5 * torch.sum(1 + logvar - mu * mu - logvar.exp())
        if self.logits:
            error = F.binary_cross_entropy_with_logits(self.decoder[:-1](z), x, reduction="sum")
        else:
            error = F.binary_cross_entropy(self.decoder(z), x, reduction="sum")
        return (error + kl) / len(x)


def conv_vae(thin=1):
    """VAE of 64×64 colour images."""
    a, b, c = 32 // thin, 64 // thin, 128 // thin
    encoder = nn.Sequential(
        *(nn.Conv2d(3, a, 4, 2, 1), nn.ReLU(), nn.Conv2d(a, b, 4, 2, 1), nn.ReLU()),
        *(nn.Conv2d(b, c, 4, 2, 1), nn.ReLU(), nn.Flatten()),
    )
    decoder = nn.Sequential(
        *(nn.Linear(128, 64 * c), nn.ReLU(), nn.Unflatten(1, (c, 8, 8)), nn.ConvTranspose2d(c, b, 4, 2, 1)),
        *(nn.ReLU(), nn.ConvTranspose2d(b, a, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(a, 3, 4, 2, 1), nn.Sigmoid()),
    )
    return VAE(64 * c, 128, encoder, decoder)


def dense_vae(thin=1):
    """VAE 784-400-20-400-784, on vectors."""
    h = 400 // thin
    encoder = nn.Sequential(nn.Identity(), nn.Linear(784, h), nn.ReLU())
    decoder = nn.Sequential(nn.Linear(20, h), nn.ReLU(), nn.Linear(h, 784), nn.Sigmoid())
    return VAE(h, 20, encoder, decoder)


SHAPES = {"dcgan": (1, 28, 28), "vae64": (3, 64, 64), "mlpvae": (784,), "mlpgan": (784,)}
SHAPES |= {"dcgan64": (3, 64, 64), "wgangp": (1, 28, 28)}
NOISE = {"dcgan": 100, "vae64": 128, "mlpvae": 20, "mlpgan": 64, "dcgan64": 100, "wgangp": 100}  # numbers in z
WORKLOADS = {"dcgan": dcgan, "vae64": conv_vae, "mlpvae": dense_vae, "mlpgan": dense_gan}
WORKLOADS |= {"dcgan64": dcgan64, "wgangp": wgangp}


def cycle_of(
    model, x, latent, normal=torch.randn, uniform=torch.rand, adam=torch.optim.Adam, rounding=contextlib.nullcontext
):
    """The training steps on x that are repeated, as functions that return their losses: one, or those of a WGAN-GP.

    normal, uniform: what draws numbers of a shape.  rounding: the context of the forward pass, such as autocast.
    """
    noise = lambda: normal((len(x), latent))

    def update(optimizer, loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    def vae_step():
        with rounding():
            loss = model(x, noise())
        return (update(optimizer, loss),)

    def gan_step():
        with rounding():
            fake = G(noise())
            loss = bce(D(x), ones) + bce(D(fake.detach()), zeros)
        d_loss = update(d_optimizer, loss)
        with rounding():
            loss = bce(D(fake), ones)
        return d_loss, update(g_optimizer, loss)

    def critic_step(fake=None):
        with rounding():
            if fake is None:
                with torch.no_grad():
                    fake = G(noise())
            fake = fake.detach()
            t = uniform((len(x), 1, 1, 1))
            wasserstein = D(fake).mean() - D(x).mean()
            between = (x + t * (fake - x)).requires_grad_()
            (slope,) = torch.autograd.grad(D(between).sum(), between, create_graph=True)
            norm = (slope.float().square().sum(dim=(1, 2, 3)) + 1e-12).sqrt()
            loss = wasserstein + 10 * ((norm - 1) ** 2).mean()
        return (update(d_optimizer, loss),)

    def both_step():
        with rounding():
            fake = G(noise())
        losses = critic_step(fake)
        with rounding():
            loss = -D(fake).mean()
        return *losses, update(g_optimizer, loss)

    if isinstance(model, VAE):
        optimizer = adam(model.parameters(), 1e-3)
        return [vae_step]
    G, D = model["G"], model["D"]
    g_optimizer, d_optimizer = (adam(net.parameters(), model.lr, model.betas) for net in (G, D))
    if model.critic_steps:
        return [critic_step] * (model.critic_steps - 1) + [both_step]
    bce, ones = nn.BCEWithLogitsLoss(), torch.ones(len(x), 1, device=x.device)
    zeros = torch.zeros_like(ones)
    return [gan_step]


def step_in_layout(workload, batch, channels_last, threads):
    """A step of `workload` on random images, in either memory layout, on so many threads."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model, x = WORKLOADS[workload](), torch.rand(batch, *SHAPES[workload])
    if x.ndim == 4:
        model, x = model.to(memory_format=layout), x.to(memory_format=layout)
    steps = itertools.cycle(cycle_of(model, x, NOISE[workload]))
    return lambda: [loss.item() for loss in next(steps)()]


def settings():
    """What a timing of PyTorch depends on."""
    return {
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }
