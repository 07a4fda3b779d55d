"""The four workloads in PyTorch, as its documentation would write them. Parameters have the names of workloads.py."""

import torch
import torch.nn.functional as F
from torch import nn


def dcgan():
    """DCGAN for 28×28."""
    G = nn.Sequential(
        *(nn.Linear(100, 12544, bias=False), nn.BatchNorm1d(12544), nn.LeakyReLU(0.2), nn.Unflatten(1, (256, 7, 7))),
        *(nn.ConvTranspose2d(256, 128, 5, 1, 2, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2)),
        *(nn.ConvTranspose2d(128, 64, 5, 2, 2, 1, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.2)),
        *(nn.ConvTranspose2d(64, 1, 5, 2, 2, 1, bias=False), nn.Tanh()),
    )
    D = nn.Sequential(
        *(nn.Conv2d(1, 64, 5, 2, 2), nn.LeakyReLU(0.2), nn.Dropout(0.3)),
        *(nn.Conv2d(64, 128, 5, 2, 2), nn.LeakyReLU(0.2), nn.Dropout(0.3)),
        *(nn.Flatten(), nn.Linear(6272, 1)),
    )
    return nn.ModuleDict({"G": G, "D": D})


def dense_gan():
    """GAN 64-128-784 against 784-128-1, on vectors; the Identity stands where minigen flattens images."""
    G = nn.Sequential(nn.Linear(64, 128), nn.LeakyReLU(0.2), nn.Linear(128, 784), nn.Tanh())
    D = nn.Sequential(nn.Identity(), nn.Linear(784, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1))
    return nn.ModuleDict({"G": G, "D": D})


class VAE(nn.Module):
    def __init__(self, features, latent, encoder, decoder):
        super().__init__()
        self.encoder = encoder
        self.to_mu, self.to_logvar = nn.Linear(features, latent), nn.Linear(features, latent)
        self.decoder = decoder

    def forward(self, x, noise):
        """−ELBO in nats per image."""
        h = self.encoder(x)
        mu, logvar = self.to_mu(h), self.to_logvar(h)
        y = self.decoder(mu + torch.exp(0.5 * logvar) * noise)
        kl = -0.5 * torch.sum(1 + logvar - mu * mu - logvar.exp())
        return (F.binary_cross_entropy(y, x, reduction="sum") + kl) / len(x)


def conv_vae():
    """VAE of 64×64 colour images."""
    encoder = nn.Sequential(
        *(nn.Conv2d(3, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU()),
        *(nn.Conv2d(64, 128, 4, 2, 1), nn.ReLU(), nn.Flatten()),
    )
    decoder = nn.Sequential(
        *(nn.Linear(128, 8192), nn.ReLU(), nn.Unflatten(1, (128, 8, 8)), nn.ConvTranspose2d(128, 64, 4, 2, 1)),
        *(nn.ReLU(), nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Sigmoid()),
    )
    return VAE(8192, 128, encoder, decoder)


def dense_vae():
    """VAE 784-400-20-400-784, on vectors."""
    encoder = nn.Sequential(nn.Identity(), nn.Linear(784, 400), nn.ReLU())
    decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid())
    return VAE(400, 20, encoder, decoder)


SHAPES = {"dcgan": (1, 28, 28), "vae64": (3, 64, 64), "mlpvae": (784,), "mlpgan": (784,)}
NOISE = {"dcgan": 100, "vae64": 128, "mlpvae": 20, "mlpgan": 64}  # numbers in z
WORKLOADS = {"dcgan": dcgan, "vae64": conv_vae, "mlpvae": dense_vae, "mlpgan": dense_gan}


def step_of(model, x, latent):
    """A function that makes one training step on x and returns its losses; `noise` stands in for what it draws."""

    def adam(module, lr):
        return torch.optim.Adam(module.parameters(), lr)

    def vae_step(noise=None):
        loss = model(x, torch.randn(len(x), latent) if noise is None else noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return (loss.item(),)

    def gan_step(noise=None):
        G, D = model["G"], model["D"]
        fake = G(torch.randn(len(x), latent) if noise is None else noise)
        d_loss = bce(D(x), ones) + bce(D(fake.detach()), zeros)
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()
        g_loss = bce(D(fake), ones)
        g_optimizer.zero_grad()
        g_loss.backward()
        g_optimizer.step()
        return d_loss.item(), g_loss.item()

    if isinstance(model, VAE):
        optimizer = adam(model, 1e-3)
        return vae_step
    g_optimizer, d_optimizer, bce = adam(model["G"], 2e-4), adam(model["D"], 2e-4), nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(len(x), 1), torch.zeros(len(x), 1)
    return gan_step


def step_in_layout(workload, batch, channels_last, threads):
    """A step of `workload` on random images, in either memory layout, on so many threads."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model, x = WORKLOADS[workload](), torch.rand(batch, *SHAPES[workload])
    if x.ndim == 4:
        model, x = model.to(memory_format=layout), x.to(memory_format=layout)
    return step_of(model, x, NOISE[workload])


def settings():
    """What a timing of PyTorch depends on."""
    return {
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }
