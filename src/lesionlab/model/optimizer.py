"""Step 12: the optimizer, and the annealer of its learning rate: a cosine, or a plateau of the validation accuracy."""

from typing import Any

from lesionlab.model.backend import keras
from lesionlab.recipe import OptimizerChoice


def make_optimizer(choice: OptimizerChoice, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Step 12: the optimizer; with the cosine annealer its learning rate is a schedule with linear warm-up."""
    rate: Any = choice.learning_rate
    if choice.annealer == "cosine":
        warmup_steps = round(choice.warmup_epochs * steps_per_epoch)
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup_steps else choice.learning_rate,
            decay_steps=max(1, choice.epochs * steps_per_epoch - warmup_steps),
            warmup_target=choice.learning_rate if warmup_steps else None,
            warmup_steps=warmup_steps,
        )
    if choice.name == "adam":
        return keras.optimizers.Adam(rate)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=choice.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def describe_optimizer(choice: OptimizerChoice) -> str:
    """Say in one line how the network is optimised."""
    annealer = {
        "none": "constant",
        "cosine": f"cosine to 0 after {choice.warmup_epochs:g} epoch{'s' * (choice.warmup_epochs != 1)} of warm-up",
        "plateau": f"x {choice.plateau_factor:g} after {choice.plateau_patience} epochs without better validation "
        f"accuracy, not under {choice.plateau_floor:g}",
    }[choice.annealer]
    name = "Adam" if choice.name == "adam" else f"AdamW, weight decay {choice.weight_decay:g}"
    return (
        f"{name}, learning rate {choice.learning_rate:g}, {annealer}; "
        f"{choice.epochs} epoch{'' if choice.epochs == 1 else 's'} of batches of {choice.batch_size}"
    )


def make_plateau(model: keras.Model, choice: OptimizerChoice, state: dict[str, float]) -> Any:
    """Give the plateau as a Keras callback, in a checkpoint's state; None where the annealer is another."""
    if choice.annealer != "plateau":
        return None
    plateau = keras.callbacks.ReduceLROnPlateau(
        monitor="val_accuracy",
        mode="max",
        patience=choice.plateau_patience,
        factor=choice.plateau_factor,
        min_lr=choice.plateau_floor,
    )
    plateau.set_model(model)
    plateau.on_train_begin()
    if state:
        plateau.best, plateau.wait = state["best"], int(state["wait"])
    return plateau


def tell_plateau(plateau: Any, epoch: int, accuracy: float) -> dict[str, float]:
    """Tell the plateau what an epoch came to; return its state, as a checkpoint holds it and `make_plateau` takes it."""
    plateau.on_epoch_end(epoch, {"val_accuracy": accuracy})
    return {"best": float(plateau.best), "wait": float(plateau.wait)}
