"""Random numbers as functions of a key: the same key gives the same numbers, everywhere and in any order of work.

    key = wg.random.key(0)
    key, draw = wg.random.split(key)
    x = wg.random.normal(draw, (3, 4))

A key is used once: for one array of numbers, or to make other keys of it. Under `vmap` over keys, each key
draws its own.
"""

from wengert.random.continuous import beta as beta
from wengert.random.continuous import cauchy as cauchy
from wengert.random.continuous import dirichlet as dirichlet
from wengert.random.continuous import exponential as exponential
from wengert.random.continuous import gamma as gamma
from wengert.random.continuous import gumbel as gumbel
from wengert.random.continuous import laplace as laplace
from wengert.random.continuous import loggamma as loggamma
from wengert.random.continuous import logistic as logistic
from wengert.random.continuous import multivariate_normal as multivariate_normal
from wengert.random.continuous import normal as normal
from wengert.random.continuous import truncated_normal as truncated_normal
from wengert.random.continuous import uniform as uniform
from wengert.random.discrete import bernoulli as bernoulli
from wengert.random.discrete import categorical as categorical
from wengert.random.discrete import choice as choice
from wengert.random.discrete import permutation as permutation
from wengert.random.discrete import randint as randint
from wengert.random.keys import bits as bits
from wengert.random.keys import fold_in as fold_in
from wengert.random.keys import key as key
from wengert.random.keys import split as split
