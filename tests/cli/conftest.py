"""Running the command line inside the test process."""

import sys

import pytest

from unblur import cli, files


class Ran:
    """Exit code, standard output, standard error."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def unblur(monkeypatch, capsys):
    """Call as unblur("restore", path, ...): the exit code and what was printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["unblur", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        captured = capsys.readouterr()
        return Ran(exit_.value.code or 0, captured.out, captured.err)

    return run


@pytest.fixture
def photo(tmp_path, astronaut):
    """A blurred 8-bit PNG."""
    from unblur.image import to_array
    from unblur.physics.convolve import gaussian_blur

    path = tmp_path / "photo.png"
    files.save(to_array(gaussian_blur(astronaut, 1.5), "uint8")[100:260, 100:300], path)
    return path
