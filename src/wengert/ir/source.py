"""Where in the user's program a value was made: `wengert.source`, which the bottom layer needs too."""

from wengert.source import Source as Source
from wengert.source import at_user_line as at_user_line
from wengert.source import standing_at as standing_at
from wengert.source import user_frame as user_frame
from wengert.source import user_source as user_source
