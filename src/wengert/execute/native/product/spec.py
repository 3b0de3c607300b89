"""What a product is: its extents and where its operands' elements lie. All of it is known when it is compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol


class Target(Protocol):
    """What the generator asks of the machine; `execute.native.target.Target` is one."""

    @property
    def vector_bytes(self) -> int: ...  # 64, 32 or 16
    @property
    def has_fma(self) -> bool: ...
    @property
    def registers(self) -> int: ...  # vector registers
    @property
    def caches(self) -> tuple[int, int, int]: ...  # bytes of each level
    @property
    def triple(self) -> str: ...
    def target_machine(self) -> Any: ...
    def __hash__(self) -> int: ...


@dataclass(frozen=True)
class ProductSpec:
    """`C[b, i, j] = sum over k of A[b, i, k] · B[b, k, j]`, for every index b of the batch axes.

    Strides count elements and may be 0 (broadcast) or negative. The elements of A and B need only the alignment of
    their own type. Where C lies is the epilogue's business.
    """

    dtype: Literal["float32", "float64"]
    batch: tuple[int, ...]  # extents of the batch axes
    m: int
    n: int
    k: int
    a: tuple[tuple[int, ...], int, int]  # strides along the batch axes, i and k
    b: tuple[tuple[int, ...], int, int]  # strides along the batch axes, k and j
    rows: int = 0  # that are computed at a time, where fewer than m are; tiles should fit that number

    @property
    def itemsize(self) -> int:
        return 4 if self.dtype == "float32" else 8

    @property
    def flops(self) -> int:
        count = 2 * self.m * self.n * self.k
        for extent in self.batch:
            count *= extent
        return count

    def transposed(self) -> ProductSpec:
        """The product `Cᵀ = Bᵀ · Aᵀ`.

        An epilogue gets vectors along j. One that can run along either axis does best with n ≥ m.
        """
        (ab, ai, ak), (bb, bk, bj) = self.a, self.b
        return ProductSpec(self.dtype, self.batch, self.n, self.m, self.k, (bb, bj, bk), (ab, ak, ai))
