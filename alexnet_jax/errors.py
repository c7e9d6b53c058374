"""The errors a user can meet: one clear line each, with the exit code of the command line."""


def printable(text: str) -> str:
    """Returns `text` with control characters escaped, so that a name cannot steer a terminal."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


class AlexNetError(Exception):
    """One line for the user: what is wrong, the value, the remedy; quoted names cannot break it."""

    exit_code = 1

    def __str__(self) -> str:
        return printable(super().__str__())


class InputError(AlexNetError):
    """Bad input: an unknown name, an impossible size, a missing file (exit code 1)."""

    exit_code = 1


class DivergedError(AlexNetError):
    """Training produced a loss or parameters that are not finite (exit code 3)."""

    exit_code = 3


class CheckpointError(AlexNetError):
    """No usable checkpoint: missing, damaged, or of another network (exit code 4)."""

    exit_code = 4


class DataError(AlexNetError):
    """The data set is missing, empty, damaged or changed (exit code 5)."""

    exit_code = 5


class PeerLostError(AlexNetError):
    """Another process of the same run has ended or cannot be reached (exit code 6)."""

    exit_code = 6


class BadImageError(Exception):
    """An image that cannot be used; the message is the reason, a few words for a list of images."""


def did_you_mean(value: str, choices) -> str:
    """Returns ` Did you mean 'x'?` for the choice nearest to `value`, or an empty string."""
    import difflib

    nearest = difflib.get_close_matches(value, list(choices), n=1, cutoff=0.5)
    return f" Did you mean '{nearest[0]}'?" if nearest else ""
