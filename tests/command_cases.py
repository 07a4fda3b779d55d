"""What the tests of the commands share: tiny models, and how a command that must fail is called."""

from pathlib import Path

import pytest

TINY = {
    "gan": ["--width", "4", "--latent", "6"],
    "wgan_gp": ["--net", "dense", "--hidden", "16", "--critic-steps", "2"],
    "vae": ["--hidden", "16", "--latent", "4"],
    "ae": ["--hidden", "16", "--code", "4"],
    "classifier": ["--width", "4", "--hidden", "8"],
}


def arguments(model, out, *more):
    return [
        model,
        "--data",
        "pics",
        "--batch-size",
        "8",
        "--quiet",
        "--no-decay",
        "--out",
        str(out),
        *TINY[model],
        *more,
    ]


def complaint(command, argv, capsys):
    """(exit status, what is said on standard error) of a command that must fail, without a traceback."""
    with pytest.raises(SystemExit) as caught:
        command.main([str(a) for a in argv])
    code = caught.value.code
    said = capsys.readouterr().err + (
        f"{code}\n" if isinstance(code, str) else ""
    )  # Python prints it, and exits with 1
    assert "Traceback" not in said
    return (1 if isinstance(code, str) else code), said


def files_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())
