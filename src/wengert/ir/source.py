"""Another name of `wengert.source`, for the modules that still import it here."""

from wengert.source import Source as Source
from wengert.source import at_user_line as at_user_line
