"""Data: batches of arrays, generators and loaders, data sets that need no download. See docs/training.md."""

from wengert.data.ahead import Prefetch as Prefetch
from wengert.data.ahead import prefetch as prefetch
from wengert.data.arrays import Batches as Batches
from wengert.data.arrays import Epochs as Epochs
from wengert.data.generated import adding_problem as adding_problem
from wengert.data.generated import copy_task as copy_task
from wengert.data.generated import spirals as spirals
from wengert.data.installed import digits as digits
from wengert.data.streams import Rows as Rows
from wengert.data.streams import Stream as Stream
from wengert.data.streams import batches as batches
from wengert.data.text import Characters as Characters
from wengert.data.text import sonnets as sonnets
from wengert.data.text import windows as windows
