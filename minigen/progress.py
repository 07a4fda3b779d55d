"""What the command shows while `fit` runs: a bar with images, images a second, and the named losses; and notes."""

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


class Notes(Observer):
    """Prints, once, why the steps are not replayed as CUDA graphs, where they are not."""

    told = None

    def log(self, training, row):
        if training.graph_note not in (None, self.told):
            from tqdm import tqdm

            self.told = training.graph_note
            tqdm.write(self.told)  # print would tear the bar
