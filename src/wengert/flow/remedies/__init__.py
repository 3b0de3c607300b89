"""Remedies: changes of models and training settings that apply themselves, and keep the weights that can be kept."""

from wengert.flow.remedies.activations import with_activation as with_activation
from wengert.flow.remedies.initial import lsuv as lsuv
from wengert.flow.remedies.initial import reinitialised as reinitialised
from wengert.flow.remedies.layers import with_normalisation as with_normalisation
from wengert.flow.remedies.layers import with_shortcuts as with_shortcuts
from wengert.flow.remedies.pairing import with_output as with_output
from wengert.flow.remedies.pairing import without_output as without_output
from wengert.flow.remedies.passing import straight_through as straight_through
from wengert.flow.remedies.passing import without_part as without_part
from wengert.flow.remedies.recurrent import gated as gated
from wengert.flow.remedies.recurrent import open_gates as open_gates
from wengert.flow.remedies.recurrent import orthogonal_recurrence as orthogonal_recurrence
from wengert.flow.remedies.remedy import Remedy as Remedy
from wengert.flow.remedies.remedy import together as together
from wengert.flow.remedies.surgery import calls as calls
