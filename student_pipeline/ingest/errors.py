"""Why a file is not loaded."""


class FileRefused(Exception):
    """The file can't be loaded as it is. The message says what was expected and what was found."""


class SourceChanged(Exception):
    """The file changed, vanished or could not be fetched; another try may find it whole."""
