"""How parameters begin: initialisers take a shape or an array first, and return an array.

    layer.weight = nn.init.orthogonal(layer.weight)
    nn.init.initialize(model, nn.init.xavier_normal, nn.init.zeros)
    nn.init.lsuv(model, batch)

PyTorch's functions of these names, which end in `_` and change their argument, correspond to them.
"""

from wengert.nn.init.distributions import constant as constant
from wengert.nn.init.distributions import normal as normal
from wengert.nn.init.distributions import ones as ones
from wengert.nn.init.distributions import trunc_normal as trunc_normal
from wengert.nn.init.distributions import uniform as uniform
from wengert.nn.init.distributions import zeros as zeros
from wengert.nn.init.scaling import calculate_gain as calculate_gain
from wengert.nn.init.scaling import kaiming_normal as kaiming_normal
from wengert.nn.init.scaling import kaiming_uniform as kaiming_uniform
from wengert.nn.init.scaling import xavier_normal as xavier_normal
from wengert.nn.init.scaling import xavier_uniform as xavier_uniform
from wengert.nn.init.structured import dirac as dirac
from wengert.nn.init.structured import eye as eye
from wengert.nn.init.structured import orthogonal as orthogonal
from wengert.nn.init.structured import sparse as sparse
from wengert.nn.init.whole import fixup as fixup
from wengert.nn.init.whole import initialize as initialize
from wengert.nn.init.whole import lsuv as lsuv
