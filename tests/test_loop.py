"""The training loop: what it reports, and when it stops."""

import os
import signal
import threading

import numpy as np
import pytest
from training_cases import images, make, training_of

from minigen import Observer, Training, fit
from minigen.logged import Losses, TrainingError
from minigen.loop import stop_on_interrupt, total_steps
from minigen.models import SingleObjective
from minigen.nn import Dense
from minigen.ops import log

DATA = images()


# ------------------------------------------------------------------------------------------------ what it reports


def test_the_history_holds_mean_losses_every_few_steps_and_after_the_last():
    reference = training_of("vae dense")
    terms = [reference.step() for _ in range(7)]
    history = fit(make("vae dense"), DATA, batch_size=10, steps=7, log_every=3).history
    assert [row["step"] for row in history] == [3, 6, 7]
    assert [row["epoch"] for row in history] == pytest.approx([1, 2, 7 / 3])
    for row, part in zip(history, (terms[:3], terms[3:6], terms[6:])):
        for name in ("loss/reconstruction", "loss/kl"):
            assert row[name] == pytest.approx(np.mean([t[name] for t in part]), rel=1e-5)
    assert all(row["images/s"] > 0 for row in history)


def test_an_objective_is_updated_on_each_every_th_step_only():
    training = training_of("wgan_gp dense")
    names = [set(training.step()) for _ in range(4)]
    d = {"D/wasserstein", "D/penalty"}
    assert names == [d, d | {"G/score"}, d, d | {"G/score"}]
    assert [o.steps for o in training.optimizers] == [4, 2]


def test_a_mean_is_over_the_steps_in_which_the_term_occurred():
    history = fit(make("wgan_gp dense"), DATA, batch_size=10, steps=5, log_every=5).history
    reference = training_of("wgan_gp dense")
    scores = [row["G/score"] for row in (reference.step() for _ in range(5)) if "G/score" in row]
    assert history[0]["G/score"] == pytest.approx(np.mean(scores), rel=1e-5)


def test_clipping_bounds_the_gradient_and_logs_its_norm():
    training = training_of(clip=1e-3)
    seen = []
    training.optimizers[0].apply = lambda gradients: seen.append(gradients)
    losses = training.step()
    assert losses["loss/gradient norm"] > 1e-3
    assert sum((g**2).sum() for g in seen[0]) ** 0.5 == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize(
    ("steps", "epochs", "expected"), [(7, None, 7), (0, None, 0), (None, 2, 6), (None, 0.5, 2), (None, None, 60)]
)
def test_the_length_is_steps_or_epochs_or_the_models_own(steps, epochs, expected):
    assert total_steps(training_of(), steps, epochs) == expected  # 3 batches an epoch, the AE's own 20 epochs


def test_losses_in_one_vector_are_a_mapping_and_printed_as_one():
    losses = Losses(["G/score", "D/penalty"], np.array([1.5, 2.5]))
    assert dict(losses) == {"G/score": 1.5, "D/penalty": 2.5}
    assert repr(losses) == repr(dict(losses))
    assert "score" not in losses


def test_half_an_epoch_ends_and_is_logged():
    training = fit(make("ae dense"), DATA, batch_size=10, epochs=0.5)
    assert training.steps == 2
    assert training.history[-1]["step"] == 2


def test_a_batch_is_never_larger_than_the_data():
    assert Training(make("ae dense"), DATA).loader.batch_size == len(DATA) < make("ae dense").batch_size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "expected batch_size between 1 and 32"),
        ({"lr": -1.0}, "Training: expected a learning rate ≥ 0; got -1.0"),
        ({"clip": 0.0}, "expected clip, the bound of the gradient's norm, above 0; got 0.0"),
        ({"average": 1.5}, r"EMA: expected a decay in \[0, 1\); got 1.5"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        training_of(**options)


def test_a_learning_rate_may_be_a_schedule():
    training = training_of(lr=lambda t: 0.0)
    before = training.model.state_dict()
    training.step()
    assert all(np.array_equal(v, before[k]) for k, v in training.model.state_dict().items())


def test_observers_are_told_of_begin_log_and_end_in_order():
    told = []

    class Listener(Observer):
        def begin(self, training, total):
            told.append(("begin", total))

        def log(self, training, row):
            told.append(("log", row["step"]))

        def end(self, training, interrupted):
            told.append(("end", interrupted))

    fit(make("ae dense"), DATA, steps=3, log_every=2, observers=[Listener()])
    assert told == [("begin", 3), ("log", 2), ("log", 3), ("end", False)]


# ------------------------------------------------------------------------------------------------ ends


class Breaks(SingleObjective):
    """Its loss becomes NaN in step `at`."""

    def __init__(self, shape, at, rng=None):
        super().__init__(shape, rng)
        self.w, self.count, self.at = Dense(2, 1, bias=False, rng=self.rng), 0, at

    def loss(self, x):
        self.count += 1
        whole = self.w.weight.sum() * 0.0 + 1.0
        return {"whole": whole, "broken": whole if self.count < self.at else log(-(self.w.weight**2)).sum()}


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_loss_that_is_not_finite_stops_with_its_own_step_and_advice():
    with pytest.raises(TrainingError, match=r"step 3: the loss 'loss/broken' is nan. Try a smaller learning rate"):
        fit(Breaks((1, 12, 12), at=3), DATA, steps=10, log_every=5)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
def test_a_step_whose_loss_raises_counts_as_none(error, monkeypatch):
    training = training_of("gan conv", average=0.9)
    counted = [*training.optimizers, training.average]
    training.step()

    def raises(*batch):
        raise error("in the middle")

    with monkeypatch.context() as patch, pytest.raises((error, TrainingError), match="in the middle"):
        patch.setattr(training.objectives[1], "loss", raises)
        training.step()
    assert [training.steps, *(c.steps for c in counted)] == [1, 1, 1, 1]
    training.step()
    assert [training.steps, *(c.steps for c in counted)] == [2, 2, 2, 2]


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_loss_that_is_not_finite_before_any_update_is_not_blamed_on_the_learning_rate():
    with pytest.raises(TrainingError, match=r"step 1: the loss 'loss/broken' is nan. No update came before it"):
        fit(Breaks((1, 12, 12), at=1), DATA, steps=10, log_every=5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_after_the_step_at_hand_which_is_logged(number):
    class Interrupt(Observer):
        def log(self, training, row):
            if row["step"] == 2:
                os.kill(os.getpid(), number)

        def end(self, training, interrupted):
            self.interrupted = interrupted

    observer, before = Interrupt(), signal.getsignal(number)
    training = fit(make("ae dense"), DATA, steps=50, log_every=1, observers=[observer])
    assert training.steps == 2
    assert training.history[-1]["step"] == 2
    assert observer.interrupted
    assert signal.getsignal(number) is before


def test_an_interrupt_before_the_first_step_still_ends_in_order():
    class Interrupt(Observer):
        def begin(self, training, total):
            os.kill(os.getpid(), signal.SIGINT)

        def end(self, training, interrupted):
            self.interrupted = interrupted

    observer = Interrupt()
    assert fit(make("ae dense"), DATA, steps=5, observers=[observer]).steps == 0
    assert observer.interrupted


def test_a_second_interrupt_interrupts_at_once():
    with pytest.raises(KeyboardInterrupt), stop_on_interrupt() as interrupted:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
        os.kill(os.getpid(), signal.SIGINT)


def test_fit_works_in_a_thread_where_signals_cannot_be_caught():
    done = []
    thread = threading.Thread(target=lambda: done.append(fit(make("ae dense"), DATA, steps=2).steps))
    thread.start()
    thread.join()
    assert done == [2]


def test_with_decay_steps_the_learning_rate_falls_linearly_to_nothing():
    training = training_of("vae dense", lr=1e-3)
    training.decay_steps = 4
    rates = []
    for _ in range(4):
        rates.append(training.optimizers[0].lr)
        training.step()
    assert rates == pytest.approx([1e-3, 0.75e-3, 0.5e-3, 0.25e-3]) and training.optimizers[0].lr == 0


def test_an_objective_that_is_updated_every_second_step_decays_over_the_same_steps():
    training = training_of("wgan_gp dense", lr=1e-3)
    training.decay_steps = 12
    for _ in range(6):
        training.step()
    critic, generator = training.optimizers
    assert critic.lr == generator.lr == 0.5e-3
