"""A progress bar for `fit`: images, images a second, and the named losses."""

from .loop import Observer


class Progress(Observer):
    """tqdm, which is imported when training begins."""

    def begin(self, training, total):
        from tqdm import tqdm

        self.batch = training.loader.batch_size
        self.bar = tqdm(
            total=total * self.batch,
            initial=training.steps * self.batch,
            unit="img",
            unit_scale=True,
            dynamic_ncols=True,
        )

    def log(self, training, row):
        self.bar.n = training.steps * self.batch
        losses = {k: f"{v:.3g}" for k, v in row.items() if "/" in k and k != "images/s"}
        self.bar.set_postfix(losses, refresh=True)

    def end(self, training, interrupted):
        self.bar.close()
