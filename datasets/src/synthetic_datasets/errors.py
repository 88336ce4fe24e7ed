"""The two ways a build can go wrong; the command ends with another status for each."""


class InputError(ValueError):
    """What was asked for or given cannot be used: an option, a folder, a file (exit status 2)."""


class BuildError(RuntimeError):
    """The work itself failed although the request was sound: a full disk, a dead worker (exit status 1)."""
